// Captioned clips as the annotation files have them, held compactly: a data set has hundreds of thousands of
// captions and millions of annotations, so each word is kept once and every text is a row of word numbers.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

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

/// Words, each once, numbered as they came.
class WordList {
 public:
  uint32_t add(std::string_view word);
  [[nodiscard]] const std::string& word(uint32_t number) const { return words_[number]; }
  [[nodiscard]] size_t size() const { return words_.size(); }

 private:
  std::deque<std::string> words_;
  std::unordered_map<std::string_view, uint32_t> numbers_;  // views of words_
};

inline constexpr size_t kAnnotationKinds = 3;
inline constexpr std::array<const char*, kAnnotationKinds> kAnnotationNames{"intention", "effect",
                                                                            "attribute"};

/// A caption written out.
struct Caption {
  std::string text;                 // as written
  std::vector<std::string> tokens;  // words without <sos> and <eos>
  /// By kind: its annotations, each a list of words.
  std::array<std::vector<std::vector<std::string>>, kAnnotationKinds> annotations;
};

/// What a file of V2C's captions gave.
struct V2cCoverage {
  std::string file;
  size_t clips = 0;     // that the data set has
  size_t matched = 0;   // captions that it has too
  size_t added = 0;     // captions that it has not
  size_t unknown = 0;   // clips that it has not
  std::string example;  // the id of one of these
  size_t renamed = 0;   // clips found under another spelling of their id
  std::string renamed_example;
  size_t empty = 0;  // annotations without words, left out
};

struct Dataset {
  static constexpr uint32_t kNowhere = ~0U;
  struct Clip {
    std::string video_id;
    std::string file;             // name in `folders[folder]`
    uint32_t folder = kNowhere;   // no file was found
    uint32_t split = 0;           // in `splits`
    uint32_t empty_captions = 0;  // left out: without words
    size_t first_caption = 0;     // in `captions`
    size_t captions = 0;
  };
  /// Where a caption's parts lie.
  struct Rows {
    uint32_t text = 0;  // row of `texts` and of `tokens`
    std::array<uint32_t, kAnnotationKinds> first{};
    std::array<uint32_t, kAnnotationKinds> count{};
  };

  std::vector<Clip> clips;          // in the order of the annotation files
  std::vector<Rows> captions;       // clip after clip
  std::vector<std::string> splits;  // their names; the first is empty: of no split
  std::vector<std::filesystem::path> folders;
  WordList words;
  Ragged<char> texts;
  Ragged<uint32_t> tokens;
  std::array<Ragged<uint32_t>, kAnnotationKinds> annotations;
  std::string split_source;              // the file or files that the splits are from
  std::vector<V2cCoverage> commonsense;  // a file each
  std::vector<std::string> notes;        // what else a person should know, a line each

  [[nodiscard]] const std::string& split(const Clip& clip) const { return splits[clip.split]; }
  /// Video, frame folder or .npy; empty when none was found.
  [[nodiscard]] std::filesystem::path file(const Clip& clip) const {
    return clip.folder == kNowhere ? std::filesystem::path() : folders[clip.folder] / clip.file;
  }
  [[nodiscard]] std::string_view text(const Rows& caption) const {
    const auto text = texts[caption.text];
    return {text.data(), text.size()};
  }
  [[nodiscard]] std::span<const Rows> captions_of(const Clip& clip) const {
    return std::span(captions).subspan(clip.first_caption, clip.captions);
  }
  [[nodiscard]] Caption written_out(const Rows& caption) const;
  /// The clips of a split, and of those the ones with captions.
  [[nodiscard]] size_t clips_in(std::string_view split) const;
};

/// "val", "Validation", "dev" … are "validate", "training" is "train", "testing" is "test"; other names stay.
[[nodiscard]] std::string split_name(const std::string& written);

/// What ids that mean the same clip have in common: "videos/Video5.MP4" is "video5", and "5" is "video5".
[[nodiscard]] std::string plain_id(std::string_view id);

}  // namespace clipcap
