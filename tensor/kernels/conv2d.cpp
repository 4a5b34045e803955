// oneDNN's direct convolution between plain channels-last pictures. Measured for every layer of ResNet-152
// (Zen 5, oneDNN 2.6, AVX2 and AVX-512): as fast as the blocked layouts that the library would choose itself,
// and every other kernel can read it.
#include "tensor/kernels/conv2d.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Compiled primitives kept per layer, one for each size of x and thread count.
constexpr size_t kCached = 8;
constexpr int kScratchSlot = 7;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc floats(const memory::dims& dims, Tag tag) { return {dims, memory::data_type::f32, tag}; }

void check_geometry(const Conv2dGeometry& g) {
  CHECK(g.in_channels >= 1 && g.out_channels >= 1 && g.kernel_h >= 1 && g.kernel_w >= 1,
        "conv2d: weight is [", g.out_channels, ", ", g.in_channels, ", ", g.kernel_h, ", ", g.kernel_w,
        "]; expected at least [1, 1, 1, 1]");
  CHECK(g.stride >= 1 && g.padding >= 0 && g.padding < std::min(g.kernel_h, g.kernel_w), "conv2d: stride ",
        g.stride, ", padding ", g.padding, " for a kernel of ", g.kernel_h, " x ", g.kernel_w);
}

}  // namespace

struct PackedConv2d::Impl {
  struct Compiled {
    int64_t n = 0;
    int64_t h = 0;
    int64_t w = 0;
    int threads = 0;
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
  std::mutex mutex;
  std::vector<std::shared_ptr<const Compiled>> cache;  // the one used last stands last

  [[nodiscard]] dnnl::primitive_attr attributes() const {
    dnnl::post_ops steps;
    if (residual) steps.append_sum(1.0F);
#if DNNL_VERSION_MAJOR >= 3
    if (relu) steps.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
#else
    if (relu) steps.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
#endif
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(steps);
    // The caller's thread brings the scratch memory, so one primitive may run on several threads at once.
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attributes;
  }

  [[nodiscard]] dnnl::convolution_forward::primitive_desc describe(int64_t n, int64_t h, int64_t w) const {
    const Conv2dGeometry& g = geometry;
    const int64_t out_h = window_positions(h, g.kernel_h, g.stride, g.padding);
    const int64_t out_w = window_positions(w, g.kernel_w, g.stride, g.padding);
    // oneDNN always lists sizes as N, C, H, W; the tag says in which order they lie in memory.
    const memory::desc x = floats({n, g.in_channels, h, w}, Tag::nhwc);
    const memory::desc y = floats({n, g.out_channels, out_h, out_w}, Tag::nhwc);
    const memory::desc any = floats({g.out_channels, g.in_channels, g.kernel_h, g.kernel_w}, Tag::any);
    const memory::desc b = bias ? bias.get_desc() : memory::desc();
    const memory::dims strides{g.stride, g.stride};
    const memory::dims padding{g.padding, g.padding};
    constexpr auto kKind = dnnl::prop_kind::forward_inference;
    constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    return {engine(), kKind, kAlgorithm, x, any, b, y, strides, padding, padding, attributes()};
#else
    return {dnnl::convolution_forward::desc(kKind, kAlgorithm, x, any, b, y, strides, padding, padding),
            attributes(), engine()};
#endif
  }

  // The weight in `format`; reordering moves numbers and changes none.
  memory weight_in(const memory::desc& format) {
    if (weight.get_desc() != format) {
      memory fresh(format, engine());
      dnnl::stream stream(engine());
      dnnl::reorder(weight, fresh).execute(stream, weight, fresh);
      stream.wait();
      weight = fresh;
    }
    return weight;
  }

  std::shared_ptr<const Compiled> compiled(int64_t n, int64_t h, int64_t w) {
    const int threads = thread_count();
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = std::find_if(cache.begin(), cache.end(), [&](const auto& entry) {
      return entry->n == n && entry->h == h && entry->w == w && entry->threads == threads;
    });
    if (found != cache.end()) {
      std::rotate(found, found + 1, cache.end());
      return cache.back();
    }
    const dnnl::convolution_forward::primitive_desc description = describe(n, h, w);
    auto fresh = std::make_shared<Compiled>();
    *fresh = {n,
              h,
              w,
              threads,
              dnnl::convolution_forward(description),
              weight_in(description.weights_desc()),
              description.src_desc(),
              description.dst_desc(),
              description.scratchpad_desc()};
    if (cache.size() == kCached) cache.erase(cache.begin());
    cache.push_back(fresh);
    return fresh;
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
    memory copy(floats(dims, tag), engine());
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
  if (op_hook != nullptr) op_hook("packed_conv2d", kCpu, true);
  if (residual != nullptr && residual != y) {
    parallel_for(n * out_h * out_w * g.out_channels, 1 << 16, [&](int64_t begin, int64_t end) {
      std::memcpy(y + begin, residual + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
  try {
    const std::shared_ptr<const Impl::Compiled> compiled = impl.compiled(n, h, w);
    thread_local dnnl::stream stream(engine());
    std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, memory(compiled->x, engine(), const_cast<float*>(x))},  // NOLINT: only read
        {DNNL_ARG_WEIGHTS, compiled->weight},
        {DNNL_ARG_DST, memory(compiled->y, engine(), y)},
        {DNNL_ARG_SCRATCHPAD, memory(compiled->scratch, engine(),
                                     thread_scratch(compiled->scratch.get_size() + 64, kScratchSlot))}};
    if (impl.bias) arguments.emplace(DNNL_ARG_BIAS, impl.bias);
    compiled->primitive.execute(stream, arguments);
    stream.wait();
  } catch (const dnnl::error& error) {
    fail("conv2d: x [", n, ", ", h, ", ", w, ", ", g.in_channels, "], weight [", g.out_channels, ", ",
         g.in_channels, ", ", g.kernel_h, ", ", g.kernel_w, "]: oneDNN: ", error.what());
  }
  if (op_hook != nullptr) op_hook("packed_conv2d", kCpu, false);
}

namespace {

void conv2d_fwd_cpu(const Conv2dFwd<float>& p) {
  PackedConv2d(p.weight, p.bias, p.geometry, p.relu, p.residual != nullptr)
      .run(p.x, p.n, p.h, p.w, p.residual, p.y);
}

}  // namespace

Op<void(const Conv2dFwd<float>&)> conv2d_fwd{"conv2d_fwd", conv2d_fwd_cpu};

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
      T total = p.bias != nullptr ? p.bias[o] : T{0};
      for (int64_t u = 0; u < g.kernel_h; ++u) {
        for (int64_t v = 0; v < g.kernel_w; ++v) {
          const int64_t row = top + u;
          const int64_t column = left + v;
          if (row < 0 || row >= p.h || column < 0 || column >= p.w) continue;
          const T* pixel = p.x + ((n * p.h + row) * p.w + column) * g.in_channels;
          const T* weight = p.weight + (o * g.in_channels * g.kernel_h + u) * g.kernel_w + v;
          for (int64_t c = 0; c < g.in_channels; ++c) total += pixel[c] * weight[c * g.kernel_h * g.kernel_w];
        }
      }
      const int64_t i = at * g.out_channels + o;
      if (p.residual != nullptr) total += p.residual[i];
      p.y[i] = p.relu && total < T{0} ? T{0} : total;
    }
  }
}

template void conv2d_fwd(const Conv2dFwd<float>&);
template void conv2d_fwd(const Conv2dFwd<double>&);

}  // namespace reference
}  // namespace clipcap
