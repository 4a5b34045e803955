// Memory traffic only: memcpy and whole-row sums are as fast as anything hand-vectorised, so one version
// serves.
#include "tensor/kernels/embedding.h"

#include <cstring>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

void check_ids(const char* op, const int32_t* ids, int64_t count, int64_t vocab) {
  for (int64_t i = 0; i < count; ++i) {
    CHECK(ids[i] >= 0 && ids[i] < vocab, op, ": id ", ids[i], " at position ", i, " of a table with ", vocab,
          " rows");
  }
}

void embedding_fwd_cpu(const EmbeddingFwd<float>& p) {
  check_ids("embedding", p.ids, p.count, p.vocab);
  if (p.dim == 0) return;  // rows without data: their pointers may be null
  parallel_for(p.count, 16384 / (p.dim + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(p.y + i * p.dim, p.table + p.ids[i] * p.dim, static_cast<size_t>(p.dim) * sizeof(float));
    }
  });
}

void embedding_bwd_cpu(const EmbeddingBwd<float>& p) {
  check_ids("embedding", p.ids, p.count, p.vocab);
  parallel_for(p.dim, 64, [&](int64_t begin, int64_t end) {
    for (int64_t v = 0; v < p.vocab; ++v) {
      std::memset(p.dtable + v * p.dim + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
    }
    for (int64_t i = 0; i < p.count; ++i) {
      float* row = p.dtable + p.ids[i] * p.dim;
      const float* dy = p.dy + i * p.dim;
      for (int64_t j = begin; j < end; ++j) row[j] += dy[j];
    }
  });
}

}  // namespace

Op<void(const EmbeddingFwd<float>&)> embedding_fwd{"embedding_fwd", embedding_fwd_cpu};
Op<void(const EmbeddingBwd<float>&)> embedding_bwd{"embedding_bwd", embedding_bwd_cpu};

namespace reference {

template <class T>
void embedding_fwd(const EmbeddingFwd<T>& p) {
  check_ids("embedding", p.ids, p.count, p.vocab);
  for (int64_t i = 0; i < p.count * p.dim; ++i) p.y[i] = p.table[p.ids[i / p.dim] * p.dim + i % p.dim];
}

template <class T>
void embedding_bwd(const EmbeddingBwd<T>& p) {
  check_ids("embedding", p.ids, p.count, p.vocab);
  for (int64_t i = 0; i < p.vocab * p.dim; ++i) p.dtable[i] = 0;
  for (int64_t i = 0; i < p.count * p.dim; ++i) p.dtable[p.ids[i / p.dim] * p.dim + i % p.dim] += p.dy[i];
}

template void embedding_fwd(const EmbeddingFwd<float>&);
template void embedding_fwd(const EmbeddingFwd<double>&);
template void embedding_bwd(const EmbeddingBwd<float>&);
template void embedding_bwd(const EmbeddingBwd<double>&);

}  // namespace reference
}  // namespace clipcap
