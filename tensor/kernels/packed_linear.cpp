#include "tensor/kernels/packed_linear.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <array>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "tensor/op.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// The row count for which the weight's format is chosen: one ViT-B/16 image. Other counts use the same
// format.
constexpr int64_t kFormatRows = 197;
// Compiled primitives kept per layer, one for each row count and thread count.
constexpr size_t kCached = 16;
constexpr int kScratchSlot = 7;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc plain(memory::dims dims, Tag tag) { return {std::move(dims), memory::data_type::f32, tag}; }

}  // namespace

struct PackedLinear::Impl {
  struct Compiled {
    int64_t rows = 0;
    int threads = 0;
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
  std::mutex mutex;
  uint64_t uses = 0;
  std::array<std::shared_ptr<const Compiled>, kCached> cache;
  std::array<uint64_t, kCached> last_use{};

  [[nodiscard]] dnnl::primitive_attr attributes() const {
    dnnl::post_ops steps;
    const auto eltwise = [&](dnnl::algorithm kind, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
      steps.append_eltwise(kind, alpha, 0.0F);
#else
      steps.append_eltwise(1.0F, kind, alpha, 0.0F);
#endif
    };
    switch (activation) {
      case Activation::none:
        break;
      case Activation::relu:
        eltwise(dnnl::algorithm::eltwise_relu, 0.0F);
        break;
      case Activation::gelu:
        eltwise(dnnl::algorithm::eltwise_gelu_erf, 0.0F);
        break;
      case Activation::quick_gelu:
        eltwise(dnnl::algorithm::eltwise_swish, 1.702F);
        break;
    }
    if (residual) steps.append_sum(1.0F);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(steps);
    // The caller's thread brings the scratch memory, so one primitive may run on several threads at once.
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
  }

  [[nodiscard]] dnnl::matmul::primitive_desc describe(int64_t rows, const memory::desc& weight_format) const {
    const memory::desc x = plain({rows, k}, Tag::ab);
    const memory::desc y = plain({rows, n}, Tag::ab);
    const memory::desc b = bias ? bias.get_desc() : memory::desc();
#if DNNL_VERSION_MAJOR >= 3
    return {engine(), x, weight_format, b, y, attributes()};
#else
    return {dnnl::matmul::desc(x, weight_format, b, y), attributes(), engine()};
#endif
  }

  std::shared_ptr<const Compiled> compiled(int64_t rows) {
    const int threads = thread_count();
    const std::lock_guard<std::mutex> lock(mutex);
    ++uses;
    size_t oldest = 0;
    for (size_t i = 0; i < kCached; ++i) {
      if (cache[i] && cache[i]->rows == rows && cache[i]->threads == threads) {
        last_use[i] = uses;
        return cache[i];
      }
      if (last_use[i] < last_use[oldest]) oldest = i;
    }
    const dnnl::matmul::primitive_desc description = describe(rows, weight.get_desc());
    auto fresh = std::make_shared<Compiled>();
    fresh->rows = rows;
    fresh->threads = threads;
    fresh->primitive = dnnl::matmul(description);
    fresh->x = description.src_desc();
    fresh->y = description.dst_desc();
    fresh->scratch = description.scratchpad_desc();
    cache[oldest] = fresh;
    last_use[oldest] = uses;
    return fresh;
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
      impl_->bias = memory(plain({1, n}, Tag::ab), engine());
      std::memcpy(impl_->bias.get_data_handle(), bias, static_cast<size_t>(n) * sizeof(float));
    }
    const memory::desc any({k, n}, memory::data_type::f32, Tag::any);
    const memory::desc format = impl_->describe(kFormatRows, any).weights_desc();
    impl_->weight = memory(format, engine());
    dnnl::stream stream(engine());
    // A row-major [N,K] matrix is a column-major [K,N] one; oneDNN only reads through this handle.
    memory source(plain({k, n}, Tag::ba), engine(), const_cast<float*>(weight));  // NOLINT
    dnnl::reorder(source, impl_->weight).execute(stream, source, impl_->weight);
    stream.wait();
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
  if (op_hook != nullptr) op_hook("packed_linear", kCpu, true);
  if (residual != nullptr && residual != y) {
    const int64_t count = rows * impl.n;
    parallel_for(count, 1 << 16, [&](int64_t begin, int64_t end) {
      std::memcpy(y + begin, residual + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
  try {
    const std::shared_ptr<const Impl::Compiled> compiled = impl.compiled(rows);
    thread_local dnnl::stream stream(engine());
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, memory(compiled->x, engine(), const_cast<float*>(x))},  // NOLINT: only read
        {DNNL_ARG_WEIGHTS, impl.weight},
        {DNNL_ARG_DST, memory(compiled->y, engine(), y)},
        {DNNL_ARG_SCRATCHPAD, memory(compiled->scratch, engine(),
                                     thread_scratch(compiled->scratch.get_size() + 64, kScratchSlot))}};
    if (impl.bias) arguments.emplace(DNNL_ARG_BIAS, impl.bias);
    compiled->primitive.execute(stream, arguments);
    stream.wait();
    if (op_hook != nullptr) op_hook("packed_linear", kCpu, false);
  } catch (const dnnl::error& error) {
    fail("PackedLinear: [", rows, ", ", impl.k, "] times [", impl.n, ", ", impl.k,
         "]: oneDNN: ", error.what());
  }
}

int64_t PackedLinear::in_features() const { return impl_->k; }
int64_t PackedLinear::out_features() const { return impl_->n; }
size_t PackedLinear::bytes() const {
  return impl_->weight.get_desc().get_size() + (impl_->bias ? impl_->bias.get_desc().get_size() : 0);
}

}  // namespace clipcap
