#include "clipcap/text/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tensor/io/foreign_file.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {

using nlohmann::json;

namespace {

constexpr size_t kMostBytes = 8U << 20U;  // OpenAI's vocabulary takes 2.2 MB as a tokenizer.json
constexpr size_t kDeepest = 32;
constexpr size_t kShown = 60;  // characters of a key or value in a message

std::string shown(const std::string& text) {
  return text.size() > kShown ? text.substr(0, kShown) + "..." : text;
}

class Reader : public nlohmann::json_sax<json> {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  TokenizerJson result() {
    CHECK_INPUT(model_type_.empty() || model_type_ == "BPE", file_, ": model.type is \"", shown(model_type_),
                "\"; expected BPE");
    CHECK_INPUT(!has_model_ || word_end_ == "</w>", file_, ": model.end_of_word_suffix is \"",
                shown(word_end_), "\"; CLIP's is </w>");
    // These may be in the vocabulary as well, with the same id, before or behind this list.
    result_.vocabulary.base_size = static_cast<int64_t>(result_.vocabulary.tokens.size());
    for (const auto& [content, token] : added_) add_token(content, static_cast<uint64_t>(token.id), true);
    CHECK_INPUT(has_model_ || stray_key_.empty(), stray_key_, ", expected an id");
    for (size_t id = 0; id < result_.vocabulary.tokens.size(); ++id) {
      CHECK_INPUT(!result_.vocabulary.tokens[id].empty(), file_, ": no token has id ", id,
                  ", others have up to ", result_.vocabulary.tokens.size() - 1);
    }
    CHECK_INPUT(!result_.vocabulary.tokens.empty(), file_,
                ": no vocabulary: expected {token: id} or {\"model\": {\"vocab\": {token: id}}}");
    CHECK_INPUT(!has_model_ || result_.has_merges, file_, ": no model.merges");
    find_special_tokens(result_.vocabulary, file_);
    for (const auto& [content, token] : added_) {
      if (token.id != result_.vocabulary.start && token.id != result_.vocabulary.end)
        result_.vocabulary.added.push_back(token);
    }
    return std::move(result_);
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (path_.size() == 1 || inside(3, "model", "vocab")) {
      add_token(path_.back(), value, false);
    } else if (inside(3, "added_tokens") && path_[2] == "id") {
      added_id_ = value;
    } else {
      return other("a number");
    }
    return true;
  }
  bool string(string_t& value) override {
    if (inside(2, "model", "type")) {
      model_type_ = value;
    } else if (inside(2, "model", "end_of_word_suffix")) {
      word_end_ = value;
    } else if (inside(3, "model", "merges")) {
      add_merge(parse_merge(value, where()));
    } else if (inside(4, "model", "merges")) {
      CHECK_INPUT(parts_.size() < 2, where(), ": a merge of more than two parts");
      parts_.push_back(value);
    } else if (inside(3, "added_tokens") && path_[2] == "content") {
      added_content_ = value;
    } else {
      return other("a string");
    }
    return true;
  }
  bool null() override { return other("null"); }
  bool boolean(bool value) override {
    if (!inside(3, "added_tokens")) return other("true or false");
    ClipVocabulary::Added& token = added_token_;
    if (path_[2] == "normalized") token.normalized = value;
    if (path_[2] == "lstrip") token.strip_left = value;
    if (path_[2] == "rstrip") token.strip_right = value;
    if (path_[2] == "single_word") token.single_word = value;
    return true;
  }
  bool number_integer(number_integer_t) override { return other("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return other("a fraction"); }
  bool binary(binary_t&) override { return false; }

  bool start_object(size_t) override {
    if (!path_.empty()) other("an object");
    has_model_ = has_model_ || inside(1, "model");
    added_content_.clear();
    added_id_ = kMostTokens;
    added_token_ = {};
    return enter();
  }
  bool key(string_t& value) override {
    path_.back() = value;
    return true;
  }
  bool end_object() override {
    path_.pop_back();
    if (inside(2, "added_tokens")) {
      CHECK_INPUT(added_.size() < kMostTokens, where(), ": more than ", kMostTokens, " added tokens");
      CHECK_INPUT(!added_content_.empty(), where(), ": no content");
      CHECK_INPUT(added_id_ < kMostTokens, where(), ": no id below ", kMostTokens);
      added_token_.id = static_cast<int32_t>(added_id_);
      added_.emplace_back(added_content_, added_token_);
    }
    return true;
  }
  bool start_array(size_t) override {
    CHECK_INPUT(!path_.empty(), file_, ": found a list, expected an object");
    if (!inside(3, "model", "merges")) other("a list");
    result_.has_merges = result_.has_merges || inside(2, "model", "merges");
    parts_.clear();
    return enter();
  }
  bool end_array() override {
    path_.pop_back();
    if (inside(3, "model", "merges")) {
      CHECK_INPUT(parts_.size() == 2, where(), ": a merge of ", parts_.size(), " parts");
      add_merge({parts_[0], parts_[1]});
    }
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string reason = error.what();
    if (reason.size() > 200) reason.resize(200);
    fail_input(file_, ": ", reason);
  }

 private:
  // path_ holds the keys that lead to the current value, "" for a place in a list.
  [[nodiscard]] bool inside(size_t depth, const char* first, const char* second = nullptr) const {
    return path_.size() == depth && path_[0] == first && (second == nullptr || path_[1] == second);
  }
  [[nodiscard]] std::string where() const {
    std::string text = file_ + ": ";
    for (const std::string& key : path_) text += "[\"" + shown(key) + "\"]";
    return text;
  }

  void add_token(const std::string& token, uint64_t id, bool again_is_fine) {
    CHECK_INPUT(!token.empty() && token.size() <= kLongestToken, where(), ": a token of ", token.size(),
                " bytes; 1 to ", kLongestToken, " expected");
    CHECK_INPUT(id < kMostTokens, where(), ": id ", id, "; at most ", kMostTokens - 1, " expected");
    std::vector<std::string>& tokens = result_.vocabulary.tokens;
    if (tokens.size() <= id) tokens.resize(id + 1);
    std::string& place = tokens[id];
    CHECK_INPUT(place.empty() || (again_is_fine && place == token), where(), ": id ", id, " is \"",
                shown(place), "\" already");
    place = token;
  }

  void add_merge(ClipVocabulary::Merge merge) {
    CHECK_INPUT(merge.left.size() + merge.right.size() <= kLongestToken, where(), ": a merge of more than ",
                kLongestToken, " bytes");
    CHECK_INPUT(result_.vocabulary.merges.size() < kMostTokens, where(), ": more than ", kMostTokens,
                " merges");
    result_.vocabulary.merges.push_back(std::move(merge));
  }

  // A value that means nothing to us, unless it stands where an id or a merge should.
  bool other(const char* what) {
    CHECK_INPUT(!inside(3, "model", "vocab"), where(), ": found ", what, ", expected an id");
    CHECK_INPUT(!inside(3, "model", "merges") && !inside(4, "model", "merges"), where(), ": found ", what,
                ", expected a merge");
    if (path_.size() == 1 && stray_key_.empty()) stray_key_ = where() + ": found " + what;
    return true;
  }

  bool enter() {
    CHECK_INPUT(path_.size() < kDeepest, file_, ": nested more than ", kDeepest, " deep");
    path_.emplace_back();
    return true;
  }

  std::string file_;
  std::vector<std::string> path_;
  TokenizerJson result_;
  bool has_model_ = false;
  std::string model_type_;
  std::string word_end_;
  std::vector<std::string> parts_;  // of the merge that is being read
  std::string stray_key_;           // the first thing at the top that a vocab.json does not have
  std::vector<std::pair<std::string, ClipVocabulary::Added>> added_;
  std::string added_content_;  // of the one that is being read
  uint64_t added_id_ = kMostTokens;
  ClipVocabulary::Added added_token_;
};

}  // namespace

TokenizerJson read_tokenizer_json(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  const std::string foreign = foreign_content(bytes);
  CHECK_INPUT(foreign.empty() || foreign == "a JSON text", path.string(), ": ", foreign,
              "; a tokenizer's JSON was expected");
  CHECK_INPUT(bytes.size() <= kMostBytes, path.string(), ": ", bytes.size(), " bytes; at most ", kMostBytes,
              " expected");
  Reader reader(path.string());
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  json::sax_parse(text, text + bytes.size(), &reader);
  return reader.result();
}

ClipVocabulary::Merge parse_merge(std::string_view line, const std::string& where) {
  CHECK_INPUT(line.size() <= kLongestToken, where, ": ", line.size(), " bytes; at most ", kLongestToken,
              " expected");
  const size_t space = line.find(' ');
  CHECK_INPUT(space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
                  line.find(' ', space + 1) == std::string_view::npos,
              where, ": expected two symbols and a space between them, found \"", shown(std::string(line)),
              "\"");
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

void find_special_tokens(ClipVocabulary& vocabulary, const std::string& where) {
  const auto find = [&](const char* openai, const char* open_clip) {
    for (const char* name : {openai, open_clip}) {
      const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), name);
      if (found != vocabulary.tokens.end()) return static_cast<int32_t>(found - vocabulary.tokens.begin());
    }
    fail_input(where, ": no token ", openai);
  };
  vocabulary.start = find("<|startoftext|>", "<start_of_text>");
  vocabulary.end = find("<|endoftext|>", "<end_of_text>");
}

}  // namespace clipcap
