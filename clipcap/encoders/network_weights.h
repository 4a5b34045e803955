// Finds the network in a file of tensors. Trainers leave wrappers in the names (torch.compile's "_orig_mod.", "module.",
// FSDP's), keep the network under the name of an attribute or a key ("state_dict.clip_model."), and lay optimizers and
// averaged copies beside it. What is left when all that is taken off has a CLIP's or a ResNet's own names.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clipcap/encoders/clip_layout.h"
#include "tensor/io/tensor_file.h"

namespace clipcap {

struct NetworkWeights {
  enum class Kind { clip, resnet };
  Kind kind = Kind::clip;
  ClipLayout layout = ClipLayout::openai;  // of a CLIP's names
  std::map<std::string, Tensor>
      tensors;  // the network's own, under the names of a whole CLIP or of torchvision
  std::map<std::string, std::string> skipped;  // TensorFile::skipped under these names
  std::string format;                          // TensorFile's, as the next two
  std::shared_ptr<const MappedFile> file;
  std::vector<std::shared_ptr<const MappedFile>> more;
  std::string said;  // what was taken off and left out, for people; each part behind "; "
};

/// The one CLIP (or a tower of it) or ResNet of a file. Averages ("model_ema") stand behind the weights that were
/// trained. Throws InputError that begins with `name` when there is none, naming what else it is where that is
/// known, or several that could be meant. `family`: what the configuration beside the file calls it, if that is no
/// CLIP; it only goes into that message.
[[nodiscard]] NetworkWeights find_network(TensorFile file, const std::string& name,
                                          const std::string& family = {});

/// What a config.json beside a checkpoint calls its model ("SigLIP"), if that is neither a CLIP nor nothing.
[[nodiscard]] std::string family_beside(const std::filesystem::path& checkpoint);

}  // namespace clipcap
