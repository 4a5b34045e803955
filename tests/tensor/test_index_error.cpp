// Ids and targets out of range: on the host they throw at once; with a record, as on a device, the first one is kept,
// the call goes on without it, and the host can say later what and where it was.
#include "tensor/index_error.h"

#include "tensor/kernels/cross_entropy.h"
#include "tensor/kernels/embedding.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

template <class T>
void check_embedding() {
  const std::vector<T> table{T(1), T(2), T(3), T(4)};  // [2,2]
  const std::vector<int32_t> ids{1, 2, -1, 0};
  std::vector<T> y(8, T(77));
  IndexError record;
  EmbeddingFwd<T> p{};
  p.ids = ids.data();
  p.table = table.data();
  p.y = y.data();
  p.count = 4;
  p.vocab = 2;
  p.dim = 2;
  CHECK_THROWS_WITH(embedding_fwd(kCpu, p), "embedding: id 2 at position 1 of a table with 2 rows");
  p.error = &record;
  embedding_fwd(kCpu, p);
  CHECK(y == std::vector<T>{T(3), T(4), T(0), T(0), T(0), T(0), T(1), T(2)});
  CHECK(
      (record.op == IndexedOp::embedding && record.position == 1 && record.index == 2 && record.limit == 2));
  CHECK_THROWS_WITH(throw_index_error(record), "embedding: id 2 at position 1 of a table with 2 rows");

  std::vector<T> dtable(4, T(77));
  EmbeddingBwd<T> back{};
  back.ids = ids.data();
  back.dy = y.data();
  back.dtable = dtable.data();
  back.count = 4;
  back.vocab = 2;
  back.dim = 2;
  back.error = &record;
  embedding_bwd(kCpu, back);
  CHECK(dtable == std::vector<T>{T(1), T(2), T(3), T(4)});
}

template <class T>
void check_cross_entropy() {
  const std::vector<T> logits{T(1), T(2), T(0), T(1), T(1), T(1)};  // [3,2]
  const std::vector<int32_t> good{1, -7, 0};
  const std::vector<int32_t> bad{1, 2, 0};
  T loss[2];
  std::vector<T> gradient[2];
  IndexError record;
  for (const bool with_bad : {false, true}) {
    gradient[with_bad].assign(6, T(77));
    CrossEntropy<T> p{};
    p.logits = logits.data();
    p.targets = with_bad ? bad.data() : good.data();
    p.ignore_index = -7;
    p.loss = &loss[with_bad];
    p.dlogits = gradient[with_bad].data();
    p.rows = 3;
    p.vocab = 2;
    p.error = &record;
    cross_entropy(kCpu, p);
    CHECK((record.op != IndexedOp::none) == with_bad);
  }
  CHECK(loss[0] == loss[1]);  // as if the row were ignored
  CHECK(gradient[0] == gradient[1]);
  CHECK_THROWS_WITH(throw_index_error(record),
                    "cross_entropy: row 1 has target 2; expected 0 <= target < V = 2 or the ignored index");
}

}  // namespace

TEST_CASE("an id out of range", "[index_error]") {
  check_embedding<float>();
  check_embedding<double>();
}

TEST_CASE("a target out of range", "[index_error]") {
  check_cross_entropy<float>();
  check_cross_entropy<double>();
}

TEST_CASE("the first error stays, no error says nothing", "[index_error]") {
  IndexError record;
  throw_index_error(record);
  report_index_error(&record, {IndexedOp::embedding, 3, 9, 5});
  report_index_error(&record, {IndexedOp::cross_entropy, 1, 8, 5});
  CHECK((record.op == IndexedOp::embedding && record.position == 3));
}
