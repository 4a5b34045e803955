// What runs learn from: captions, vocabularies, frame features and the teacher's text features. Each is
// loaded once; every run whose configuration agrees on the data (an ablation's grid) shares one TrainingSet.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/data/feature_file.h"
#include "clipcap/data/spill_file.h"
#include "clipcap/training/captioned_clips.h"
#include "clipcap/training/teacher.h"

namespace clipcap {

/// Word vocabularies, one for captions and one shared by the commonsense aspects: V2C's dictionary files
/// where the configuration names them, otherwise built from the training split.
[[nodiscard]] Vocabularies make_vocabularies(const Dataset& dataset, const Config& config);

class TrainingSet {
 public:
  /// Called while clips or captions are encoded, or features read: what ("clips", "captions", "features"), how
  /// many are done, of how many.
  using Progress = std::function<void(const char* what, size_t done, size_t all)>;

  /// Reads the annotations of `data`, judges them and makes the vocabularies: seconds. `config` has adopted
  /// its feature and encoder files (adopt_feature_files, adopt_encoder_file); `ready` are the features of
  /// data.features. `own`: the vocabularies of a run that goes on, instead of new ones; words that they lack are
  /// unknown words. InputError names file and place; among that, whatever data_check.h refuses.
  TrainingSet(const Config& config, const std::filesystem::path& data, ClipFeatures ready = {},
              const Vocabularies* own = nullptr);

  /// The configuration as the data settled it: names of splits, sub-decoders that have annotations,
  /// encoder.origin. What is trained is this.
  [[nodiscard]] const Config& config() const { return config_; }
  /// What a person should know of the data before step 1, a line each; first how many clips, captions and
  /// unknown words each split has.
  [[nodiscard]] const std::vector<std::string>& report() const { return report_; }
  /// Whether all features are files of features, so that no encoder runs.
  [[nodiscard]] bool features_ready() const { return features_ready_; }
  /// Their size d_v where data.features has them all; 0 otherwise.
  [[nodiscard]] int64_t ready_features() const {
    return features_ready_ && !ready_.empty() ? ready_.files().front().feature_dim() : 0;
  }

  /// Looks at every number of the feature files and .npy files of both splits; InputError names file and row.
  void check_features(const FeatureExtractor& extractor, const Progress& progress);

  /// Loads what a run of `config` needs and what is not there yet: frame features of both splits, from
  /// data.features, .npy files or through `extractor` (none when the encoder is trained), and the teacher's
  /// features when loss.distill > 0. Hours when everything has to be encoded, seconds when the cache has it.
  /// `config` must serve (below).
  void load(const Config& config, const FeatureExtractor& extractor, bool cache, const Progress& progress);

  /// Whether a run of `config` learns from exactly these texts, vocabularies and features. Model, losses,
  /// optimizer and, with an encoder from a file, the seed may differ.
  [[nodiscard]] bool serves(const Config& config) const;

  [[nodiscard]] const Vocabularies& vocabularies() const { return vocabularies_; }
  [[nodiscard]] const CaptionedClips& training() const { return training_; }
  /// Of data.eval_split; empty when there is no such split.
  [[nodiscard]] const CaptionedClips& evaluation() const { return same_split_ ? training_ : evaluation_; }
  /// Whether frame features of the training split are loaded: never when the encoder is trained.
  [[nodiscard]] bool has_training_features() const {
    return checked_ && !training_places_.empty() && training_places_[0].kind != Place::Kind::unread;
  }
  /// Features [n_b,d_v] of a clip, from where they lie: mapped, or read again from its .npy. InputError when
  /// that has changed meanwhile; Error when the encoder is trained.
  [[nodiscard]] Tensor training_features(size_t clip) const { return features_of(training_places_, clip); }
  [[nodiscard]] Tensor evaluation_features(size_t clip) const {
    return features_of(same_split_ ? training_places_ : evaluation_places_, clip);
  }
  /// n_b, without reading them.
  [[nodiscard]] int64_t training_rows(size_t clip) const { return training_places_.at(clip).rows; }
  /// Undefined until a run with distillation has loaded it.
  [[nodiscard]] const TeacherFeatures& teacher() const { return teacher_; }

 private:
  /// Where a clip's features lie: nothing of them is held in memory.
  struct Place {
    enum class Kind : uint8_t { unread, feature_file, array, spill } kind = Kind::unread;
    uint32_t file = 0;  // of `ready_`
    int32_t rows = 0;
    int64_t first = 0;  // clip in the file, or row in the spill
  };
  [[nodiscard]] Tensor features_of(const std::vector<Place>& places, size_t clip) const;
  void find_ready(const CaptionedClips& clips, std::vector<Place>& places);
  void encode(const CaptionedClips& clips, const FeatureExtractor& extractor, std::vector<Place>& places,
              const Progress& progress);

  Config config_;
  std::string given_identity_;    // of the configuration as it came
  std::string settled_identity_;  // and as it is now
  ClipFeatures ready_;
  bool same_split_ = false;
  bool features_ready_ = false;
  bool checked_ = false;
  int64_t feature_dim_ = 0;
  FrameSampling sampling_;
  Vocabularies vocabularies_;
  CaptionedClips training_;
  CaptionedClips evaluation_;
  std::vector<Place> training_places_;
  std::vector<Place> evaluation_places_;
  std::unique_ptr<SpillFile> spill_;
  TeacherFeatures teacher_;
  std::vector<std::string> report_;
};

}  // namespace clipcap
