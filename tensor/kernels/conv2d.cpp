// oneDNN's direct convolution between plain channels-last pictures. Measured for every layer of ResNet-152
// (Zen 5, oneDNN 2.6, AVX2 and AVX-512): as fast as the blocked layouts that the library would choose itself,
// and every other kernel can read it.
#include "tensor/kernels/conv2d.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

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

// All that a compiled primitive depends on, but the layer.
struct Key {
  int64_t n = 0;
  int64_t h = 0;
  int64_t w = 0;
  bool bias = false;
  bool sum = false;  // adds to what y holds
  bool relu = false;
  int threads = 0;
  bool operator==(const Key&) const = default;
};

struct Compiled {
  dnnl::convolution_forward primitive;
  memory weight;
  memory::desc x, bias, y, scratch;
};

// A layer's weight in oneDNN's own format, with the primitives that were compiled for it. The format is known
// only when the size of the pictures is, so the first run reorders it.
class BlockedConvolution : public PreparedWeight {
 public:
  explicit BlockedConvolution(const PrepareConv2d<float>& p) : geometry(p.geometry) {
    check_geometry(geometry);
    const Conv2dGeometry& g = geometry;
    const memory::dims dims{g.out_channels, g.in_channels, g.kernel_h, g.kernel_w};
    weight_ = memory(onednn::floats(dims, Tag::oihw), onednn::engine());
    std::memcpy(weight_.get_data_handle(), p.weight, weight_.get_desc().get_size());
  }
  [[nodiscard]] size_t bytes() const override { return weight_.get_desc().get_size(); }

  std::shared_ptr<const Compiled> compiled(const Key& key) const {
    return cache_.get(key, [&] {
      const dnnl::convolution_forward::primitive_desc description = describe(key);
      return Compiled{dnnl::convolution_forward(description),
                      weight_in(description.weights_desc()),
                      description.src_desc(),
                      description.bias_desc(),
                      description.dst_desc(),
                      description.scratchpad_desc()};
    });
  }

  const Conv2dGeometry geometry;

 private:
  [[nodiscard]] dnnl::convolution_forward::primitive_desc describe(const Key& key) const {
    const Conv2dGeometry& g = geometry;
    const int64_t out_h = window_positions(key.h, g.kernel_h, g.stride, g.padding);
    const int64_t out_w = window_positions(key.w, g.kernel_w, g.stride, g.padding);
    // oneDNN always lists sizes as N, C, H, W; the tag says in which order they lie in memory.
    const memory::desc x = onednn::floats({key.n, g.in_channels, key.h, key.w}, Tag::nhwc);
    const memory::desc y = onednn::floats({key.n, g.out_channels, out_h, out_w}, Tag::nhwc);
    const memory::desc any =
        onednn::floats({g.out_channels, g.in_channels, g.kernel_h, g.kernel_w}, Tag::any);
    const memory::desc b = key.bias ? onednn::floats({g.out_channels}, Tag::a) : memory::desc();
    const memory::dims strides{g.stride, g.stride};
    const memory::dims padding{g.padding, g.padding};
    dnnl::post_ops epilogue;
    if (key.sum) epilogue.append_sum(1.0F);
    if (key.relu) onednn::append_activation(epilogue, Activation::relu);
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

  // The weight in `format`; reordering moves numbers and changes none. Runs under the cache's lock.
  memory weight_in(const memory::desc& format) const {
    if (weight_.get_desc() != format) {
      memory fresh(format, onednn::engine());
      dnnl::reorder(weight_, fresh).execute(onednn::stream(), weight_, fresh);
      onednn::stream().wait();
      weight_ = fresh;
    }
    return weight_;
  }

  mutable memory weight_;  // in the format of the primitive compiled last; [O,C,KH,KW] before the first
  mutable onednn::PrimitiveCache<Key, Compiled, 8> cache_;
};

template <class T>
void check_pictures(const Conv2dFwd<T>& p) {
  check_geometry(p.geometry);
  const Conv2dGeometry& g = p.geometry;
  CHECK(window_positions(p.h, g.kernel_h, g.stride, g.padding) >= 1 &&
            window_positions(p.w, g.kernel_w, g.stride, g.padding) >= 1,
        "conv2d: a picture of ", p.h, " x ", p.w, " under a kernel of ", g.kernel_h, " x ", g.kernel_w,
        ", padding ", g.padding);
}

void run(const Conv2dFwd<float>& p, const BlockedConvolution& prepared) {
  const Conv2dGeometry& g = p.geometry;
  if (p.residual != nullptr && p.residual != p.y) {
    const int64_t count = p.n * window_positions(p.h, g.kernel_h, g.stride, g.padding) *
                          window_positions(p.w, g.kernel_w, g.stride, g.padding) * g.out_channels;
    parallel_for(count, 1 << 16, [&](int64_t begin, int64_t end) {
      std::memcpy(p.y + begin, p.residual + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
  Key key;
  key.n = p.n;
  key.h = p.h;
  key.w = p.w;
  key.bias = p.bias != nullptr;
  key.sum = p.residual != nullptr;
  key.relu = p.relu;
  key.threads = onednn::share_threads();
  const std::shared_ptr<const Compiled> compiled = prepared.compiled(key);
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, onednn::read_only(compiled->x, p.x)},
                                            {DNNL_ARG_WEIGHTS, compiled->weight},
                                            {DNNL_ARG_DST, memory(compiled->y, onednn::engine(), p.y)},
                                            {DNNL_ARG_SCRATCHPAD, onednn::scratchpad(compiled->scratch)}};
  if (key.bias) arguments.emplace(DNNL_ARG_BIAS, onednn::read_only(compiled->bias, p.bias));
  compiled->primitive.execute(onednn::stream(), arguments);
  onednn::stream().wait();
}

void conv2d_fwd_cpu(const Conv2dFwd<float>& p) {
  const Conv2dGeometry& g = p.geometry;
  check_pictures(p);
  try {
    if (p.prepared == nullptr) {
      if (p.n <= 0) return;
      PrepareConv2d<float> once;
      once.weight = p.weight;
      once.geometry = g;
      return run(p, BlockedConvolution(once));
    }
    const auto* prepared = dynamic_cast<const BlockedConvolution*>(p.prepared);
    CHECK(prepared != nullptr && prepared->geometry == g,
          "conv2d: the weight was prepared for another device, dtype or geometry");
    if (p.n > 0) run(p, *prepared);
  } catch (const dnnl::error& error) {
    fail("conv2d: x [", p.n, ", ", p.h, ", ", p.w, ", ", g.in_channels, "], weight [", g.out_channels, ", ",
         g.in_channels, ", ", g.kernel_h, ", ", g.kernel_w, "]: oneDNN: ", error.what());
  }
}

void prepare_conv2d_cpu(const PrepareConv2d<float>& p) {
  *p.prepared = std::make_shared<const BlockedConvolution>(p);
}

}  // namespace

Op<Conv2dFwd> conv2d_fwd{"conv2d_fwd", conv2d_fwd_cpu, reference::conv2d_fwd, reference::conv2d_fwd,
                         reference::conv2d_fwd};
Op<PrepareConv2d> prepare_conv2d{"prepare_conv2d", prepare_conv2d_cpu, reference::prepare_conv2d,
                                 reference::prepare_conv2d, reference::prepare_conv2d};

namespace reference {
namespace {

std::vector<int64_t> sizes_of(const Conv2dGeometry& g) {
  return {g.out_channels, g.in_channels, g.kernel_h, g.kernel_w};
}

}  // namespace

template <class T>
void conv2d_fwd(const Conv2dFwd<T>& p) {
  const Conv2dGeometry& g = p.geometry;
  check_pictures(p);
  const T* all_weights = p.weight;
  if (p.prepared != nullptr) {
    const auto* plain = dynamic_cast<const PlainWeight<T>*>(p.prepared);
    CHECK(plain != nullptr && plain->sizes == sizes_of(g),
          "conv2d: the weight was prepared for another device, dtype or geometry");
    all_weights = plain->values.data();
  }
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
          const T* weight = all_weights + (o * g.in_channels * g.kernel_h + u) * g.kernel_w + v;
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

template <class T>
void prepare_conv2d(const PrepareConv2d<T>& p) {
  check_geometry(p.geometry);
  *p.prepared = std::make_shared<const PlainWeight<T>>(p.weight, sizes_of(p.geometry));
}

template void conv2d_fwd(const Conv2dFwd<float>&);
template void conv2d_fwd(const Conv2dFwd<double>&);
template void conv2d_fwd(const Conv2dFwd<bfloat16>&);
template void prepare_conv2d(const PrepareConv2d<float>&);
template void prepare_conv2d(const PrepareConv2d<double>&);
template void prepare_conv2d(const PrepareConv2d<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
