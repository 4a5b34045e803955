// CLIP checkpoints as people have them: OpenAI's archives, Hugging Face's and open_clip's files. Geometry
// comes from the tensors' shapes, names are mapped to those of towers.h, and what the tensors cannot tell
// (the activation, the heads) comes from a config.json beside the file or from the family that the names
// belong to.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "clipcap/encoders/towers.h"
#include "tensor/io/tensor_file.h"

namespace clipcap {

/// Whose names the tensors have. open_clip's are OpenAI's, but for text towers of its newer class, which are
/// called "text.…".
enum class ClipLayout { openai, hugging_face, open_clip };
[[nodiscard]] const char* name_of(ClipLayout layout);
/// "openai", "hf", "open_clip"; InputError otherwise.
[[nodiscard]] ClipLayout parse_clip_layout(const std::string& text);

struct ClipReadOptions {
  /// Activation::none: found out (quick_gelu or gelu otherwise).
  Activation activation = Activation::none;
};

struct ClipCheckpoint {
  std::string file;
  std::string format;  // of the file: "PyTorch zip", …
  ClipLayout layout = ClipLayout::openai;
  Activation activation = Activation::quick_gelu;
  std::string activation_source;      // why this one
  std::string heads_source;           // the same for the number of heads
  std::optional<VitGeometry> vision;  // absent: the file has no image tower
  std::optional<TextGeometry> text;
  /// Under VisionTower's names and shapes, in the file's dtypes; views where possible.
  nn::StateDict vision_weights;
  nn::StateDict text_weights;         // under TextTower's
  std::optional<double> logit_scale;  // as stored: the logarithm
  std::shared_ptr<const MappedFile> mapped;

  /// One line for people: layout, geometry, activation and where it comes from.
  [[nodiscard]] std::string describe() const;
};

[[nodiscard]] bool is_clip(const std::map<std::string, Tensor>& tensors);

/// Throws InputError naming the file; tensors that are missing, surplus or misshapen are listed with
/// what was expected.
[[nodiscard]] ClipCheckpoint read_clip_checkpoint(const std::filesystem::path& path,
                                                  const ClipReadOptions& options = {});
[[nodiscard]] ClipCheckpoint read_clip_checkpoint(TensorFile file, const std::filesystem::path& path,
                                                  const ClipReadOptions& options = {});

/// The same tensors under another layout's names and shapes (query, key and value apart or in one,
/// projections transposed); `source` appears in errors.
[[nodiscard]] std::map<std::string, Tensor> rename_clip(const ClipCheckpoint& checkpoint, ClipLayout layout);

/// Both towers, ready to run.
struct Clip {
  std::unique_ptr<VisionTower> vision;  // null where the file has none
  std::unique_ptr<TextTower> text;
  double logit_scale = 1;  // factor of the cosine similarities
};

/// Which towers, and whether they are for inference only: weights packed, originals dropped.
struct ClipLoadOptions {
  bool vision = true;
  bool text = true;
  bool pack = true;
};
[[nodiscard]] Clip load_clip(const ClipCheckpoint& checkpoint, const ClipLoadOptions& options = {});

}  // namespace clipcap
