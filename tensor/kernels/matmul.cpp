// oneDNN stands behind this file and packed_linear.cpp, nowhere else.
#include "tensor/kernels/matmul.h"

#include <oneapi/dnnl/dnnl.h>

#include <cstring>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

void one_product(const Matmul<float>& p, int64_t batch) {
  const float* a = p.a + batch * p.a_batch_stride;
  const float* b = p.b + batch * p.b_batch_stride;
  float* c = p.c + batch * p.c_batch_stride;
  if (p.k == 0) {
    if (!p.accumulate) std::memset(c, 0, static_cast<size_t>(p.m * p.n) * sizeof(float));
    return;
  }
  const int64_t lda = p.a_transposed ? p.m : p.k;
  const int64_t ldb = p.b_transposed ? p.k : p.n;
  const dnnl_status_t status = dnnl_sgemm(p.a_transposed ? 'T' : 'N', p.b_transposed ? 'T' : 'N', p.m, p.n, p.k, 1.0F, a,
                                          lda, b, ldb, p.accumulate ? 1.0F : 0.0F, c, p.n);
  CHECK(status == dnnl_success, "matmul: oneDNN status ", static_cast<int>(status), " for M ", p.m, " N ", p.n, " K ", p.k);
}

void matmul_cpu(const Matmul<float>& p) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  // Small products run one a thread (the library stays serial inside a parallel region), large ones use all threads.
  const bool small = p.m * p.n * p.k < 2'000'000;
  if (p.batch > 1 && small) {
    parallel_for(p.batch, 1 + 100'000 / (p.m * p.n * (p.k + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) one_product(p, i);
    });
    return;
  }
  for (int64_t i = 0; i < p.batch; ++i) one_product(p, i);
}

}  // namespace

Op<void(const Matmul<float>&)> matmul{"matmul", matmul_cpu};

namespace reference {

template <class T>
void matmul(const Matmul<T>& p) {
  for (int64_t batch = 0; batch < p.batch; ++batch) {
    const T* a = p.a + batch * p.a_batch_stride;
    const T* b = p.b + batch * p.b_batch_stride;
    T* c = p.c + batch * p.c_batch_stride;
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        T total = 0;
        for (int64_t l = 0; l < p.k; ++l) {
          total += (p.a_transposed ? a[l * p.m + i] : a[i * p.k + l]) * (p.b_transposed ? b[j * p.k + l] : b[l * p.n + j]);
        }
        c[i * p.n + j] = p.accumulate ? c[i * p.n + j] + total : total;
      }
    }
  }
}

template void matmul(const Matmul<float>&);
template void matmul(const Matmul<double>&);

}  // namespace reference
}  // namespace clipcap
