// CLIP's tokenizer: byte pairs over lower-case text. Text -> words (word_splitter.h) -> UTF-8 bytes as
// symbols, the last one of a word marked </w> -> the pair of neighbours with the lowest rank merged, again
// and again. Reference: openai/CLIP clip/simple_tokenizer.py and clip.tokenize; checked against it line by
// line (tools/fixtures/make_tokenizer_golden.py).
//
//   const ClipTokenizer tokenizer = ClipTokenizer::load("bpe_simple_vocab_16e6.txt.gz");
//   tokenizer.encode("a diagram");   // 320 22697
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace clipcap {

inline constexpr int64_t kClipContext = 77;

/// A tokenizer's contents as its files state them (tokenizer_files.h).
struct ClipVocabulary {
  std::vector<std::string> tokens;  // by id, in CLIP's alphabet; the end of a word is "</w>"
  struct Merge {
    std::string left;
    std::string right;
  };
  std::vector<Merge> merges;  // by rank, the first is applied first
  /// A token that somebody added: found in texts as it is written, before anything is split (Hugging Face's
  /// AddedToken). Start and end are not among them.
  struct Added {
    int32_t id = 0;
    bool normalized = false;   // found in the cleaned text, not in the text as it came
    bool strip_left = false;   // takes white space before it along
    bool strip_right = false;  // and behind it
    bool single_word = false;  // no letter, digit or underscore on either side
  };
  std::vector<Added> added;
  int64_t base_size = 0;  // tokens without those that were only added; 0: all of them
  int32_t start = -1;     // id of <|startoftext|>
  int32_t end = -1;       // id of <|endoftext|>
};

/// Rows for the text tower.
struct TokenRows {
  int64_t rows = 0;
  int64_t context = kClipContext;
  std::vector<int32_t> ids;            // [rows, context]: start, the text's ids, end, padding
  std::vector<int32_t> end_positions;  // [rows]: column of the first end token, where the tower pools
  std::vector<int64_t> lengths;        // [rows]: ids of the whole text with start and end, before cutting
};

struct RowOptions {
  int64_t context = kClipContext;
  /// A text too long for the row is cut, its last id becomes the end token; otherwise it is an InputError.
  bool truncate = true;
  /// OpenAI's and open_clip's rows are padded with 0, Hugging Face's with the end token.
  bool pad_with_end = false;
};

class ClipTokenizer {
 public:
  /// A file or folder of one of the layouts of tokenizer_files.h. InputError names the file and the place.
  [[nodiscard]] static ClipTokenizer load(const std::filesystem::path& file_or_folder);
  /// `where` begins error messages.
  ClipTokenizer(ClipVocabulary vocabulary, const std::string& where);
  ~ClipTokenizer();
  ClipTokenizer(ClipTokenizer&&) noexcept;
  ClipTokenizer& operator=(ClipTokenizer&&) noexcept;

  /// Whether texts are repaired first as the reference's ftfy does (text_repair.h). On unless switched off;
  /// captions in plain ASCII are the same either way.
  void set_repair(bool repair) { repair_ = repair; }

  /// Ids of a UTF-8 text, without start and end. InputError when the vocabulary lacks a symbol of the text.
  /// May be called from several threads.
  [[nodiscard]] std::vector<int32_t> encode(std::string_view text) const;
  [[nodiscard]] TokenRows encode_rows(std::span<const std::string> texts,
                                      const RowOptions& options = {}) const;
  /// The reference's decode: every token's bytes, "</w>" a space. InputError for an id that is none.
  [[nodiscard]] std::string decode(std::span<const int32_t> ids) const;
  /// Of a row: the text between the start and the first end token, without the space at its end.
  [[nodiscard]] std::string row_text(std::span<const int32_t> row) const;

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(vocabulary_.tokens.size()); }
  /// Without tokens that were added behind all others, which a text tower need not have.
  [[nodiscard]] int64_t base_size() const {
    return vocabulary_.base_size > 0 ? vocabulary_.base_size : size();
  }
  [[nodiscard]] int32_t start() const { return vocabulary_.start; }
  [[nodiscard]] int32_t end() const { return vocabulary_.end; }
  /// The token as the vocabulary's file spells it.
  [[nodiscard]] const std::string& token(int32_t id) const;

 private:
  struct MergeRule {
    int32_t rank;
    int32_t merged;
  };
  class WordCache;

  [[nodiscard]] const MergeRule* rule(int32_t left, int32_t right) const;
  [[nodiscard]] std::vector<int32_t> encode_word(std::string_view bytes) const;
  void encode_plain(std::u32string_view clean, std::vector<int32_t>& ids) const;
  [[nodiscard]] std::vector<int32_t> merge_symbols(const std::vector<int32_t>& symbols) const;

  ClipVocabulary vocabulary_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<uint64_t, MergeRule> rules_;  // by left id << 32 | right id
  int32_t symbols_[2][256] = {};                   // ids of the bytes, [1]: at the end of a word; -1: missing
  std::vector<std::u32string> specials_;           // start and end as they are written in texts
  struct Added {
    std::u32string text;
    ClipVocabulary::Added token;
  };
  std::vector<Added> added_[2];  // those found in the text as it came, and in the cleaned one; longest first
  bool repair_ = true;
  std::unique_ptr<WordCache> cache_;
};

}  // namespace clipcap
