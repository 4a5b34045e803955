// Bottleneck ResNets (He et al. 2016; 50, 101, 152 layers) as torchvision has them ("v1.5": a stage's stride
// is in the 3x3 convolution of its first block). For inference, so every BatchNorm is folded into the
// convolution before it when the weights are loaded: y = x * W' + b', W' = W g/s, b' = beta - mean g/s, s =
// sqrt(var + eps).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "clipcap/config/geometry.h"
#include "clipcap/encoders/image_encoder.h"
#include "nn/conv2d.h"

namespace clipcap {

// Bounds of a geometry, which may come from a file.
inline constexpr int64_t kMaxResnetBlocks = 256;  // a stage
inline constexpr int64_t kMaxResnetWidth = 4096;

/// relu(x + expand(spatial(reduce(x)))), where the first block of a stage changes x's shape by `shortcut`.
class Bottleneck : public nn::Module {
 public:
  nn::Conv2d reduce;                     // 1x1, in -> width, ReLU
  nn::Conv2d spatial;                    // 3x3, width -> width, the block's stride, ReLU
  nn::Conv2d expand;                     // 1x1, width -> 4 * width, + residual, ReLU
  std::unique_ptr<nn::Conv2d> shortcut;  // 1x1, in -> 4 * width, the block's stride; first blocks only

  /// `first`: the block begins a stage. `gain` scales the initial weights of `expand`.
  Bottleneck(int64_t in_channels, int64_t width, int64_t stride, bool first, double gain,
             Generator& generator);
  /// x [N,H,W,C] to [N,H',W',4*width]; x is overwritten.
  [[nodiscard]] Tensor forward(const Tensor& x, const nn::Run& run = {}) const;
  void visit(nn::Visitor& visitor) override;
};

class Resnet : public ImageEncoder {
 public:
  nn::Conv2d stem;                                // 7x7, stride 2, 3 -> width, ReLU
  std::array<std::vector<Bottleneck>, 4> stages;  // widths 1, 2, 4, 8 times `width`; strides 1, 2, 2, 2

  /// Normal weights of He et al. 2015, residual branches scaled down with the number of blocks, so that
  /// features are of ordinary size. Throws InputError for a geometry out of bounds.
  Resnet(const ResnetGeometry& geometry, Generator& generator);
  /// Mean over the last stage's pixels. No backward: throws Error when `frames` or a weight wants a gradient.
  [[nodiscard]] Variable forward(const Variable& frames, const nn::Run& run) const override;
  [[nodiscard]] int64_t resolution() const override { return geometry_.resolution; }
  [[nodiscard]] int64_t feature_dim() const override { return 32 * geometry_.width; }
  [[nodiscard]] Preprocessing preprocessing() const override { return imagenet_preprocessing(resolution()); }
  [[nodiscard]] bool trainable() const override { return false; }
  [[nodiscard]] const ResnetGeometry& geometry() const { return geometry_; }
  void visit(nn::Visitor& visitor) override;

 private:
  ResnetGeometry geometry_;
};

/// A ResNet from the tensors of torchvision's state dict (any floating dtype; "module." before every name is
/// tolerated; fc.* and num_batches_tracked are ignored). Blocks and width follow from names and shapes, the
/// resolution is not in the file. Every missing, surplus or misshapen tensor is listed in one InputError that
/// begins with `source`, the file's name.
[[nodiscard]] std::unique_ptr<Resnet> load_torchvision_resnet(const nn::StateDict& tensors,
                                                              const std::string& source,
                                                              int64_t resolution = 224);

}  // namespace clipcap
