// The table of names: which tensors of a checkpoint make which parameter of the towers.
#pragma once

#include <string>
#include <vector>

#include "clipcap/encoders/clip_checkpoint.h"

namespace clipcap::detail {

/// How a parameter lies in a file.
enum class ClipChange {
  none,
  transposed,  // OpenAI multiplies features by the projection from the right
  patches,     // a convolution's weight [w,3,p,p]; ours is [w,3*p*p]
  split_qkv    // three tensors: query, key, value
};

struct ClipParameter {
  std::string ours;                // its name in the tower
  Shape shape;                     // there
  std::vector<std::string> names;  // in the file: three of split_qkv, one otherwise
  Shape file_shape;                // of each
  ClipChange change = ClipChange::none;
};

/// All parameters of the image tower as `layout` names them.
[[nodiscard]] std::vector<ClipParameter> vision_parameters(const VitGeometry& geometry,
                                                           const VisionSettings& settings, ClipLayout layout);
/// `prefix` stands before every name of the text tower ("text." in open_clip's newer class).
[[nodiscard]] std::vector<ClipParameter> text_parameters(const TextGeometry& geometry,
                                                         const TextSettings& settings, ClipLayout layout,
                                                         const std::string& prefix);

/// From the file's tensors, in the order of `names`, to ours, and back.
[[nodiscard]] Tensor to_tower(const ClipParameter& parameter, const std::vector<Tensor>& tensors);
[[nodiscard]] std::vector<Tensor> from_tower(const ClipParameter& parameter, const Tensor& tensor);

}  // namespace clipcap::detail
