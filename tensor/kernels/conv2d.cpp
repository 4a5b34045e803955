// oneDNN's direct convolution between plain channels-last pictures. Measured for every layer of ResNet-152
// (Zen 5, oneDNN 2.6, AVX2 and AVX-512): as fast as the blocked layouts that the library would choose itself,
// and every other kernel can read it.
#include "tensor/kernels/conv2d.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>

#include "tensor/kernels/onednn.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

using dnnl::memory;
using onednn::Tag;

void check_geometry(const Conv2dGeometry& g) {
  CHECK(g.in_channels >= 1 && g.out_channels >= 1 && g.kernel_h >= 1 && g.kernel_w >= 1,
        "conv2d: weight is [", g.out_channels, ", ", g.in_channels, ", ", g.kernel_h, ", ", g.kernel_w,
        "]; expected at least [1, 1, 1, 1]");
  CHECK(g.stride >= 1 && g.padding >= 0 && g.padding < std::min(g.kernel_h, g.kernel_w), "conv2d: stride ",
        g.stride, ", padding ", g.padding, " for a kernel of ", g.kernel_h, " x ", g.kernel_w);
}

}  // namespace

struct PackedConv2d::Impl {
  struct Key {
    int64_t n = 0;
    int64_t h = 0;
    int64_t w = 0;
    int threads = 0;
    bool operator==(const Key&) const = default;
  };
  struct Compiled {
    dnnl::convolution_forward primitive;
    memory weight;
    memory::desc x;
    memory::desc y;
    memory::desc scratch;
  };

  Conv2dGeometry geometry;
  bool relu = false;
  bool residual = false;
  memory weight;  // in the format of the primitive compiled last; [O,C,KH,KW] before the first
  memory bias;
  onednn::PrimitiveCache<Key, Compiled, 8> cache;

  [[nodiscard]] dnnl::convolution_forward::primitive_desc describe(int64_t n, int64_t h, int64_t w) const {
    const Conv2dGeometry& g = geometry;
    const int64_t out_h = window_positions(h, g.kernel_h, g.stride, g.padding);
    const int64_t out_w = window_positions(w, g.kernel_w, g.stride, g.padding);
    // oneDNN always lists sizes as N, C, H, W; the tag says in which order they lie in memory.
    const memory::desc x = onednn::floats({n, g.in_channels, h, w}, Tag::nhwc);
    const memory::desc y = onednn::floats({n, g.out_channels, out_h, out_w}, Tag::nhwc);
    const memory::desc any =
        onednn::floats({g.out_channels, g.in_channels, g.kernel_h, g.kernel_w}, Tag::any);
    const memory::desc b = bias ? bias.get_desc() : memory::desc();
    const memory::dims strides{g.stride, g.stride};
    const memory::dims padding{g.padding, g.padding};
    dnnl::post_ops epilogue;
    if (residual) epilogue.append_sum(1.0F);
    if (relu) onednn::append_activation(epilogue, Activation::relu);
    const dnnl::primitive_attr attributes = onednn::attributes(epilogue);
    constexpr auto kKind = dnnl::prop_kind::forward_inference;
    constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {onednn::engine(), kKind, kAlgorithm, x, any, b, y, strides, padding, padding, attributes};
#else
    return {dnnl::convolution_forward::desc(kKind, kAlgorithm, x, any, b, y, strides, padding, padding),
            attributes, onednn::engine()};
#endif
  }

  // The weight in `format`; reordering moves numbers and changes none.
  memory weight_in(const memory::desc& format) {
    if (weight.get_desc() != format) {
      memory fresh(format, onednn::engine());
      dnnl::reorder(weight, fresh).execute(onednn::stream(), weight, fresh);
      onednn::stream().wait();
      weight = fresh;
    }
    return weight;
  }

  std::shared_ptr<const Compiled> compiled(int64_t n, int64_t h, int64_t w) {
    return cache.get({n, h, w, onednn::share_threads()}, [&] {
      const dnnl::convolution_forward::primitive_desc description = describe(n, h, w);
      return Compiled{dnnl::convolution_forward(description), weight_in(description.weights_desc()),
                      description.src_desc(), description.dst_desc(), description.scratchpad_desc()};
    });
  }
};

PackedConv2d::PackedConv2d(const float* weight, const float* bias, const Conv2dGeometry& geometry, bool relu,
                           bool residual)
    : impl_(std::make_unique<Impl>()) {
  check_geometry(geometry);
  impl_->geometry = geometry;
  impl_->relu = relu;
  impl_->residual = residual;
  const auto copied = [](const float* values, const memory::dims& dims, Tag tag) {
    memory copy(onednn::floats(dims, tag), onednn::engine());
    std::memcpy(copy.get_data_handle(), values, copy.get_desc().get_size());
    return copy;
  };
  try {
    impl_->weight =
        copied(weight, {geometry.out_channels, geometry.in_channels, geometry.kernel_h, geometry.kernel_w},
               Tag::oihw);
    if (bias != nullptr) impl_->bias = copied(bias, {geometry.out_channels}, Tag::a);
  } catch (const dnnl::error& error) {
    fail("conv2d: weight [", geometry.out_channels, ", ", geometry.in_channels, ", ", geometry.kernel_h, ", ",
         geometry.kernel_w, "]: oneDNN: ", error.what());
  }
}

PackedConv2d::~PackedConv2d() = default;
PackedConv2d::PackedConv2d(PackedConv2d&& other) noexcept = default;
PackedConv2d& PackedConv2d::operator=(PackedConv2d&& other) noexcept = default;

const Conv2dGeometry& PackedConv2d::geometry() const { return impl_->geometry; }

void PackedConv2d::run(const float* x, int64_t n, int64_t h, int64_t w, const float* residual,
                       float* y) const {
  Impl& impl = *impl_;
  const Conv2dGeometry& g = impl.geometry;
  CHECK((residual != nullptr) == impl.residual || n <= 0, "conv2d: residual ",
        residual != nullptr ? "given" : "missing", " but it was built ", impl.residual ? "with" : "without",
        " one");
  const int64_t out_h = window_positions(h, g.kernel_h, g.stride, g.padding);
  const int64_t out_w = window_positions(w, g.kernel_w, g.stride, g.padding);
  CHECK(out_h >= 1 && out_w >= 1, "conv2d: a picture of ", h, " x ", w, " under a kernel of ", g.kernel_h,
        " x ", g.kernel_w, ", padding ", g.padding);
  if (n <= 0) return;
  const OpScope scope([&] {
    Conv2dFwd<float> call{};
    call.residual = residual;
    call.n = n;
    call.h = h;
    call.w = w;
    call.geometry = g;
    return OpCall{"packed_conv2d", kCpu, DType::f32, cost(call)};
  });
  if (residual != nullptr && residual != y) {
    parallel_for(n * out_h * out_w * g.out_channels, 1 << 16, [&](int64_t begin, int64_t end) {
      std::memcpy(y + begin, residual + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
  try {
    const std::shared_ptr<const Impl::Compiled> compiled = impl.compiled(n, h, w);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, onednn::read_only(compiled->x, x)},
                                              {DNNL_ARG_WEIGHTS, compiled->weight},
                                              {DNNL_ARG_DST, memory(compiled->y, onednn::engine(), y)},
                                              {DNNL_ARG_SCRATCHPAD, onednn::scratchpad(compiled->scratch)}};
    if (impl.bias) arguments.emplace(DNNL_ARG_BIAS, impl.bias);
    compiled->primitive.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  } catch (const dnnl::error& error) {
    fail("conv2d: x [", n, ", ", h, ", ", w, ", ", g.in_channels, "], weight [", g.out_channels, ", ",
         g.in_channels, ", ", g.kernel_h, ", ", g.kernel_w, "]: oneDNN: ", error.what());
  }
}

namespace {

void conv2d_fwd_cpu(const Conv2dFwd<float>& p) {
  PackedConv2d(p.weight, p.bias, p.geometry, p.relu, p.residual != nullptr)
      .run(p.x, p.n, p.h, p.w, p.residual, p.y);
}

}  // namespace

Op<Conv2dFwd> conv2d_fwd{"conv2d_fwd", conv2d_fwd_cpu, reference::conv2d_fwd, reference::conv2d_fwd,
                         reference::conv2d_fwd};

namespace reference {

template <class T>
void conv2d_fwd(const Conv2dFwd<T>& p) {
  const Conv2dGeometry& g = p.geometry;
  const int64_t out_h = window_positions(p.h, g.kernel_h, g.stride, g.padding);
  const int64_t out_w = window_positions(p.w, g.kernel_w, g.stride, g.padding);
  for (int64_t at = 0; at < p.n * out_h * out_w; ++at) {
    const int64_t n = at / (out_h * out_w);
    const int64_t top = at / out_w % out_h * g.stride - g.padding;
    const int64_t left = at % out_w * g.stride - g.padding;
    for (int64_t o = 0; o < g.out_channels; ++o) {
      Real<T> total = p.bias != nullptr ? real(p.bias[o]) : Real<T>{0};
      for (int64_t u = 0; u < g.kernel_h; ++u) {
        for (int64_t v = 0; v < g.kernel_w; ++v) {
          const int64_t row = top + u;
          const int64_t column = left + v;
          if (row < 0 || row >= p.h || column < 0 || column >= p.w) continue;
          const T* pixel = p.x + ((n * p.h + row) * p.w + column) * g.in_channels;
          const T* weight = p.weight + (o * g.in_channels * g.kernel_h + u) * g.kernel_w + v;
          for (int64_t c = 0; c < g.in_channels; ++c) {
            total += real(pixel[c]) * real(weight[c * g.kernel_h * g.kernel_w]);
          }
        }
      }
      const int64_t i = at * g.out_channels + o;
      if (p.residual != nullptr) total += real(p.residual[i]);
      p.y[i] = static_cast<T>(p.relu && total < 0 ? Real<T>{0} : total);
    }
  }
}

template void conv2d_fwd(const Conv2dFwd<float>&);
template void conv2d_fwd(const Conv2dFwd<double>&);
template void conv2d_fwd(const Conv2dFwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
