#include "tensor/kernels/packed_linear.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>

#include "tensor/kernels/onednn.h"
#include "tensor/op.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

using dnnl::memory;
using onednn::Tag;

// The row count for which the weight's format is chosen: one ViT-B/16 image. Other counts take the
// same format.
constexpr int64_t kFormatRows = 197;
constexpr int kProductSlot = 6;

}  // namespace

struct PackedLinear::Impl {
  struct Key {
    int64_t rows = 0;
    int threads = 0;
    bool operator==(const Key&) const = default;
  };
  struct Compiled {
    dnnl::matmul primitive;
    memory::desc x;
    memory::desc y;
    memory::desc scratch;
  };

  int64_t n = 0;
  int64_t k = 0;
  Activation activation = Activation::none;
  bool residual = false;
  memory weight;
  memory bias;
  onednn::PrimitiveCache<Key, Compiled, 16> cache;

  // oneDNN's ReLU is a maximum with 0 that turns NaN into 0, so ours runs afterwards, and with it the sum.
  [[nodiscard]] bool relu_after() const { return activation == Activation::relu; }

  [[nodiscard]] dnnl::matmul::primitive_desc describe(int64_t rows, const memory::desc& weight_format) const {
    const memory::desc x = onednn::floats({rows, k}, Tag::ab);
    const memory::desc y = onednn::floats({rows, n}, Tag::ab);
    const memory::desc b = bias ? bias.get_desc() : memory::desc();
    dnnl::post_ops epilogue;
    if (!relu_after()) {
      onednn::append_activation(epilogue, activation);
      if (residual) epilogue.append_sum(1.0F);
    }
#if DNNL_VERSION_MAJOR >= 3
    return {onednn::engine(), x, weight_format, b, y, onednn::attributes(epilogue)};
#else
    return {dnnl::matmul::desc(x, weight_format, b, y), onednn::attributes(epilogue), onednn::engine()};
#endif
  }

  std::shared_ptr<const Compiled> compiled(int64_t rows) {
    return cache.get({rows, onednn::share_threads()}, [&] {
      const dnnl::matmul::primitive_desc description = describe(rows, weight.get_desc());
      return Compiled{dnnl::matmul(description), description.src_desc(), description.dst_desc(),
                      description.scratchpad_desc()};
    });
  }
};

PackedLinear::PackedLinear(const float* weight, const float* bias, int64_t n, int64_t k,
                           Activation activation, bool residual)
    : impl_(std::make_unique<Impl>()) {
  CHECK(n >= 1 && k >= 1, "PackedLinear: weight is [", n, ", ", k, "]; expected at least [1, 1]");
  impl_->n = n;
  impl_->k = k;
  impl_->activation = activation;
  impl_->residual = residual;
  try {
    if (bias != nullptr) {
      impl_->bias = memory(onednn::floats({1, n}, Tag::ab), onednn::engine());
      std::memcpy(impl_->bias.get_data_handle(), bias, static_cast<size_t>(n) * sizeof(float));
    }
    const memory::desc any({k, n}, memory::data_type::f32, Tag::any);
    const memory::desc format = impl_->describe(kFormatRows, any).weights_desc();
    impl_->weight = memory(format, onednn::engine());
    // A row-major [N,K] matrix is a column-major [K,N] one.
    memory source = onednn::read_only(onednn::floats({k, n}, Tag::ba), weight);
    dnnl::reorder(source, impl_->weight).execute(onednn::stream(), source, impl_->weight);
    onednn::stream().wait();
  } catch (const dnnl::error& error) {
    fail("PackedLinear: [", n, ", ", k, "]: oneDNN: ", error.what());
  }
}

PackedLinear::~PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&& other) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&& other) noexcept = default;

void PackedLinear::run(const float* x, int64_t rows, const float* residual, float* y) const {
  Impl& impl = *impl_;
  CHECK((residual != nullptr) == impl.residual, "PackedLinear: residual ",
        residual != nullptr ? "given" : "missing", " but it was built ", impl.residual ? "with" : "without",
        " one");
  if (rows <= 0) return;
  const OpScope scope([&] {
    const auto m = static_cast<double>(rows);
    const auto n = static_cast<double>(impl.n);
    const auto k = static_cast<double>(impl.k);
    const double added = residual != nullptr ? m * n : 0;
    return OpCall{"packed_linear", kCpu, DType::f32, {2 * m * n * k, 4 * (m * k + n * k + added), 4 * m * n}};
  });
  const int64_t count = rows * impl.n;
  float* product = y;
  if (impl.relu_after() && residual == y) {  // y is still needed when the product is there
    product = static_cast<float*>(thread_scratch(static_cast<size_t>(count) * sizeof(float), kProductSlot));
  } else if (!impl.relu_after() && residual != nullptr && residual != y) {
    parallel_for(count, 1 << 16, [&](int64_t begin, int64_t end) {
      std::memcpy(y + begin, residual + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
  try {
    const std::shared_ptr<const Impl::Compiled> compiled = impl.compiled(rows);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, onednn::read_only(compiled->x, x)},
                                              {DNNL_ARG_WEIGHTS, impl.weight},
                                              {DNNL_ARG_DST, memory(compiled->y, onednn::engine(), product)},
                                              {DNNL_ARG_SCRATCHPAD, onednn::scratchpad(compiled->scratch)}};
    if (impl.bias) arguments.emplace(DNNL_ARG_BIAS, impl.bias);
    compiled->primitive.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  } catch (const dnnl::error& error) {
    fail("PackedLinear: [", rows, ", ", impl.k, "] times [", impl.n, ", ", impl.k,
         "]: oneDNN: ", error.what());
  }
  if (impl.relu_after()) {
    parallel_for(count, 1 << 14, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float value = product[i] < 0 ? 0.0F : product[i];
        y[i] = residual != nullptr ? value + residual[i] : value;
      }
    });
  }
}

int64_t PackedLinear::in_features() const { return impl_->k; }
int64_t PackedLinear::out_features() const { return impl_->n; }
size_t PackedLinear::bytes() const {
  return impl_->weight.get_desc().get_size() + (impl_->bias ? impl_->bias.get_desc().get_size() : 0);
}

}  // namespace clipcap
