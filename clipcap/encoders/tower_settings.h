// What a CLIP's towers compute beyond what the shapes of their tensors say. All of it changes features: it comes from
// the configuration beside the weights (clip_settings.h), is recorded with a model, and belongs to cache keys.
#pragma once

#include <string>

#include "clipcap/config/geometry.h"
#include "clipcap/encoders/preprocess.h"
#include "tensor/kernels/activation.h"

namespace clipcap {

struct VisionSettings {
  enum class Pool { class_token, average };  // average: over the patches, without the class token
  Activation activation = Activation::quick_gelu;
  double eps = 1e-5;  // of every LayerNorm
  Pool pool = Pool::class_token;
  bool norm_before = true;   // a LayerNorm of the embedded patches
  bool norm_pooled = false;  // the last LayerNorm comes after `average`, not before
  bool projection = true;    // false: the feature is the pooled output, embed = width
  int64_t resize = 0;        // pixels of the short side before the crop; 0: the resolution
  Preprocessing preprocess{clip_preprocessing(224)};  // its filter, mean and deviation

  VisionSettings() = default;
  VisionSettings(Activation given)
      : activation(given) {}  // NOLINT(google-explicit-constructor): the one that varies

  /// What makes frames of pictures at a resolution.
  [[nodiscard]] Preprocessing preprocessing(int64_t resolution) const;
};

struct TextSettings {
  enum class Pool { end, first, last };  // the end token, the first position, the last of a whole row
  Activation activation = Activation::quick_gelu;
  double eps = 1e-5;
  bool causal = true;
  Pool pool = Pool::end;
  bool projection = true;
  bool projection_bias = false;
  int64_t end_token = -1;  // the id at which `end` pools; -1: the tokenizer's

  TextSettings() = default;
  TextSettings(Activation given) : activation(given) {}  // NOLINT(google-explicit-constructor)
};

/// "quick_gelu", "gelu", "gelu_tanh", "relu".
[[nodiscard]] const char* name_of(Activation activation);
/// InputError that begins with `where` for any other name.
[[nodiscard]] Activation parse_activation(const std::string& name, const std::string& where);

/// One line of JSON with the heads, the activation and all that is not as in OpenAI's CLIP; equal texts mean equal
/// computations. Reading one back gives the same settings and heads; InputError that begins with `where`.
[[nodiscard]] std::string record_settings(const VisionSettings& settings, int64_t heads);
[[nodiscard]] std::string record_settings(const TextSettings& settings, int64_t heads);
void recall_settings(const std::string& record, const std::string& where, VisionSettings& settings,
                     int64_t& heads);
void recall_settings(const std::string& record, const std::string& where, TextSettings& settings,
                     int64_t& heads);

/// The unusual settings for people, each behind ", "; empty for OpenAI's.
[[nodiscard]] std::string describe_settings(const VisionSettings& settings);
[[nodiscard]] std::string describe_settings(const TextSettings& settings);

}  // namespace clipcap
