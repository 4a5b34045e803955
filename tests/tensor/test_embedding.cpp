#include "tensor/kernels/embedding.h"

#include "tensor/parallel.h"
#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

std::vector<int32_t> random_ids(int64_t count, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  Generator generator(9);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator.index(vocab));
  return ids;
}

template <class T>
std::vector<T> backward(void (*kernel)(const EmbeddingBwd<T>&), const std::vector<int32_t>& ids,
                        const std::vector<T>& dy, int64_t vocab, int64_t dim) {
  std::vector<T> dtable(static_cast<size_t>(vocab * dim), T{77});
  kernel({.ids = ids.data(),
          .dy = dy.data(),
          .dtable = dtable.data(),
          .count = static_cast<int64_t>(ids.size()),
          .vocab = vocab,
          .dim = dim});
  return dtable;
}
void fast_backward(const EmbeddingBwd<float>& p) { embedding_bwd(kCpu, p); }

}  // namespace

TEST_CASE("embedding: by hand", "[embedding]") {
  const std::vector<float> table{1, 2, 3, 4, 5, 6};
  const std::vector<int32_t> ids{2, 0, 2};
  std::vector<float> y(6);
  embedding_fwd(kCpu,
                {.ids = ids.data(), .table = table.data(), .y = y.data(), .count = 3, .vocab = 3, .dim = 2});
  CHECK(y == std::vector<float>{5, 6, 1, 2, 5, 6});
  const std::vector<float> dy{1, 2, 3, 4, 5, 6};
  CHECK(backward(fast_backward, ids, dy, 3, 2) == std::vector<float>{3, 4, 0, 0, 6, 8});
}

TEST_CASE("embedding: against the double oracle", "[embedding]") {
  for (const int64_t dim : {0, 1, 31, 32, 33, 127, 257}) {
    for (const int64_t count : {0, 1, 5, 300}) {
      INFO("dim " << dim << " count " << count);
      const int64_t vocab = 11;
      const auto ids = random_ids(count, vocab);
      const auto table = random_values<float>(vocab * dim, 1);
      const auto dy = random_values<float>(count * dim, 2);
      std::vector<float> y(dy.size());
      std::vector<float> plain(dy.size());
      embedding_fwd(kCpu, {.ids = ids.data(),
                           .table = table.data(),
                           .y = y.data(),
                           .count = count,
                           .vocab = vocab,
                           .dim = dim});
      reference::embedding_fwd<float>({.ids = ids.data(),
                                       .table = table.data(),
                                       .y = plain.data(),
                                       .count = count,
                                       .vocab = vocab,
                                       .dim = dim});
      CHECK(y == plain);
      const auto got = backward(fast_backward, ids, dy, vocab, dim);
      check_against_oracle(
          got, backward(reference::embedding_bwd<float>, ids, dy, vocab, dim),
          backward(reference::embedding_bwd<double>, ids, converted<double>(dy), vocab, dim));
      const int before = thread_count();
      set_thread_count(before == 1 ? 3 : 1);
      CHECK(got == backward(fast_backward, ids, dy, vocab, dim));
      set_thread_count(before);
    }
  }
}

TEST_CASE("embedding: gradient is the transpose of the lookup", "[embedding]") {
  // <dy, fwd(table)> = <bwd(dy), table>, since the lookup is linear.
  const auto ids = random_ids(40, 7);
  const auto table = random_values<double>(7 * 5, 1);
  const auto dy = random_values<double>(40 * 5, 2);
  std::vector<double> y(dy.size());
  reference::embedding_fwd<double>(
      {.ids = ids.data(), .table = table.data(), .y = y.data(), .count = 40, .vocab = 7, .dim = 5});
  const auto dtable = backward(reference::embedding_bwd<double>, ids, dy, 7, 5);
  double left = 0;
  double right = 0;
  for (size_t i = 0; i < y.size(); ++i) left += y[i] * dy[i];
  for (size_t i = 0; i < table.size(); ++i) right += table[i] * dtable[i];
  CHECK(left == Approx(right).epsilon(1e-12));
}

TEST_CASE("embedding: an id outside the table is named", "[embedding]") {
  const std::vector<float> table(6);
  std::vector<float> y(6);
  const auto message = [&](std::vector<int32_t> ids) -> std::string {
    try {
      embedding_fwd(
          kCpu, {.ids = ids.data(), .table = table.data(), .y = y.data(), .count = 3, .vocab = 3, .dim = 2});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  for (const int32_t bad : {3, -1, 1000000}) {
    const std::string text = message({0, 1, bad});
    INFO(text);
    CHECK(text.find(std::to_string(bad)) != std::string::npos);
    CHECK(text.find("position 2") != std::string::npos);
    CHECK(text.find('3') != std::string::npos);
  }
  const std::vector<int32_t> bad{0, 5, 1};
  CHECK_THROWS_AS(backward(fast_backward, bad, std::vector<float>(6), 3, 2), Error);
}
