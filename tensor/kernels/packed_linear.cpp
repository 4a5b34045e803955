#include "tensor/kernels/packed_linear.h"

#include <cstring>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>

#include "tensor/op.h"

namespace clipcap {
namespace {

using dnnl::memory;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::primitive_attr attributes(Activation activation, bool residual) {
  dnnl::post_ops post;
  dnnl::primitive_attr attr;
#if DNNL_VERSION_MAJOR >= 3
  const auto eltwise = [&](dnnl::algorithm kind, float alpha) { post.append_eltwise(kind, alpha, 0.0F); };
#else
  const auto eltwise = [&](dnnl::algorithm kind, float alpha) { post.append_eltwise(1.0F, kind, alpha, 0.0F); };
#endif
  if (activation == Activation::relu) eltwise(dnnl::algorithm::eltwise_relu, 0.0F);
  if (activation == Activation::gelu) eltwise(dnnl::algorithm::eltwise_gelu_erf, 0.0F);
  if (activation == Activation::quick_gelu) eltwise(dnnl::algorithm::eltwise_swish, 1.702F);
  if (residual) post.append_sum(1.0F);
  attr.set_post_ops(post);
  return attr;
}

}  // namespace

struct PackedLinear::Implementation {
  int64_t n = 0;
  int64_t k = 0;
  Activation activation = Activation::none;
  bool residual = false;
  bool has_bias = false;
  memory weight;
  memory bias;
  mutable std::mutex mutex;
  mutable std::map<int64_t, dnnl::inner_product_forward> by_rows;  // bounded: see run()

  [[nodiscard]] dnnl::inner_product_forward::primitive_desc describe(int64_t rows, const memory::desc& weight_format) const {
    const memory::desc x({rows, k}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc y({rows, n}, memory::data_type::f32, memory::format_tag::ab);
    const memory::desc b = has_bias ? memory::desc({n}, memory::data_type::f32, memory::format_tag::a) : memory::desc();
    const auto attr = attributes(activation, residual);
#if DNNL_VERSION_MAJOR >= 3
    return {engine(), dnnl::prop_kind::forward_inference, x, weight_format, b, y, attr};
#else
    return {{dnnl::prop_kind::forward_inference, x, weight_format, b, y}, attr, engine()};
#endif
  }
};

PackedLinear::PackedLinear(const float* source, const float* bias, int64_t n, int64_t k, Activation activation, bool residual)
    : implementation_(std::make_unique<Implementation>()) {
  CHECK(n > 0 && k > 0, "PackedLinear: weight [", n, ", ", k, "]");
  Implementation& own = *implementation_;
  own.n = n;
  own.k = k;
  own.activation = activation;
  own.residual = residual;
  own.has_bias = bias != nullptr;
  // One format for every row count: the one that the library prefers for a batch of frames.
  constexpr int64_t kTypicalRows = 1576;
  const memory::desc free_choice({n, k}, memory::data_type::f32, memory::format_tag::any);
  const auto description = own.describe(kTypicalRows, free_choice);
  own.weight = memory(description.weights_desc(), engine());
  memory plain({{n, k}, memory::data_type::f32, memory::format_tag::ab}, engine(), const_cast<float*>(source));
  dnnl::stream stream(engine());
  dnnl::reorder(plain, own.weight).execute(stream, plain, own.weight);
  stream.wait();
  if (own.has_bias) {
    own.bias = memory({{n}, memory::data_type::f32, memory::format_tag::a}, engine());
    std::memcpy(own.bias.get_data_handle(), bias, static_cast<size_t>(n) * sizeof(float));
  }
}

PackedLinear::~PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;

size_t PackedLinear::bytes() const {
  return implementation_->weight.get_desc().get_size() + (implementation_->has_bias ? implementation_->bias.get_desc().get_size() : 0);
}

void PackedLinear::run(const float* x, int64_t rows, const float* residual, float* y) const {
  Implementation& own = *implementation_;
  CHECK((residual != nullptr) == own.residual, "PackedLinear: residual ", residual != nullptr ? "given" : "missing");
  if (rows == 0) return;
  if (op_hook != nullptr) op_hook("packed_linear", kCpu, true);
  if (residual != nullptr && residual != y) {
    std::memcpy(y, residual, static_cast<size_t>(rows * own.n) * sizeof(float));
  }
  dnnl::inner_product_forward product;
  {
    const std::lock_guard<std::mutex> lock(own.mutex);
    auto found = own.by_rows.find(rows);
    if (found == own.by_rows.end()) {
      if (own.by_rows.size() >= 16) own.by_rows.clear();
      found = own.by_rows.emplace(rows, dnnl::inner_product_forward(own.describe(rows, own.weight.get_desc()))).first;
    }
    product = found->second;
  }
  memory input({{rows, own.k}, memory::data_type::f32, memory::format_tag::ab}, engine(), const_cast<float*>(x));
  memory output({{rows, own.n}, memory::data_type::f32, memory::format_tag::ab}, engine(), y);
  dnnl::stream stream(engine());
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, input}, {DNNL_ARG_WEIGHTS, own.weight}, {DNNL_ARG_DST, output}};
  if (own.has_bias) arguments.emplace(DNNL_ARG_BIAS, own.bias);
  product.execute(stream, arguments);
  stream.wait();
  if (op_hook != nullptr) op_hook("packed_linear", kCpu, false);
}

}  // namespace clipcap
