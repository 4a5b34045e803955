#include "clipcap/scores/word_net.h"

#include <algorithm>
#include <charconv>

#include "clipcap/scores/segment.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

constexpr size_t kMostBytes = 64U << 20U;

// The lines of a text file, without their ends.
class Lines {
 public:
  explicit Lines(const std::filesystem::path& path)
      : name_(path.string()), text_(read_text_file(path, kMostBytes)) {}

  bool next(std::string_view& line) {
    if (at_ >= text_.size()) return false;
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    line = std::string_view(text_).substr(at_, end - at_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at_ = end + 1;
    ++number_;
    return true;
  }
  [[nodiscard]] std::string where() const { return concat_text(name_, ": line ", number_); }

 private:
  std::string name_;
  std::string text_;
  size_t at_ = 0;
  size_t number_ = 0;
};

int32_t parse_number(std::string_view word, const Lines& lines) {
  int32_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  CHECK_INPUT(error == std::errc() && end == word.data() + word.size() && number >= 0, lines.where(),
              ": expected a synset's number, found \"", word.substr(0, 40), "\"");
  return number;
}

struct Ending {
  std::string_view from;
  std::string_view to;
};

// The order matters: the first whose base is a word counts.
constexpr Ending kEndings[] = {{"s", ""},      {"ses", "s"},   {"xes", "x"}, {"zes", "z"}, {"ches", "ch"},
                               {"shes", "sh"}, {"men", "man"}, {"ies", "y"}, {"es", "e"},  {"es", ""},
                               {"ed", "e"},    {"ed", ""},     {"ing", "e"}, {"ing", ""},  {"er", ""},
                               {"er", "e"},    {"est", ""},    {"est", "e"}};

}  // namespace

WordNet WordNet::read_meteor_files(const std::filesystem::path& synsets,
                                   const std::filesystem::path& exceptions) {
  WordNet net;
  std::string_view line;
  for (Lines lines(synsets); lines.next(line);) {
    std::vector<int32_t>& sets = net.synsets_[std::string(line)];
    CHECK_INPUT(lines.next(line), lines.where(), ": expected the synsets of this word on the next line");
    for (const std::string_view number : split_white_space(line)) sets.push_back(parse_number(number, lines));
  }
  for (Lines lines(exceptions); lines.next(line);) {
    const std::string base(line);
    CHECK_INPUT(lines.next(line), lines.where(), ": expected the forms of this word on the next line");
    for (const std::string_view form : split_white_space(line)) net.bases_[std::string(form)].push_back(base);
  }
  return net;
}

WordNet WordNet::read_database(const std::filesystem::path& folder) {
  WordNet net;
  std::string_view line;
  for (const char* part : {"noun", "verb", "adj", "adv"}) {
    // lemma pos synset_count pointer_count pointers... sense_count tagged_count offsets...
    for (Lines lines(folder / (std::string("index.") + part)); lines.next(line);) {
      if (line.starts_with("  ")) continue;  // the licence
      const std::vector<std::string_view> words = split_white_space(line);
      CHECK_INPUT(words.size() >= 4, lines.where(), ": expected an entry of WordNet's index");
      const int32_t count = parse_number(words[2], lines);
      CHECK_INPUT(static_cast<size_t>(count) + 4 <= words.size(), lines.where(), ": expected ", count,
                  " synsets");
      std::vector<int32_t>& sets = net.synsets_[std::string(words[0])];
      for (size_t i = words.size() - static_cast<size_t>(count); i < words.size(); ++i)
        sets.push_back(parse_number(words[i], lines));
    }
    for (Lines lines(folder / (std::string(part) + ".exc")); lines.next(line);) {
      const std::vector<std::string_view> words = split_white_space(line);
      for (size_t i = 1; i < words.size(); ++i) net.bases_[std::string(words[0])].emplace_back(words[i]);
    }
  }
  return net;
}

void WordNet::add_base_synsets(const std::string& word, std::vector<int32_t>& found) const {
  const auto add = [&](const std::string& base) {
    const auto sets = synsets_.find(base);
    if (sets == synsets_.end()) return false;
    found.insert(found.end(), sets->second.begin(), sets->second.end());
    return true;
  };
  const auto irregular = bases_.find(word);
  if (irregular != bases_.end()) {
    for (const std::string& base : irregular->second) add(base);
    return;
  }
  if (word.size() <= 2) return;
  for (const Ending& ending : kEndings) {
    if (!word.ends_with(ending.from)) continue;
    if (ending.from == "s" && word.ends_with("ss")) continue;
    if (add(word.substr(0, word.size() - ending.from.size()).append(ending.to))) return;
  }
}

std::vector<int32_t> WordNet::synsets(const std::string& word) const {
  std::vector<int32_t> found;
  const auto own = synsets_.find(word);
  if (own != synsets_.end()) found = own->second;
  add_base_synsets(word, found);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace clipcap
