// The file that an image encoder (and the text encoder beside it) comes from: which kind it is, what it
// holds, and whether it is still the one that a model was trained on.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "clipcap/config/config.h"
#include "clipcap/encoders/towers.h"

namespace clipcap {

/// What encoder.weights holds, ready to run.
struct Encoders {
  std::unique_ptr<ImageEncoder> image;  // null where the file has none, or it was not asked for
  std::unique_ptr<TextTower> text;
  double logit_scale = 1;   // factor of the cosine similarities
  double logit_bias = 0;    // added to them then
  std::string description;  // one line for people: names, geometry, activation and where it comes from
};

struct EncoderLoadOptions {
  std::string activation = "auto";  // or quick_gelu, gelu, gelu_tanh, relu
  bool image = true;
  bool text = true;
  bool pack = true;  // for inference only
  std::string
      image_record{};  // settings recorded earlier (tower_settings.h); empty: what the file's folder says
  std::string text_record{};
};

/// A CLIP of any layout (clip_checkpoint.h) or torchvision's ResNet (resnet.h). InputError names the file.
[[nodiscard]] Encoders load_encoders(const std::filesystem::path& path,
                                     const EncoderLoadOptions& options = {});

/// Fills the configuration's geometry from encoder.weights and encoder.text_weights, and encoder.sha256,
/// encoder.settings and encoder.text_settings where they are empty. Returns a line for people. InputError when the
/// weights are missing or, by their SHA-256, another file than encoder.sha256 says; `name` (the configuration's)
/// begins the message. Nothing happens without weights.
std::string adopt_encoder_file(Config& config, const std::string& name);

/// SHA-256 of a checkpoint: of the file, or of the hashes of all its files (checkpoint_files.h).
[[nodiscard]] std::string checkpoint_sha256(const std::filesystem::path& path);

/// Where encoder.weights has no file any more: looks for the file that the model was trained on, told by its SHA-256,
/// in and beside the model's directory, and sets encoder.weights to it. The captioner's own files are never taken for
/// it.
void find_moved_encoder(Config& config, const std::filesystem::path& model_directory);

/// InputError when a model in `model_directory` would be written over the encoder's files (its weights, the text
/// tower's, the tokenizer), or over a configuration that lies beside them.
void check_encoder_is_safe(const Config& config, const std::filesystem::path& model_directory);

/// Whether a model's own file leaves the image encoder out: encoder.weights holds it, or nobody knows it
/// (encoder.origin).
[[nodiscard]] bool encoder_is_apart(const Config& config);

/// The image encoder of a configuration: from encoder.weights (packed for inference with `pack`), only the
/// size of its features where encoder.origin is "unknown", or else random from `generator`.
[[nodiscard]] std::unique_ptr<ImageEncoder> make_image_encoder(const Config& config, Generator& generator,
                                                               bool pack);
/// The size of the configuration's features, for what needs no more.
[[nodiscard]] std::unique_ptr<ImageEncoder> make_features_only(const Config& config);
/// One that only has shapes until it is loaded.
[[nodiscard]] std::unique_ptr<ImageEncoder> make_empty_image_encoder(const Config& config);

/// Identifies an image encoder in feature caches: weights, geometry, activation and everything else that changes its
/// features but the way pictures are read (media/decoder_versions.h).
[[nodiscard]] std::string encoder_name(const Config& config);

}  // namespace clipcap
