#include "clipcap/encoders/resnet.h"

#include <cmath>

#include "tensor/kernels/pool2d.h"
#include "tensor/ops.h"

namespace clipcap {
namespace {

// Pooling after the stem.
constexpr int64_t kPool = 3;
constexpr int64_t kPoolStride = 2;
constexpr int64_t kPoolPadding = 1;

Tensor max_pool(const Tensor& x) {
  const Tensor y = Tensor::empty({x.dim(0), window_positions(x.dim(1), kPool, kPoolStride, kPoolPadding),
                                  window_positions(x.dim(2), kPool, kPoolStride, kPoolPadding), x.dim(3)},
                                 x.dtype(), x.device());
  visit_compute_dtype("max_pool2d", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const MaxPool2d<T> p{.x = x.data<T>(),
                         .y = y.data<T>(),
                         .n = x.dim(0),
                         .h = x.dim(1),
                         .w = x.dim(2),
                         .c = x.dim(3),
                         .kernel = kPool,
                         .stride = kPoolStride,
                         .padding = kPoolPadding};
    max_pool2d(x.device(), p);
  });
  return y;
}

Tensor mean_pool(const Tensor& x) {
  const Tensor y = Tensor::empty({x.dim(0), x.dim(3)}, x.dtype(), x.device());
  visit_compute_dtype("mean_pool2d", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const MeanPool2d<T> p{
        .x = x.data<T>(), .y = y.data<T>(), .n = x.dim(0), .h = x.dim(1), .w = x.dim(2), .c = x.dim(3)};
    mean_pool2d(x.device(), p);
  });
  return y;
}

const ResnetGeometry& checked(const ResnetGeometry& geometry) {
  for (const int64_t blocks : geometry.blocks) {
    CHECK_INPUT(blocks >= 1 && blocks <= kMaxResnetBlocks, "ResNet: ", blocks,
                " blocks in a stage; expected 1 to ", kMaxResnetBlocks);
  }
  CHECK_INPUT(geometry.width >= 1 && geometry.width <= kMaxResnetWidth, "ResNet: width ", geometry.width,
              "; expected 1 to ", kMaxResnetWidth);
  CHECK_INPUT(geometry.resolution >= 1 && geometry.resolution <= 4096, "ResNet: resolution ",
              geometry.resolution, "; expected 1 to 4096");
  return geometry;
}

}  // namespace

Bottleneck::Bottleneck(int64_t in_channels, int64_t width, int64_t stride, bool first, double gain,
                       Generator& generator)
    : reduce(in_channels, width, 1, generator, {.relu = true}),
      spatial(width, width, 3, generator, {.stride = stride, .relu = true}),
      expand(width, 4 * width, 1, generator, {.relu = true, .residual = true}, gain) {
  if (first) {
    shortcut = std::make_unique<nn::Conv2d>(in_channels, 4 * width, 1, generator,
                                            nn::Conv2dOptions{.stride = stride});
  }
}

Tensor Bottleneck::forward(const Tensor& x, const nn::Run& run) const {
  nn::Call call(run, *this, "forward", x);
  const Tensor residual = shortcut ? shortcut->forward(x, run) : x;
  return call.returns(expand.forward(spatial.forward(reduce.forward(x, run), run), residual, run));
}

void Bottleneck::visit(nn::Visitor& visitor) {
  visitor("reduce", reduce);
  visitor("spatial", spatial);
  visitor("expand", expand);
  visitor("shortcut", shortcut);
}

Resnet::Resnet(const ResnetGeometry& geometry, Generator& generator)
    : stem(3, checked(geometry).width, 7, generator, {.stride = 2, .relu = true}), geometry_(geometry) {
  int64_t channels = geometry.width;
  int64_t width = geometry.width;
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    // The branches of a stage together then add about as much as its shortcut carries.
    const double gain = 1.0 / std::sqrt(static_cast<double>(geometry.blocks[stage]));
    for (int64_t block = 0; block < geometry.blocks[stage]; ++block) {
      const bool first = block == 0;
      stages[stage].emplace_back(channels, width, first && stage > 0 ? 2 : 1, first, gain, generator);
      channels = 4 * width;
    }
    width *= 2;
  }
}

Variable Resnet::forward(const Variable& frames, const nn::Run& run) const {
  const int64_t side = geometry_.resolution;
  CHECK(frames.value().rank() == 4 && frames.dim(1) == 3 && frames.dim(2) == side && frames.dim(3) == side,
        "ResNet: frames are ", frames.shape(), "; expected [N, 3, ", side, ", ", side, "]");
  CHECK(NoGrad::active() || !(frames.requires_grad() || stem.weight.requires_grad()),
        "ResNet: has no backward; use it frozen");
  nn::Call call(run, *this, "forward", frames);
  Tensor x = frames.value().permute({0, 2, 3, 1}).contiguous();  // [N,R,R,3]
  x = max_pool(stem.forward(x, run));
  for (const std::vector<Bottleneck>& stage : stages) {
    for (const Bottleneck& block : stage) x = block.forward(x, run);
  }
  return call.returns(Variable(mean_pool(x)));
}

void Resnet::visit(nn::Visitor& visitor) {
  visitor("stem", stem);
  for (size_t stage = 0; stage < stages.size(); ++stage)
    visitor("stages." + std::to_string(stage), stages[stage]);
}

}  // namespace clipcap
