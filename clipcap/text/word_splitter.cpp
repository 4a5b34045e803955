#include "clipcap/text/word_splitter.h"

#include <algorithm>

#include "clipcap/text/unicode.h"

namespace clipcap {

namespace {

// The long s matches s where case does not matter, and str.lower() leaves it alone: all of the pattern's
// letters were tried, it is the only such character.
constexpr char32_t kLongS = 0x17F;
// A mark with a capital form that is a letter: the reference's expression then finds it in no class, and the
// mark is dropped.
constexpr char32_t kIotaSubscript = 0x345;

bool same_letter(char32_t c, char32_t letter) { return c == letter || (c == kLongS && letter == 's'); }

bool begins_with(std::u32string_view text, std::u32string_view word) {
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(),
                                                  [](char32_t w, char32_t c) { return same_letter(c, w); });
}

bool is_other(char32_t c) { return !is_space(c) && !is_letter(c) && !is_number(c) && c != kIotaSubscript; }

template <class Predicate>
size_t run_length(std::u32string_view text, Predicate&& belongs) {
  return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), belongs) - text.begin());
}

size_t match_length(std::u32string_view text, std::span<const std::u32string> specials) {
  for (const std::u32string& special : specials) {
    if (begins_with(text, special)) return special.size();
  }
  if (text[0] == U'\'') {
    for (const std::u32string_view ending : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
      if (begins_with(text, ending)) return ending.size();
    }
  }
  if (is_letter(text[0])) return run_length(text, is_letter);
  if (is_number(text[0])) return 1;
  return run_length(text, is_other);
}

}  // namespace

std::vector<std::u32string_view> split_words(std::u32string_view text,
                                             std::span<const std::u32string> specials) {
  std::vector<std::u32string_view> words;
  while (!text.empty()) {
    const size_t length = match_length(text, specials);
    if (length > 0) words.push_back(text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return words;
}

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet = [] {
    ByteAlphabet made{};
    size_t count = 0;
    const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b != 173); };
    for (int b = 0; b < 256; ++b) {
      if (!printable(b)) continue;
      made.character[b] = static_cast<char32_t>(b);
      made.order[count++] = static_cast<uint8_t>(b);
    }
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
      if (printable(b)) continue;
      made.character[b] = next++;
      made.order[count++] = static_cast<uint8_t>(b);
    }
    return made;
  }();
  return alphabet;
}

int ByteAlphabet::byte(char32_t c) const {
  const auto* found = std::find(std::begin(character), std::end(character), c);
  return found != std::end(character) ? static_cast<int>(found - std::begin(character)) : -1;
}

}  // namespace clipcap
