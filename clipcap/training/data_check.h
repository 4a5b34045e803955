// Whether a data set can teach what a configuration asks for, judged before step 1, and what a person should
// know of it.
#pragma once

#include "clipcap/data/feature_file.h"
#include "clipcap/training/captioned_clips.h"

namespace clipcap {

/// Clips without a file. The message names the first of them; here are all.
class MissingClips : public InputError {
 public:
  MissingClips(const std::string& message, std::vector<std::string> ids)
      : InputError(message), ids_(std::move(ids)) {}
  [[nodiscard]] const std::vector<std::string>& ids() const { return ids_; }

 private:
  std::vector<std::string> ids_;
};

/// InputError when no loss is on, or when a decoder would write texts that nothing trained.
void check_losses(const Config& config);

/// Sets data.split and data.eval_split to the names that the data set has for them ("val" is "validate"; no
/// name is "validate", or "" where there is none). InputError lists the splits there are, and says why one
/// has no captions.
void settle_splits(Config& config, const Dataset& dataset, const std::string& data);

/// Takes out of model.subdecoders what the training split has no annotations for; returns a line that says so,
/// or "". InputError when a V2C file is there and none of its clips is in the data.
[[nodiscard]] std::string settle_subdecoders(Config& config, const Dataset& dataset);

/// Whether every captioned clip of both splits has its features or its file; MissingClips otherwise. Clips
/// that `features --keep-going` left out leave their split, in a line. Sets encoder.origin where the features
/// are .npy files and nothing says what made them; InputError where they cannot go together with what the
/// other clips need. Returns lines for a person.
[[nodiscard]] std::vector<std::string> settle_features(Config& config, Dataset& dataset,
                                                       const ClipFeatures& ready, const std::string& data,
                                                       const std::string& places);

/// InputError when a vocabulary holds none of the words that it is for.
void check_vocabularies(const Config& config, const Vocabularies& vocabularies,
                        const CaptionedClips& training);

/// One line on a split: clips, captions, those with commonsense, those left out, unknown words.
[[nodiscard]] std::string split_line(const std::string& name, const Dataset& dataset,
                                     const CaptionedClips& clips);
/// Where the splits are from, what V2C's files gave, and whatever else was found while reading.
[[nodiscard]] std::vector<std::string> data_lines(const Dataset& dataset);

}  // namespace clipcap
