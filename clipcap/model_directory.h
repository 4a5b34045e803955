// A trained model on the disk: config.json, vocab.json, model.safetensors; and last/checkpoint.safetensors,
// which holds everything that resuming needs in one file, so that it can be replaced in one rename.
#pragma once

#include <filesystem>
#include <memory>

#include "clipcap/model.h"
#include "clipcap/text/vocabulary.h"
#include "nn/optim.h"

namespace clipcap {

struct Vocabularies {
  Vocabulary caption;
  Vocabulary commonsense;
};

struct LoadedModel {
  Config config;
  Vocabularies vocabularies;
  std::unique_ptr<CaptionModel> model;
};

/// A model with fresh parameters of train.seed on top of the configuration's image encoder.
[[nodiscard]] std::unique_ptr<CaptionModel> make_model(const Config& config,
                                                       const Vocabularies& vocabularies);

/// Writes config.json, vocab.json and model.safetensors, each complete or not at all. An encoder that stays
/// as encoder.weights has it is not written again: config.json remembers the file and its SHA-256.
void save_model(const std::filesystem::path& directory, CaptionModel& model,
                const Vocabularies& vocabularies);

struct LoadOptions {
  bool pack = true;               // for inference: weights packed, originals dropped
  std::string encoder_weights{};  // where the encoder's file is now, if not where config.json says
};
/// Throws InputError naming the file and what is wrong with it; among that, an encoder file that is missing
/// or is not the one that the model was trained on.
[[nodiscard]] LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options = {});

/// Where a training run stands.
struct TrainingState {
  int64_t step = 0;
  uint64_t dropout_position = 0;
};
void save_checkpoint(const std::filesystem::path& directory, CaptionModel& model, const nn::AdamW& optimizer,
                     const TrainingState& state);
/// Whether a checkpoint belongs to a configuration with the same encoder file; InputError otherwise.
void check_resumable(const std::filesystem::path& directory, const Config& config);
[[nodiscard]] TrainingState load_checkpoint(const std::filesystem::path& directory, CaptionModel& model,
                                            nn::AdamW& optimizer);
[[nodiscard]] std::filesystem::path checkpoint_path(const std::filesystem::path& directory);

}  // namespace clipcap
