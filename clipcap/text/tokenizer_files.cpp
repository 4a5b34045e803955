#include "clipcap/text/tokenizer_files.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/text/tokenizer_json.h"
#include "clipcap/text/unicode.h"
#include "clipcap/text/word_splitter.h"
#include "tensor/check.h"
#include "tensor/io/foreign_file.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMostTextBytes = 16U << 20U;  // OpenAI's inflates to 3.2 MB
// The reference takes this many merges of the file, which holds five times as many.
constexpr size_t kMostOpenaiMerges = 49152 - 256 - 2;
constexpr const char* kHeading = "#version: 0.2";

// The whole text of a file, inflated if it is a .gz.
std::string read_gz(const fs::path& path) {
  std::error_code error;
  CHECK_INPUT(fs::is_regular_file(path, error), path.string(), ": not a file");
  const std::unique_ptr<gzFile_s, decltype(&gzclose_r)> file(gzopen(path.c_str(), "rb"), gzclose_r);
  CHECK_INPUT(file != nullptr, path.string(), ": cannot open");
  std::string text;
  std::array<char, 1U << 16U> part{};
  for (;;) {
    const int taken = gzread(file.get(), part.data(), part.size());
    int code = Z_OK;
    const char* reason = gzerror(file.get(), &code);
    CHECK_INPUT(taken >= 0 && code == Z_OK, path.string(), ": damaged .gz file (",
                code == Z_BUF_ERROR ? "it ends early" : reason, ") after ", text.size(), " bytes of text");
    if (taken == 0) return text;
    text.append(part.data(), static_cast<size_t>(taken));
    CHECK_INPUT(text.size() <= kMostTextBytes, path.string(), ": more than ", kMostTextBytes,
                " bytes of text");
  }
}

// The merges behind the heading, `most` at most; blank lines at the end do not count.
std::vector<ClipVocabulary::Merge> parse_merges(std::string_view text, const std::string& where,
                                                size_t most) {
  const std::string foreign = foreign_content(std::as_bytes(std::span(text)));
  CHECK_INPUT(text.empty() || foreign.empty() || foreign == "a text file", where, ": ", foreign,
              "; a list of merges was expected");
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  std::vector<ClipVocabulary::Merge> merges;
  for (size_t number = 1; !text.empty() && merges.size() < most; ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (number > 1) merges.push_back(parse_merge(line, concat_text(where, ": line ", number)));
  }
  return merges;
}

ClipVocabulary read_openai(const fs::path& path) {
  std::vector<ClipVocabulary::Merge> merges = parse_merges(read_gz(path), path.string(), kMostOpenaiMerges);
  CHECK_INPUT(!merges.empty(), path.string(),
              ": no merges: expected a heading, then \"left right\" on every line");
  return vocabulary_of_merges(std::move(merges));
}

ClipVocabulary read_pair(const fs::path& vocab, const fs::path& merges) {
  TokenizerJson file = read_tokenizer_json(vocab);
  if (file.has_merges) return std::move(file.vocabulary);
  std::error_code error;
  CHECK_INPUT(fs::exists(merges, error), vocab.string(), ": its merges are expected in ", merges.string(),
              ", which is not there");
  file.vocabulary.merges = parse_merges(read_text_file(merges, kMostTextBytes), merges.string(), kMostTokens);
  return std::move(file.vocabulary);
}

// The other file of a pair: "vocab" and "merges" change places in the name, .json and .txt at its end.
fs::path partner(const fs::path& path, const std::string& from, const std::string& to, const char* ending) {
  std::string name = path.stem().string();
  const size_t at = name.find(from);
  if (at == std::string::npos) return path.parent_path() / (to + ending);
  return path.parent_path() / (name.replace(at, from.size(), to) + ending);
}

}  // namespace

ClipVocabulary vocabulary_of_merges(std::vector<ClipVocabulary::Merge> merges) {
  ClipVocabulary vocabulary;
  for (const char* end : {"", "</w>"}) {
    for (const uint8_t b : byte_alphabet().order) {
      std::string symbol;
      append_utf8(symbol, byte_alphabet().character[b]);
      vocabulary.tokens.push_back(symbol + end);
    }
  }
  for (const ClipVocabulary::Merge& merge : merges) vocabulary.tokens.push_back(merge.left + merge.right);
  vocabulary.start = static_cast<int32_t>(vocabulary.tokens.size());
  vocabulary.end = vocabulary.start + 1;
  vocabulary.tokens.emplace_back("<|startoftext|>");
  vocabulary.tokens.emplace_back("<|endoftext|>");
  vocabulary.merges = std::move(merges);
  return vocabulary;
}

ClipVocabulary read_clip_vocabulary(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    for (const char* name :
         {"tokenizer.json", "vocab.json", "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"}) {
      if (fs::exists(path / name, error)) return read_clip_vocabulary(path / name);
    }
    fail_input(path.string(),
               ": no tokenizer in this folder: expected tokenizer.json, vocab.json with merges.txt, or "
               "bpe_simple_vocab_16e6.txt.gz");
  }
  CHECK_INPUT(fs::exists(path, error), path.string(), ": no such file");
  if (path.extension() == ".json") return read_pair(path, partner(path, "vocab", "merges", ".txt"));
  if (path.filename().string().find("merges") != std::string::npos) {
    const fs::path vocab = partner(path, "merges", "vocab", ".json");
    CHECK_INPUT(fs::exists(vocab, error), path.string(), ": its vocabulary is expected in ", vocab.string(),
                ", which is not there");
    return read_pair(vocab, path);
  }
  return read_openai(path);
}

void write_clip_vocabulary(const fs::path& path, const ClipVocabulary& vocabulary) {
  std::string merges;
  for (const auto& [left, right] : vocabulary.merges)
    merges.append("\n").append(left).append(" ").append(right);
  if (path.extension() == ".txt" || path.extension() == ".gz") {
    CHECK_INPUT(!vocabulary.merges.empty(), path.string(), ": no merges to write");
    CHECK_INPUT(vocabulary.merges.size() <= kMostOpenaiMerges, path.string(), ": ", vocabulary.merges.size(),
                " merges; this layout holds at most ", kMostOpenaiMerges);
    CHECK(vocabulary_of_merges(vocabulary.merges).tokens == vocabulary.tokens, path.string(),
          ": this layout has ids of its own, other than the vocabulary's");
    // No line break at the end: the reference would take the empty line for one more token.
    const std::string text = "\"" + path.filename().string() + kHeading + merges;
    replace_file(path, [&](const fs::path& temporary) {
      gzFile file = gzopen(temporary.c_str(), path.extension() == ".gz" ? "wb9" : "wbT");
      CHECK(file != nullptr, temporary.string(), ": cannot write");
      const bool written = gzwrite(file, text.data(), static_cast<unsigned>(text.size())) > 0;
      CHECK(gzclose(file) == Z_OK && written, temporary.string(), ": cannot write");
    });
    return;
  }
  fs::create_directories(path);
  std::string ids = "{";
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    ids += concat_text(id > 0 ? ", " : "", nlohmann::json(vocabulary.tokens[id]).dump(), ": ", id);
  }
  write_text_file(path / "vocab.json", ids + "}\n");
  write_text_file(path / "merges.txt", kHeading + merges + "\n");
}

}  // namespace clipcap
