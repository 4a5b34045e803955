// What runs learn from: captions, vocabularies, frame features and the teacher's text features. Each is
// loaded once; every run whose configuration agrees on the data (an ablation's grid) shares one TrainingSet.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/data/feature_file.h"
#include "clipcap/training/captioned_clips.h"
#include "clipcap/training/teacher.h"

namespace clipcap {

/// Word vocabularies, one for captions and one shared by the commonsense aspects: V2C's dictionary files
/// where the configuration names them, otherwise built from the training split.
[[nodiscard]] Vocabularies make_vocabularies(const Dataset& dataset, const Config& config);

class TrainingSet {
 public:
  /// Called while clips or captions are encoded: what ("clips", "captions"), how many are done, of how many.
  using Progress = std::function<void(const char* what, size_t done, size_t all)>;

  /// Reads the annotations of `data` and makes the vocabularies: seconds. `config` has adopted its feature
  /// and encoder files (adopt_feature_files, adopt_encoder_file); `ready` are the features of data.features.
  /// InputError names file and place; among that, a split without captioned clips. `own`: the vocabularies of
  /// a run that goes on, instead of new ones; words that they lack are unknown words.
  TrainingSet(const Config& config, const std::filesystem::path& data, ClipFeatures ready = {},
              const Vocabularies* own = nullptr);

  /// Loads what a run of `config` needs and what is not there yet: frame features of both splits, from
  /// data.features or through `extractor` (none when the encoder is trained), and the teacher's features
  /// when loss.distill > 0. Hours when everything has to be encoded, seconds when the cache has it. `config`
  /// must serve (below).
  void load(const Config& config, const FeatureExtractor& extractor, bool cache, const Progress& progress);

  /// Whether a run of `config` learns from exactly these texts, vocabularies and features. Model, losses,
  /// optimizer and, with an encoder from a file, the seed may differ.
  [[nodiscard]] bool serves(const Config& config) const;

  [[nodiscard]] const Vocabularies& vocabularies() const { return vocabularies_; }
  [[nodiscard]] const CaptionedClips& training() const { return training_; }
  /// Of data.eval_split; empty when there is no such split.
  [[nodiscard]] const CaptionedClips& evaluation() const { return same_split_ ? training_ : evaluation_; }
  /// Whether frame features of the training split are loaded: never when the encoder is trained.
  [[nodiscard]] bool has_training_features() const { return !training_features_.empty(); }
  /// Features [n_b,d_v] of a clip; undefined when the encoder is trained.
  [[nodiscard]] const Tensor& training_features(size_t clip) const { return training_features_.at(clip); }
  [[nodiscard]] const Tensor& evaluation_features(size_t clip) const {
    return same_split_ ? training_features_.at(clip) : evaluation_features_.at(clip);
  }
  /// Undefined until a run with distillation has loaded it.
  [[nodiscard]] const TeacherFeatures& teacher() const { return teacher_; }

 private:
  void load_features(const CaptionedClips& clips, const FeatureExtractor& extractor,
                     std::vector<Tensor>& features, const Progress& progress) const;
  std::string identity_;  // of everything below
  std::string features_name_;
  ClipFeatures ready_;
  bool same_split_ = false;
  Vocabularies vocabularies_;
  CaptionedClips training_;
  CaptionedClips evaluation_;
  std::vector<Tensor> training_features_;
  std::vector<Tensor> evaluation_features_;
  TeacherFeatures teacher_;
};

}  // namespace clipcap
