// The clips of one split with their captions as token ids. A data set has a hundred thousand captions and a
// million annotations, so they lie one after the other in a few long blocks instead of in a vector each.
#pragma once

#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clipcap/data/annotations.h"
#include "clipcap/model_directory.h"

namespace clipcap {

/// Rows of different lengths in one block.
template <class T>
class Ragged {
 public:
  void add(std::span<const T> row) {
    values_.insert(values_.end(), row.begin(), row.end());
    ends_.push_back(values_.size());
  }
  [[nodiscard]] size_t size() const { return ends_.size(); }
  [[nodiscard]] std::span<const T> operator[](size_t row) const {
    const size_t begin = row == 0 ? 0 : ends_[row - 1];
    return {values_.data() + begin, ends_[row] - begin};
  }

 private:
  std::vector<T> values_;
  std::vector<size_t> ends_;
};

/// Captions are numbered through the split: those of clip c are [first_caption, first_caption + captions).
class CaptionedClips {
 public:
  struct Clip {
    std::string video_id;
    std::filesystem::path file;  // empty when none was found
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
};

}  // namespace clipcap
