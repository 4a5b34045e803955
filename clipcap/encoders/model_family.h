// Models that are near CLIP, or are simply something else: recognised so that they can be named.
#pragma once

#include <map>
#include <string>

#include "tensor/tensor.h"

namespace clipcap {

/// A "model_type" of Hugging Face's configurations as people call it: "SigLIP" for "siglip"; itself in quotes where
/// it is not known.
[[nodiscard]] std::string family_called(const std::string& model_type);

/// A family whose tensors have CLIP's names in part: "SigLIP", "BLIP", "CLIP with a ResNet as image tower", "a LoRA
/// adapter", …; empty for anything else.
[[nodiscard]] std::string near_family(const std::map<std::string, Tensor>& tensors);
/// What model tensors of these names belong to, if it is one that is known and not read: those and "a timm
/// ViT", "DINOv2", …; empty otherwise.
[[nodiscard]] std::string family_of_tensors(const std::map<std::string, Tensor>& tensors);

}  // namespace clipcap
