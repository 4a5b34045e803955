// Memory traffic only: memcpy and whole-row sums are as fast as anything vectorised by hand, so there is one
// version for every instruction set.
#include "tensor/kernels/embedding.h"

#include <cstring>
#include <vector>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

void check_ids(const int32_t* ids, int64_t count, int64_t vocab, IndexError* error) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) report_index_error(error, {IndexedOp::embedding, i, ids[i], vocab});
  }
}

bool in_table(int32_t id, int64_t vocab) { return id >= 0 && id < vocab; }

void embedding_fwd_cpu(const EmbeddingFwd<float>& p) {
  check_ids(p.ids, p.count, p.vocab, p.error);
  if (p.dim == 0) return;  // rows without data: their pointers may be null
  const size_t row_bytes = static_cast<size_t>(p.dim) * sizeof(float);
  parallel_for(p.count, 16384 / (p.dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (in_table(p.ids[i], p.vocab)) {
        std::memcpy(p.y + i * p.dim, p.table + p.ids[i] * p.dim, row_bytes);
      } else {
        std::memset(p.y + i * p.dim, 0, row_bytes);
      }
    }
  });
}

void embedding_bwd_cpu(const EmbeddingBwd<float>& p) {
  check_ids(p.ids, p.count, p.vocab, p.error);
  parallel_for(p.dim, 64, [&](int64_t begin, int64_t end) {
    for (int64_t v = 0; v < p.vocab; ++v) {
      std::memset(p.dtable + v * p.dim + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
    }
    for (int64_t i = 0; i < p.count; ++i) {
      if (!in_table(p.ids[i], p.vocab)) continue;
      float* row = p.dtable + p.ids[i] * p.dim;
      const float* dy = p.dy + i * p.dim;
      for (int64_t j = begin; j < end; ++j) row[j] += dy[j];
    }
  });
}

}  // namespace

Op<EmbeddingFwd> embedding_fwd{"embedding_fwd", embedding_fwd_cpu, reference::embedding_fwd,
                               reference::embedding_fwd, reference::embedding_fwd};
Op<EmbeddingBwd> embedding_bwd{"embedding_bwd", embedding_bwd_cpu, reference::embedding_bwd,
                               reference::embedding_bwd, reference::embedding_bwd};

namespace reference {

template <class T>
void embedding_fwd(const EmbeddingFwd<T>& p) {
  check_ids(p.ids, p.count, p.vocab, p.error);
  for (int64_t i = 0; i < p.count * p.dim; ++i) {
    const int32_t id = p.ids[i / p.dim];
    p.y[i] = in_table(id, p.vocab) ? p.table[id * p.dim + i % p.dim] : T(0);
  }
}

template <class T>
void embedding_bwd(const EmbeddingBwd<T>& p) {
  check_ids(p.ids, p.count, p.vocab, p.error);
  std::vector<Real<T>> total(static_cast<size_t>(p.vocab * p.dim), Real<T>{0});
  for (int64_t i = 0; i < p.count * p.dim; ++i) {
    const int32_t id = p.ids[i / p.dim];
    if (in_table(id, p.vocab)) total[static_cast<size_t>(id * p.dim + i % p.dim)] += real(p.dy[i]);
  }
  for (int64_t i = 0; i < p.vocab * p.dim; ++i) p.dtable[i] = static_cast<T>(total[static_cast<size_t>(i)]);
}

template void embedding_fwd(const EmbeddingFwd<float>&);
template void embedding_fwd(const EmbeddingFwd<double>&);
template void embedding_fwd(const EmbeddingFwd<bfloat16>&);
template void embedding_bwd(const EmbeddingBwd<float>&);
template void embedding_bwd(const EmbeddingBwd<double>&);
template void embedding_bwd(const EmbeddingBwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
