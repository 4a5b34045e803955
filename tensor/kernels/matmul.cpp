// Two doors of oneDNN: its sgemm, and its matmul primitive, which is up to four times faster where b is
// transposed (a linear layer's forward) but costs a look-up and, the first time, a compilation.
#include "tensor/kernels/matmul.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

using dnnl::memory;

// Below this many multiply-adds a product is not worth all the threads: a batch runs one product a thread.
constexpr int64_t kSmallProduct = 1 << 24;
// Compiled primitives kept; the least recently used one makes room.
constexpr size_t kCached = 64;
constexpr int kScratchSlot = 7;

struct Compiled {
  int64_t m, n, k;
  bool a_transposed, accumulate;
  int threads;
  dnnl::matmul primitive;
  memory::desc a, b, c, scratch;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

std::shared_ptr<const Compiled> compile(const Matmul<float>& p) {
  using Tag = memory::format_tag;
  const auto describe = [](int64_t rows, int64_t columns, bool transposed) {
    return memory::desc({rows, columns}, memory::data_type::f32, transposed ? Tag::ba : Tag::ab);
  };
  dnnl::post_ops steps;
  if (p.accumulate) steps.append_sum(1.0F);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(steps);
  // The caller's thread brings the scratch memory, so one primitive may run on several threads at once.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  auto result = std::make_shared<Compiled>();
  *result = {p.m, p.n, p.k, p.a_transposed, p.accumulate, thread_count(), {}, {}, {}, {}, {}};
  result->a = describe(p.m, p.k, p.a_transposed);
  result->b = describe(p.k, p.n, p.b_transposed);
  result->c = describe(p.m, p.n, false);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(engine(), result->a, result->b, result->c, attributes);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(result->a, result->b, result->c),
                                                 attributes, engine());
#endif
  result->primitive = dnnl::matmul(description);
  result->scratch = description.scratchpad_desc();
  return result;
}

// The primitive for this shape, most recently used last. b is always transposed here.
std::shared_ptr<const Compiled> compiled(const Matmul<float>& p) {
  static std::mutex mutex;
  static std::vector<std::shared_ptr<const Compiled>> cache;
  const int threads = thread_count();
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = std::find_if(cache.rbegin(), cache.rend(), [&](const auto& entry) {
    return entry->m == p.m && entry->n == p.n && entry->k == p.k && entry->a_transposed == p.a_transposed &&
           entry->accumulate == p.accumulate && entry->threads == threads;
  });
  if (found != cache.rend()) {
    std::rotate(found.base() - 1, found.base(), cache.end());
  } else {
    if (cache.size() == kCached) cache.erase(cache.begin());
    cache.push_back(compile(p));
  }
  return cache.back();
}

// Measured on Zen 4: the primitive copies b into its own format, which few rows do not repay.
bool prefers_primitive(const Matmul<float>& p) {
  constexpr int64_t kBeyondCache = 1 << 22;
  return p.b_transposed && (p.m >= 16 || (p.m >= 4 && p.n * p.k > kBeyondCache)) &&
         p.m * p.n * p.k >= 1 << 18;
}

void run_primitive(const Matmul<float>& p, int64_t index) {
  try {
    const std::shared_ptr<const Compiled> own = compiled(p);
    thread_local dnnl::stream stream(engine());
    // oneDNN has no handle for constant memory; it only reads a and b.
    auto* a = const_cast<float*>(p.a + index * p.a_batch_stride);  // NOLINT
    auto* b = const_cast<float*>(p.b + index * p.b_batch_stride);  // NOLINT
    void* scratch = thread_scratch(own->scratch.get_size() + 64, kScratchSlot);
    own->primitive.execute(stream, {{DNNL_ARG_SRC, memory(own->a, engine(), a)},
                                    {DNNL_ARG_WEIGHTS, memory(own->b, engine(), b)},
                                    {DNNL_ARG_DST, memory(own->c, engine(), p.c + index * p.c_batch_stride)},
                                    {DNNL_ARG_SCRATCHPAD, memory(own->scratch, engine(), scratch)}});
    stream.wait();
  } catch (const dnnl::error& error) {
    fail("matmul: M=", p.m, " N=", p.n, " K=", p.k, ": oneDNN: ", error.what());
  }
}

void run_gemm(const Matmul<float>& p, int64_t index) {
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
  if (p.batch >= thread_count() && p.batch > 1 && size <= kSmallProduct) {
    parallel_for(p.batch, std::max<int64_t>(1, 65536 / size), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_gemm(p, i);
    });
    return;
  }
  const bool primitive = prefers_primitive(p);
  for (int64_t i = 0; i < p.batch; ++i) primitive ? run_primitive(p, i) : run_gemm(p, i);
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
