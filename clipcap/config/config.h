// The whole configuration: every key with its default and one line of explanation, in one table (config.cpp).
// Files are JSON with // comments; an unknown key is an error that names the nearest known one.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "clipcap/config/geometry.h"

namespace clipcap {

struct ModelConfig {
  std::string encoder = "vit-b-16";  // vit-b-16, vit-b-32, vit-l-14, resnet152, or "custom" with `geometry`
  VitGeometry geometry;
  TextGeometry text;
  int64_t frames = 40;
  int64_t dim = 512;
  std::string fusion_kind = "lstm";
  int64_t fusion_scales = 3;
  bool fusion_bidirectional = false;
  int64_t fusion_heads = 8;  // of the Transformer; older models have 8 whatever `heads` is
  std::string vis2text_activation = "relu";
  std::vector<std::string> subdecoders{"intention", "effect", "attribute"};
  int64_t decoder_layers = 6;
  int64_t subdecoder_layers = 2;
  int64_t heads = 8;
  int64_t hidden = 1024;
  double dropout = 0.1;
  int64_t caption_length = 28;
  int64_t intention_length = 21;
  int64_t effect_length = 26;
  int64_t attribute_length = 8;
};

struct LossConfig {
  double distill = 10.0;                          // lambda
  std::vector<double> alpha{1.0, 1.0, 1.0, 1.0};  // caption, intention, effect, attribute
  double label_smoothing = 0.1;
  std::string distill_target = "pooled";  // or "tokens"
};

struct TrainConfig {
  int64_t steps = 20000;
  int64_t batch = 64;
  double lr = 3e-4;
  int64_t warmup = 500;
  double lr_floor = 0.02;
  double weight_decay = 0.01;
  double clip_norm = 1.0;
  int64_t checkpoint_every = 500;
  int64_t eval_every = 1000;
  int64_t log_every = 20;
  int64_t seed = 1;
  int64_t min_count = 1;
  int64_t accumulate = 1;  // micro-batches that a batch is computed in
  bool train_encoder = false;
  double encoder_lr_scale = 0.1;
};

struct DataConfig {
  std::string sampling = "middles";  // or "linspace"
  std::string split = "train";
  std::string eval_split;              // empty: validate, where the data has it
  std::string splits = "auto";         // where the splits are from (data/splits.h)
  bool v2c_splits = false;             // the same as splits = "v2c"
  std::string caption_vocabulary;      // V2C info file; empty = built from the training captions
  std::string commonsense_vocabulary;  // the same for the sub-decoders
  std::string features;                // file of `clipcap features`, several separated by commas
};

struct EncoderConfig {
  std::string weights;       // file; empty = random, frozen
  std::string text_weights;  // CLIP file with the distillation's teacher; empty = the same
  std::string tokenizer;     // the teacher's; needed with weights and distillation
  std::string activation = "auto";
  /// Of the image and the text tower, as found when training began (tower_settings.h); empty: not yet.
  std::string settings;
  std::string text_settings;
  std::string sha256;  // of `weights`: recorded when training begins, checked from then on
  /// "unknown": the run learnt from features of which nobody says what made them. Recorded by training; the
  /// model then has no encoder until one is named.
  std::string origin;
};

struct Config {
  ModelConfig model;
  EncoderConfig encoder;
  LossConfig loss;
  TrainConfig train;
  DataConfig data;
};

/// A configuration compiled into the program.
struct Preset {
  const char* name;
  const char* text;
};
[[nodiscard]] std::span<const Preset> presets();

/// `source`: a file, or a preset's name; then `assignments` such as "train.lr=1e-3", whose values are JSON or
/// bare words. Values are checked against each other when all are in place. InputError names the file and the
/// key; among that, keys that would have no effect (config_effect.h).
[[nodiscard]] Config load_config(const std::string& source, std::span<const std::string> assignments = {});
/// Text of a configuration file; `name` appears in errors.
[[nodiscard]] Config parse_config(const std::string& text, const std::string& name);
/// One assignment on top of a finished configuration, which is finished again.
void set_config_key(Config& config, const std::string& assignment);
/// Geometry of vit-b-16, vit-b-32, vit-l-14.
[[nodiscard]] VitGeometry named_geometry(const std::string& encoder);
/// What follows from other keys: the named encoder's geometry, the text feature's size.
void fill_config(Config& config);
/// Checks values against each other and fills what follows from them (the named encoder's geometry).
void finish_config(Config& config, const std::string& name);

[[nodiscard]] nlohmann::json config_to_json(const Config& config);
/// Every key with its value and a comment, as a file that load_config reads.
[[nodiscard]] std::string print_config(const Config& config);

}  // namespace clipcap
