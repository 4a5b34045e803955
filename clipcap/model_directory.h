// A trained model on the disk: config.json, vocab.json, model.safetensors; and last/checkpoint.safetensors,
// which holds everything that resuming needs in one file, so that it can be replaced in one rename.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

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

/// A model with fresh parameters of train.seed on top of the configuration's image encoder, or, with
/// `ready_features` (their size), of no encoder at all: one that stays apart has nothing to do then.
[[nodiscard]] std::unique_ptr<CaptionModel> make_model(const Config& config, const Vocabularies& vocabularies,
                                                       int64_t ready_features = 0);

/// "caption_table[3, 7] is not a finite number", of the first such; empty when all are.
[[nodiscard]] std::string nonfinite_place(const nn::StateDict& state);

/// SHA-256 of both vocabularies: model.safetensors holds it, so that another vocab.json beside it is noticed.
[[nodiscard]] std::string vocabulary_hash(const Vocabularies& vocabularies);

/// Writes vocab.json, config.json and model.safetensors in this order, each complete or not at all: killed at
/// any moment of a run, a directory that has a model.safetensors opens. An encoder that stays as
/// encoder.weights has it is not written again: config.json remembers the file and its SHA-256. `notes` go
/// into the metadata of model.safetensors. Error, and nothing written, when a weight is not finite.
void save_model(const std::filesystem::path& directory, CaptionModel& model, const Vocabularies& vocabularies,
                const std::map<std::string, std::string>& notes = {});

struct LoadOptions {
  bool pack = true;  // for inference: weights packed, originals dropped
  /// Where the encoder's file is now, if not where config.json says; or what made the features that the
  /// model learnt from, where config.json calls them of unknown origin.
  std::string encoder_weights{};
};
/// Throws InputError naming the file and what is wrong with it; among that, an encoder file that is missing
/// or is not the one that the model was trained on, a vocabulary that is not the model's, and a weight that is
/// not finite.
[[nodiscard]] LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options = {});

/// Where a training run stands, and what it learns from.
struct TrainingState {
  int64_t step = 0;
  uint64_t dropout_position = 0;
  int threads = 0;                            // that computed it; 0: unknown
  std::map<std::string, std::string> data{};  // hashes (training/data_digest.h); empty: unknown
};

/// Everything that resuming needs, in one file, complete or not at all. Error, and nothing written, when a
/// weight or a moment is not finite.
void save_checkpoint(const std::filesystem::path& directory, CaptionModel& model,
                     const Vocabularies& vocabularies, const nn::AdamW& optimizer,
                     const TrainingState& state);
[[nodiscard]] std::filesystem::path checkpoint_path(const std::filesystem::path& directory);

/// What a checkpoint says of its run, without weights and moments.
struct SavedRun {
  Config config;
  Vocabularies vocabularies;
  TrainingState state;
};
/// Throws InputError naming the file and what is wrong with it.
[[nodiscard]] SavedRun read_saved_run(const std::filesystem::path& directory);
/// Weights and moments into a model and optimizer of the saved run's configuration and vocabularies.
/// InputError for what is missing, surplus, misshapen or not finite.
void load_checkpoint(const std::filesystem::path& directory, CaptionModel& model, nn::AdamW& optimizer);

}  // namespace clipcap
