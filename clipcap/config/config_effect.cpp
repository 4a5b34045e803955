#include "clipcap/config/config_effect.h"

#include <algorithm>

#include "tensor/check.h"

namespace clipcap {

std::string why_without_effect(const Config& config, std::string_view key) {
  const ModelConfig& m = config.model;
  const EncoderConfig& e = config.encoder;
  const auto has_aspect = [&](const char* name) {
    return std::find(m.subdecoders.begin(), m.subdecoders.end(), name) != m.subdecoders.end();
  };
  const std::string no_distillation = "loss.distill is 0, so nothing is distilled";
  const std::string no_subdecoder = "model.subdecoders is empty";
  if (key.starts_with("model.encoder.")) {
    if (!e.weights.empty()) return "the file of encoder.weights has its own geometry";
    if (m.encoder != "custom") return "model.encoder is " + m.encoder + ", whose geometry is fixed";
  }
  if (key == "model.text.embed" && m.encoder != "resnet152")
    return "a ViT's text feature is as wide as its own embed";
  if (key.starts_with("model.text.")) {
    if (config.loss.distill == 0 && key != "model.text.embed") return no_distillation;
    if (!e.text_weights.empty()) return "the file of encoder.text_weights has its own geometry";
    if (!e.weights.empty() && key != "model.text.embed")
      return "the text tower is that of encoder.weights' file";
  }
  if (key == "model.fusion.bidirectional" && m.fusion_kind != "lstm")
    return "model.fusion.kind is " + m.fusion_kind + ", not lstm";
  if (key == "model.fusion.heads" && m.fusion_kind != "transformer")
    return "model.fusion.kind is " + m.fusion_kind + ", not transformer";
  if ((key == "model.subdecoder.layers" || key == "data.commonsense_vocabulary") && m.subdecoders.empty())
    return no_subdecoder;
  for (const char* name : {"intention", "effect", "attribute"}) {
    if (key == concat_text("model.length.", name) && !has_aspect(name))
      return concat_text(name, " is not among model.subdecoders");
  }
  if (key == "encoder.text_weights" || key == "encoder.tokenizer" || key == "loss.distill_target") {
    if (config.loss.distill == 0) return no_distillation;
    if (key == "encoder.tokenizer" && e.weights.empty() && e.text_weights.empty())
      return "without encoder.weights or encoder.text_weights the text tower reads the captions' own words";
  }
  if (key == "encoder.sha256" && e.weights.empty()) return "encoder.weights is empty";
  if (key == "train.encoder_lr_scale" && !config.train.train_encoder) return "train.train_encoder is false";
  if (key == "data.splits" && config.data.v2c_splits) return "data.v2c_splits is true";
  if (key == "train.min_count" && !config.data.caption_vocabulary.empty() &&
      (m.subdecoders.empty() || !config.data.commonsense_vocabulary.empty()))
    return "all words come from vocabulary files";
  return {};
}

}  // namespace clipcap
