// CLIP checkpoints as people have them: OpenAI's archives, Hugging Face's and open_clip's files. Geometry
// comes from the tensors' shapes, names are mapped to those of towers.h, and what the tensors cannot tell
// (the activation, the heads, the pooling) comes from a configuration beside the file (clip_settings.h) or from
// the family that the names belong to.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "clipcap/encoders/clip_layout.h"
#include "clipcap/encoders/network_weights.h"
#include "clipcap/encoders/towers.h"
#include "tensor/io/tensor_file.h"

namespace clipcap {

[[nodiscard]] const char* name_of(ClipLayout layout);
/// "openai", "hf", "open_clip"; InputError otherwise.
[[nodiscard]] ClipLayout parse_clip_layout(const std::string& text);

struct ClipReadOptions {
  /// Of both towers; Activation::none: found out.
  Activation activation = Activation::none;
  /// Towers that must be there as far as the file has them: one whose configuration asks for something that is not
  /// computed here is an error then, and left out otherwise.
  bool vision = true;
  bool text = true;
  /// Settings as recorded earlier (tower_settings.h) in place of the configuration beside the file; empty: none.
  std::string vision_record{};
  std::string text_record{};
};

struct ClipCheckpoint {
  std::string file;
  std::string format;  // of the file: "PyTorch zip", …
  ClipLayout layout = ClipLayout::openai;
  Activation activation = Activation::quick_gelu;  // of the image tower, or of the text tower alone
  std::string activation_source;                   // why this one
  std::string heads_source;                        // the same for the number of heads
  std::string said;                                // of how the weights were found, each part behind "; "
  std::optional<VitGeometry> vision;               // absent: the file has no image tower
  std::optional<TextGeometry> text;
  VisionSettings vision_settings;
  TextSettings text_settings;
  /// Under VisionTower's names and shapes, in the file's dtypes; views where possible.
  nn::StateDict vision_weights;
  nn::StateDict text_weights;         // under TextTower's
  std::optional<double> logit_scale;  // as stored: the logarithm
  double logit_bias = 0;              // added to the scaled similarities
  std::shared_ptr<const MappedFile> mapped;
  std::vector<std::shared_ptr<const MappedFile>> more;  // further files

  /// One line for people: layout, geometry, activation and where it comes from.
  [[nodiscard]] std::string describe() const;
};

/// Throws InputError naming the file; tensors that are missing, surplus or misshapen are listed with
/// what was expected.
[[nodiscard]] ClipCheckpoint read_clip_checkpoint(const std::filesystem::path& path,
                                                  const ClipReadOptions& options = {});
[[nodiscard]] ClipCheckpoint read_clip_checkpoint(TensorFile file, const std::filesystem::path& path,
                                                  const ClipReadOptions& options = {});
[[nodiscard]] ClipCheckpoint read_clip_checkpoint(NetworkWeights network, const std::filesystem::path& path,
                                                  const ClipReadOptions& options = {});

/// The same tensors under another layout's names and shapes (query, key and value apart or in one,
/// projections transposed); `source` appears in errors.
[[nodiscard]] std::map<std::string, Tensor> rename_clip(const ClipCheckpoint& checkpoint, ClipLayout layout);

/// Both towers, ready to run.
struct Clip {
  std::unique_ptr<VisionTower> vision;  // null where the file has none
  std::unique_ptr<TextTower> text;
  double logit_scale = 1;  // factor of the cosine similarities
  double logit_bias = 0;
};

/// Which towers, and whether they are for inference only: weights packed, originals dropped.
struct ClipLoadOptions {
  bool vision = true;
  bool text = true;
  bool pack = true;
};
[[nodiscard]] Clip load_clip(const ClipCheckpoint& checkpoint, const ClipLoadOptions& options = {});

}  // namespace clipcap
