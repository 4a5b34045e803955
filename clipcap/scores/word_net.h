// Which words mean the same: WordNet's sets of synonyms, from METEOR's extract of it or from WordNet's own files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

namespace clipcap {

class WordNet {
 public:
  /// METEOR's english.synsets and english.exceptions: pairs of lines, a word and its sets' numbers; a word and
  /// its irregular forms. InputError naming file and line.
  [[nodiscard]] static WordNet read_meteor_files(const std::filesystem::path& synsets,
                                                 const std::filesystem::path& exceptions);
  /// WordNet's index.* and *.exc, as Debian's wordnet-base has them in /usr/share/wordnet. The same contents:
  /// numbers are offsets without the part of speech, as in METEOR's extract.
  [[nodiscard]] static WordNet read_database(const std::filesystem::path& folder);

  /// The sets that `word` is in as it stands or as its base form, sorted. The base is that of the irregular
  /// forms, else of the first ending (-s, -ses, ... -est) whose base WordNet has.
  [[nodiscard]] std::vector<int32_t> synsets(const std::string& word) const;
  [[nodiscard]] size_t words() const { return synsets_.size(); }

 private:
  void add_base_synsets(const std::string& word, std::vector<int32_t>& found) const;
  std::unordered_map<std::string, std::vector<int32_t>> synsets_;
  std::unordered_map<std::string, std::vector<std::string>> bases_;  // of irregular forms
};

}  // namespace clipcap
