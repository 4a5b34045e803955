// The configuration beside a CLIP's weights: Hugging Face's config.json (whole, with the older "*_config_dict", or flat
// for one tower) and preprocessor_config.json, open_clip's open_clip_config.json. A key that changes the computation is
// taken into the settings or stands in the tower's refusal; it is never passed over.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "clipcap/encoders/clip_checkpoint.h"

namespace clipcap {

/// What the files say of one tower.
template <class Settings>
struct TowerConfig {
  std::string file;  // that spoke; empty: none did
  std::optional<Activation> activation;
  int64_t heads = 0;    // 0: not said
  Settings settings;    // all but the activation
  std::string refusal;  // why the tower is not read, naming file and key; empty: it is
};

struct ClipConfig {
  TowerConfig<VisionSettings> vision;
  TowerConfig<TextSettings> text;
  bool open_clip = false;       // the file was open_clip's
  bool has_projection = false;  // it names a class whose towers end in projections
  std::string passed_over;  // a configuration beside the weights that belongs to another model; for people
};

/// Reads what lies beside `weights` (a file). The geometries, from the tensors' shapes, tell a configuration that
/// belongs to another model. Throws InputError for what is no JSON, and for the configuration of a model that is
/// not a CLIP (SigLIP, BLIP, …), by its name.
[[nodiscard]] ClipConfig read_clip_config(const std::filesystem::path& weights, ClipLayout layout,
                                          const std::optional<VitGeometry>& vision,
                                          const std::optional<TextGeometry>& text);

}  // namespace clipcap
