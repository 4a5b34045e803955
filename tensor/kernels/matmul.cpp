// Two doors of oneDNN: its sgemm, and its matmul primitive, which is up to four times faster where b is
// transposed (a linear layer's forward) but costs a look-up and, the first time, a compilation.
#include "tensor/kernels/matmul.h"

#include <algorithm>

#include "tensor/kernels/onednn.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

using dnnl::memory;

// Below this many multiply-adds a product is not worth all the threads: a batch runs one product a thread.
constexpr int64_t kSmallProduct = 1 << 24;

struct Shape2d {
  int64_t m, n, k;
  bool a_transposed, accumulate;
  int threads;
  bool operator==(const Shape2d&) const = default;
};

struct Compiled {
  memory::desc a, b, c, scratch;
  dnnl::matmul primitive;
};

Compiled compile(const Shape2d& shape) {
  using onednn::Tag;
  Compiled result;
  result.a = onednn::floats({shape.m, shape.k}, shape.a_transposed ? Tag::ba : Tag::ab);
  result.b = onednn::floats({shape.k, shape.n}, Tag::ba);  // b is always transposed here
  result.c = onednn::floats({shape.m, shape.n}, Tag::ab);
  dnnl::post_ops epilogue;
  if (shape.accumulate) epilogue.append_sum(1.0F);
  const dnnl::primitive_attr attributes = onednn::attributes(epilogue);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(onednn::engine(), result.a, result.b, result.c, attributes);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(result.a, result.b, result.c), attributes,
                                                 onednn::engine());
#endif
  result.primitive = dnnl::matmul(description);
  result.scratch = description.scratchpad_desc();
  return result;
}

// Measured on Zen 4: the primitive copies b into its own format, which few rows do not repay.
bool prefers_primitive(const Matmul<float>& p) {
  constexpr int64_t kBeyondCache = 1 << 22;
  return p.b_transposed && (p.m >= 16 || (p.m >= 4 && p.n * p.k > kBeyondCache)) &&
         p.m * p.n * p.k >= 1 << 18;
}

void run_primitive(const Matmul<float>& p, int64_t index) {
  static onednn::PrimitiveCache<Shape2d, Compiled, 64> cache;
  try {
    const Shape2d shape{p.m, p.n, p.k, p.a_transposed, p.accumulate, onednn::share_threads()};
    const auto own = cache.get(shape, [&] { return compile(shape); });
    own->primitive.execute(onednn::stream(),
                           {{DNNL_ARG_SRC, onednn::read_only(own->a, p.a + index * p.a_batch_stride)},
                            {DNNL_ARG_WEIGHTS, onednn::read_only(own->b, p.b + index * p.b_batch_stride)},
                            {DNNL_ARG_DST, memory(own->c, onednn::engine(), p.c + index * p.c_batch_stride)},
                            {DNNL_ARG_SCRATCHPAD, onednn::scratchpad(own->scratch)}});
    onednn::stream().wait();
  } catch (const dnnl::error& error) {
    fail("matmul: M=", p.m, " N=", p.n, " K=", p.k, ": oneDNN: ", error.what());
  }
}

void run_gemm(const Matmul<float>& p, int64_t index) {
  onednn::share_threads();
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
  const int64_t size = p.m * p.n * p.k;
  if (p.batch >= usable_threads() && p.batch > 1 && size <= kSmallProduct) {
    parallel_for(p.batch, std::max<int64_t>(1, 65536 / size), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_gemm(p, i);
    });
    return;
  }
  const bool primitive = prefers_primitive(p);
  for (int64_t i = 0; i < p.batch; ++i) primitive ? run_primitive(p, i) : run_gemm(p, i);
}

}  // namespace

Op<Matmul> matmul{"matmul", matmul_cpu, reference::matmul, reference::matmul, reference::matmul};

namespace reference {

template <class T>
void matmul(const Matmul<T>& p) {
  for (int64_t i = 0; i < p.batch; ++i) {
    const T* a = p.a + i * p.a_batch_stride;
    const T* b = p.b + i * p.b_batch_stride;
    T* c = p.c + i * p.c_batch_stride;
    for (int64_t row = 0; row < p.m; ++row) {
      for (int64_t column = 0; column < p.n; ++column) {
        Real<T> total = 0;
        for (int64_t j = 0; j < p.k; ++j) {
          const Real<T> left = real(p.a_transposed ? a[j * p.m + row] : a[row * p.k + j]);
          const Real<T> right = real(p.b_transposed ? b[column * p.k + j] : b[j * p.n + column]);
          total += left * right;
        }
        T& out = c[row * p.n + column];
        out = static_cast<T>(p.accumulate ? real(out) + total : total);
      }
    }
  }
}

template void matmul(const Matmul<float>&);
template void matmul(const Matmul<double>&);
template void matmul(const Matmul<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
