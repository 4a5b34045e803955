// The clips of one split with their captions as token ids. A data set has a hundred thousand captions and a
// million annotations, so they lie one after the other in a few long blocks instead of in a vector each.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clipcap/data/dataset.h"
#include "clipcap/model_directory.h"

namespace clipcap {

/// How many words of a split's texts a vocabulary knows.
struct WordCoverage {
  size_t words = 0;
  size_t unknown = 0;
  /// Unknown ones in percent; 0 without words.
  [[nodiscard]] double percent() const {
    return words > 0 ? 100.0 * static_cast<double>(unknown) / static_cast<double>(words) : 0.0;
  }
};

/// Captions are numbered through the split: those of clip c are [first_caption, first_caption + captions).
class CaptionedClips {
 public:
  struct Clip {
    std::string video_id;
    std::string file;  // empty when none was found
    size_t first_caption = 0;
    size_t captions = 0;  // at least 1
  };

  CaptionedClips() = default;
  /// The clips of `split` that have captions, in the data set's order; texts cut to the lengths of `model`.
  CaptionedClips(const Dataset& dataset, const std::string& split, const Vocabularies& vocabularies,
                 const ModelConfig& model);

  [[nodiscard]] const std::vector<Clip>& clips() const { return clips_; }
  [[nodiscard]] size_t size() const { return clips_.size(); }
  [[nodiscard]] size_t captions() const { return ids_.size(); }

  /// sos, words, eos.
  [[nodiscard]] std::span<const int32_t> ids(size_t caption) const { return ids_[caption]; }
  /// As the annotators wrote it.
  [[nodiscard]] std::string_view text(size_t caption) const {
    return {texts_[caption].data(), texts_[caption].size()};
  }
  /// How many annotations of an aspect belong to a caption, and their ids.
  [[nodiscard]] size_t annotations(size_t caption, int aspect) const;
  [[nodiscard]] std::span<const int32_t> annotation(size_t caption, int aspect, size_t which) const;
  [[nodiscard]] size_t annotations(int aspect) const {
    return aspects_[static_cast<size_t>(aspect)].ids.size();
  }

  /// Of the captions, and of all annotations together.
  [[nodiscard]] const WordCoverage& caption_words() const { return caption_words_; }
  [[nodiscard]] const WordCoverage& commonsense_words() const { return commonsense_words_; }

 private:
  std::vector<Clip> clips_;
  Ragged<int32_t> ids_;
  Ragged<char> texts_;
  struct Aspect {
    Ragged<int32_t> ids;
    std::vector<size_t> ends;  // by caption: the end of its annotations in `ids`
    [[nodiscard]] size_t begin(size_t caption) const { return caption == 0 ? 0 : ends[caption - 1]; }
  };
  std::array<Aspect, kAspects> aspects_;
  WordCoverage caption_words_;
  WordCoverage commonsense_words_;
};

}  // namespace clipcap
