// Two doors of oneDNN: its sgemm, and its matmul primitive, which is up to four times faster where b is
// transposed (a linear layer's forward) or prepared, but costs a look-up and, the first time, a compilation.
// The primitive does the epilogue itself; around the sgemm it is done here.
#include "tensor/kernels/matmul.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "tensor/kernels/isa.h"
#include "tensor/kernels/onednn.h"
#include "tensor/parallel.h"

namespace clipcap {

CLIPCAP_ISA_KERNEL(bias_activation_fwd, BiasActivationFwd<float>)

namespace {

using dnnl::memory;
using onednn::Tag;

// Below this many multiply-adds a product is not worth all the threads: a batch runs one product a thread.
constexpr int64_t kSmallProduct = 1 << 24;
// The row count for which a prepared weight's format is chosen: one ViT-B/16 image. Other counts take the
// same format.
constexpr int64_t kFormatRows = 197;
constexpr int kProductSlot = 6;

// All that a compiled primitive depends on, but the weight's format.
struct Key {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool a_transposed = false;
  bool bias = false;
  Activation activation = Activation::none;
  bool sum = false;  // adds to what c holds
  int threads = 0;
  bool operator==(const Key&) const = default;
};

struct Compiled {
  memory::desc a, b, bias, c, scratch;
  dnnl::matmul primitive;
};

dnnl::matmul::primitive_desc describe(const Key& key, const memory::desc& b) {
  const memory::desc a = onednn::floats({key.m, key.k}, key.a_transposed ? Tag::ba : Tag::ab);
  const memory::desc c = onednn::floats({key.m, key.n}, Tag::ab);
  const memory::desc bias = key.bias ? onednn::floats({1, key.n}, Tag::ab) : memory::desc();
  dnnl::post_ops epilogue;
  onednn::append_activation(epilogue, key.activation);
  if (key.sum) epilogue.append_sum(1.0F);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), a, b, bias, c, onednn::attributes(epilogue)};
#else
  return {dnnl::matmul::desc(a, b, bias, c), onednn::attributes(epilogue), onednn::engine()};
#endif
}

Compiled compile(const Key& key, const memory::desc& b) {
  const dnnl::matmul::primitive_desc description = describe(key, b);
  return {description.src_desc(), description.weights_desc(),    description.bias_desc(),
          description.dst_desc(), description.scratchpad_desc(), dnnl::matmul(description)};
}

memory::desc transposed_weight(int64_t n, int64_t k) { return onednn::floats({k, n}, Tag::ba); }

// A weight in oneDNN's blocked format, with the primitives that were compiled for it.
class BlockedWeight : public PreparedWeight {
 public:
  explicit BlockedWeight(const PrepareMatmul<float>& p) : n(p.n), k(p.k) {
    onednn::share_threads();
    const memory::desc any({k, n}, memory::data_type::f32, Tag::any);
    Key key;
    key.m = kFormatRows;
    key.n = n;
    key.k = k;
    weight = memory(describe(key, any).weights_desc(), onednn::engine());
    memory source = onednn::read_only(transposed_weight(n, k), p.b);
    dnnl::reorder(source, weight).execute(onednn::stream(), source, weight);
    onednn::stream().wait();
  }
  [[nodiscard]] size_t bytes() const override { return weight.get_desc().get_size(); }

  int64_t n;
  int64_t k;
  memory weight;
  mutable onednn::PrimitiveCache<Key, Compiled, 16> cache;
};

// Measured on Zen 4: the primitive copies b into its own format, which few rows do not repay.
bool prefers_primitive(const Matmul<float>& p) {
  constexpr int64_t kBeyondCache = 1 << 22;
  return p.b_transposed && (p.m >= 16 || (p.m >= 4 && p.n * p.k > kBeyondCache)) &&
         p.m * p.n * p.k >= 1 << 18;
}

// c[index] = f(a[index] b[index] + bias) (+ what c[index] holds, when `sum`), all of it in the library.
void run_primitive(const Matmul<float>& p, int64_t index, const BlockedWeight* prepared, bool sum) {
  static onednn::PrimitiveCache<Key, Compiled, 64> unprepared;
  try {
    Key key;
    key.m = p.m;
    key.n = p.n;
    key.k = p.k;
    key.a_transposed = p.a_transposed;
    key.bias = p.bias != nullptr;
    key.activation = p.activation;
    key.sum = sum;
    key.threads = onednn::share_threads();
    const auto own = prepared != nullptr
                         ? prepared->cache.get(key, [&] { return compile(key, prepared->weight.get_desc()); })
                         : unprepared.get(key, [&] { return compile(key, transposed_weight(p.n, p.k)); });
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, onednn::read_only(own->a, p.a + index * p.a_batch_stride)},
        {DNNL_ARG_WEIGHTS,
         prepared != nullptr ? prepared->weight : onednn::read_only(own->b, p.b + index * p.b_batch_stride)},
        {DNNL_ARG_DST, memory(own->c, onednn::engine(), p.c + index * p.c_batch_stride)},
        {DNNL_ARG_SCRATCHPAD, onednn::scratchpad(own->scratch)}};
    if (key.bias) arguments.emplace(DNNL_ARG_BIAS, onednn::read_only(own->bias, p.bias));
    own->primitive.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  } catch (const dnnl::error& error) {
    fail("matmul: M=", p.m, " N=", p.n, " K=", p.k, ": oneDNN: ", error.what());
  }
}

// c[index] = a[index] b[index] (+ what c[index] holds, when `sum`).
void run_gemm(const Matmul<float>& p, int64_t index, bool sum) {
  onednn::share_threads();
  const int64_t lda = p.a_transposed ? p.m : p.k;
  const int64_t ldb = p.b_transposed ? p.k : p.n;
  const dnnl_status_t status =
      dnnl_sgemm(p.a_transposed ? 'T' : 'N', p.b_transposed ? 'T' : 'N', p.m, p.n, p.k, 1.0F,
                 p.a + index * p.a_batch_stride, lda, p.b + index * p.b_batch_stride, ldb, sum ? 1.0F : 0.0F,
                 p.c + index * p.c_batch_stride, p.n);
  CHECK(status == dnnl_success, "matmul: oneDNN status ", static_cast<int>(status), " for M=", p.m,
        " N=", p.n, " K=", p.k);
}

// Products of the whole batch without an epilogue but p.bias and p.activation where the library does them.
void run_products(const Matmul<float>& p, const BlockedWeight* prepared, bool library, bool shared_out,
                  bool sum) {
  if (shared_out) {
    parallel_for(p.batch, std::max<int64_t>(1, 65536 / (p.m * p.n * p.k)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_gemm(p, i, sum);
    });
    return;
  }
  for (int64_t i = 0; i < p.batch; ++i) {
    library ? run_primitive(p, i, prepared, sum) : run_gemm(p, i, sum);
  }
}

// Rows of c as the sum starts from: residual and bias, where there are any. False: nothing to start from.
bool seed(const Matmul<float>& p, const float* bias) {
  if (bias == nullptr && p.residual == nullptr) return false;
  if (bias == nullptr && p.residual == p.c) return true;
  parallel_for(p.batch * p.m, (1 << 16) / p.n + 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row / p.m * p.c_batch_stride + row % p.m * p.n;
      const float* from = p.residual != nullptr ? p.residual + at : bias;
      float* c = p.c + at;
      if (from != c) std::memcpy(c, from, static_cast<size_t>(p.n) * sizeof(float));
      if (bias == nullptr || p.residual == nullptr) continue;
      for (int64_t j = 0; j < p.n; ++j) c[j] += bias[j];
    }
  });
  return true;
}

// f(c + bias) + residual, where the products stand in `product` [batch, M, N], adjacent, or in c itself.
void finish(const Matmul<float>& p, float* product, const float* bias) {
  for (int64_t i = 0; i < p.batch; ++i) {
    float* c = p.c + i * p.c_batch_stride;
    BiasActivationFwd<float> step;
    step.x = product != nullptr ? product + i * p.m * p.n : c;
    step.bias = bias;
    step.y = product != nullptr ? product + i * p.m * p.n : c;
    step.rows = p.m;
    step.dim = p.n;
    step.activation = p.activation;
    bias_activation_fwd_cpu(step);
    if (p.residual == nullptr) continue;
    const float* residual = p.residual + i * p.c_batch_stride;
    parallel_for(p.m * p.n, 1 << 15, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) c[j] = step.y[j] + residual[j];
    });
  }
}

void matmul_cpu(const Matmul<float>& given) {
  Matmul<float> p = given;
  const BlockedWeight* prepared = nullptr;
  if (p.prepared != nullptr) {
    prepared = dynamic_cast<const BlockedWeight*>(p.prepared);
    CHECK(prepared != nullptr && prepared->n == p.n && prepared->k == p.k,
          "matmul: the weight was prepared for another device, dtype or shape than N=", p.n, " K=", p.k);
    CHECK(p.batch == 1 && !p.a_transposed, "matmul: a prepared weight takes one product of plain rows");
  }
  if (p.batch <= 0 || p.m <= 0 || p.n <= 0) return;
  // One b for all and adjacent rows of a: a single tall product.
  if (p.batch > 1 && p.b_batch_stride == 0 && !p.a_transposed && p.a_batch_stride == p.m * p.k &&
      p.c_batch_stride == p.m * p.n) {
    p.m *= p.batch;
    p.batch = 1;
  }
  // A small batch of small products is better shared out among the threads than the product itself.
  const bool shared_out = p.batch > 1 && p.batch >= usable_threads() && p.m * p.n * p.k <= kSmallProduct;
  const bool library = p.k > 0 && (prepared != nullptr || (!shared_out && prefers_primitive(p)));
  const auto products = [&](const Matmul<float>& q, bool sum) {
    if (q.k > 0) return run_products(q, prepared, library, shared_out, sum);
    for (int64_t i = 0; i < q.batch && !sum; ++i) std::fill_n(q.c + i * q.c_batch_stride, q.m * q.n, 0.0F);
  };
  // oneDNN's ReLU is a maximum with 0 that turns NaN into 0, so it is done here, and with it all after it.
  const bool finish_here = p.activation == Activation::relu || (p.activation != Activation::none && !library);
  if (!finish_here) {
    const float* bias = library ? nullptr : p.bias;
    products(p, seed(p, bias));
    return;
  }
  Matmul<float> plain = p;
  plain.activation = Activation::none;
  float* product = nullptr;
  if (p.residual == p.c) {  // c is still needed when the product is there
    product = static_cast<float*>(
        thread_scratch(static_cast<size_t>(p.batch * p.m * p.n) * sizeof(float), kProductSlot));
    plain.c = product;
    plain.c_batch_stride = p.m * p.n;
  }
  products(plain, false);
  finish(p, product, library ? nullptr : p.bias);
}

void prepare_matmul_cpu(const PrepareMatmul<float>& p) {
  CHECK(p.n >= 1 && p.k >= 1, "prepare_matmul: weight is [", p.n, ", ", p.k, "]; expected at least [1, 1]");
  try {
    *p.prepared = std::make_shared<const BlockedWeight>(p);
  } catch (const dnnl::error& error) {
    fail("prepare_matmul: [", p.n, ", ", p.k, "]: oneDNN: ", error.what());
  }
}

}  // namespace

Op<Matmul> matmul{"matmul", matmul_cpu, reference::matmul, reference::matmul, reference::matmul};
Op<PrepareMatmul> prepare_matmul{"prepare_matmul", prepare_matmul_cpu, reference::prepare_matmul,
                                 reference::prepare_matmul, reference::prepare_matmul};

namespace reference {

template <class T>
void matmul(const Matmul<T>& given) {
  Matmul<T> p = given;
  if (p.prepared != nullptr) {
    const auto* plain = dynamic_cast<const PlainWeight<T>*>(p.prepared);
    CHECK(plain != nullptr && plain->sizes == std::vector<int64_t>({p.n, p.k}),
          "matmul: the weight was prepared for another device, dtype or shape than N=", p.n, " K=", p.k);
    p.b = plain->values.data();
    p.b_transposed = true;
  }
  for (int64_t i = 0; i < p.batch; ++i) {
    const T* a = p.a + i * p.a_batch_stride;
    const T* b = p.b + i * p.b_batch_stride;
    const T* residual = p.residual != nullptr ? p.residual + i * p.c_batch_stride : nullptr;
    T* c = p.c + i * p.c_batch_stride;
    for (int64_t row = 0; row < p.m; ++row) {
      for (int64_t column = 0; column < p.n; ++column) {
        Real<T> total = 0;
        for (int64_t j = 0; j < p.k; ++j) {
          const Real<T> left = real(p.a_transposed ? a[j * p.m + row] : a[row * p.k + j]);
          const Real<T> right = real(p.b_transposed ? b[column * p.k + j] : b[j * p.n + column]);
          total += left * right;
        }
        if (p.bias != nullptr) total += real(p.bias[column]);
        total = activate(total, p.activation);
        if (residual != nullptr) total += real(residual[row * p.n + column]);
        c[row * p.n + column] = static_cast<T>(total);
      }
    }
  }
}

template <class T>
void prepare_matmul(const PrepareMatmul<T>& p) {
  CHECK(p.n >= 1 && p.k >= 1, "prepare_matmul: weight is [", p.n, ", ", p.k, "]; expected at least [1, 1]");
  *p.prepared = std::make_shared<const PlainWeight<T>>(p.b, std::vector<int64_t>{p.n, p.k});
}

template void matmul(const Matmul<float>&);
template void matmul(const Matmul<double>&);
template void matmul(const Matmul<bfloat16>&);
template void prepare_matmul(const PrepareMatmul<float>&);
template void prepare_matmul(const PrepareMatmul<double>&);
template void prepare_matmul(const PrepareMatmul<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
