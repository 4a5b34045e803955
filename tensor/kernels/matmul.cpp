#include "tensor/kernels/matmul.h"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

// Below this many multiply-adds a product is not worth all the threads: a batch runs one product a thread.
constexpr int64_t kSmallProduct = 1 << 24;

void multiply(const Matmul<float>& p, int64_t index) {
  const int64_t lda = p.a_transposed ? p.m : p.k;
  const int64_t ldb = p.b_transposed ? p.k : p.n;
  const dnnl_status_t status =
      dnnl_sgemm(p.a_transposed ? 'T' : 'N', p.b_transposed ? 'T' : 'N', p.m, p.n, p.k, 1.0F,
                 p.a + index * p.a_batch_stride, lda, p.b + index * p.b_batch_stride, ldb,
                 p.accumulate ? 1.0F : 0.0F, p.c + index * p.c_batch_stride, p.n);
  CHECK(status == dnnl_success, "matmul: oneDNN status ", static_cast<int>(status), " for M=", p.m,
        " N=", p.n, " K=", p.k);
}

void matmul_cpu(const Matmul<float>& given) {
  Matmul<float> p = given;
  if (p.batch <= 0 || p.m <= 0 || p.n <= 0) return;
  if (p.k <= 0) {
    if (p.accumulate) return;
    for (int64_t i = 0; i < p.batch; ++i) std::fill_n(p.c + i * p.c_batch_stride, p.m * p.n, 0.0F);
    return;
  }
  // One b for all and adjacent rows of a: a single tall product.
  if (p.batch > 1 && p.b_batch_stride == 0 && !p.a_transposed && p.a_batch_stride == p.m * p.k &&
      p.c_batch_stride == p.m * p.n) {
    p.m *= p.batch;
    p.batch = 1;
  }
  if (p.batch >= thread_count() && p.batch > 1 && p.m * p.n * p.k <= kSmallProduct) {
    const int64_t grain = std::max<int64_t>(1, 65536 / (p.m * p.n * p.k));
    parallel_for(p.batch, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) multiply(p, i);
    });
    return;
  }
  for (int64_t i = 0; i < p.batch; ++i) multiply(p, i);
}

}  // namespace

Op<void(const Matmul<float>&)> matmul{"matmul", matmul_cpu};

namespace reference {

template <class T>
void matmul(const Matmul<T>& p) {
  for (int64_t i = 0; i < p.batch; ++i) {
    const T* a = p.a + i * p.a_batch_stride;
    const T* b = p.b + i * p.b_batch_stride;
    T* c = p.c + i * p.c_batch_stride;
    for (int64_t row = 0; row < p.m; ++row) {
      for (int64_t column = 0; column < p.n; ++column) {
        T total = 0;
        for (int64_t j = 0; j < p.k; ++j) {
          const T left = p.a_transposed ? a[j * p.m + row] : a[row * p.k + j];
          const T right = p.b_transposed ? b[column * p.k + j] : b[j * p.n + column];
          total += left * right;
        }
        T& out = c[row * p.n + column];
        out = p.accumulate ? out + total : total;
      }
    }
  }
}

template void matmul(const Matmul<float>&);
template void matmul(const Matmul<double>&);

}  // namespace reference
}  // namespace clipcap
