#include "clipcap/scores/meteor_normalizer.h"

#include <algorithm>

#include "clipcap/scores/segment.h"
#include "clipcap/text/unicode.h"

namespace clipcap {
namespace {

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

bool is_alphabetic(char32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  if (c == 0xD7 || c == 0xF7) return false;
  if (c >= 0xA66F && c <= 0xA67D) return false;
  return (c >= 0xC0 && c <= 0x17E) || (c >= 0x400 && c <= 0x527) || (c >= 0x1D00 && c <= 0x1D7F) ||
         (c >= 0xA640 && c <= 0xA697);
}

bool is_blank(char32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// White space outside ASCII: set apart like a symbol, then left out.
bool is_wide_space(char32_t c) {
  return c == 0xA0 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000;
}

void replace_pairs(std::u32string& text, char32_t c, std::u32string_view replacement) {
  const std::u32string pair(2, c);
  for (size_t at = text.find(pair); at != std::u32string::npos; at = text.find(pair, at + replacement.size()))
    text.replace(at, 2, replacement);
}

std::u32string plain_quotes(std::string_view bytes) {
  std::u32string text;
  for (const char32_t c : decode_utf8(bytes)) {
    switch (c) {
      case U'`':
      case U'\u2018':
      case U'\u2019':
        text += U'\'';
        break;
      case U'\u201C':
      case U'\u201D':
        text += U'"';
        break;
      case U'\u2013':
        text += U" - ";
        break;
      case U'\t':
      case U'\n':
      case U'\r':
      case U'\f':
        text += U' ';
        break;
      default:
        text += c;
    }
  }
  replace_pairs(text, U'\'', U"\"");
  replace_pairs(text, U'-', U"-");
  return text;
}

// Where `middle` stands between a character of each kind, `replacement` takes its place. As a regular expression
// does it that takes in all three characters: of "a,b,c" only the first comma is between two others.
template <class Left, class Right>
void replace_between(std::u32string& text, Left left, char32_t middle, Right right,
                     std::u32string_view replacement) {
  if (text.find(middle) == std::u32string::npos) return;
  std::u32string result;
  size_t at = 0;
  while (at < text.size()) {
    if (at + 2 < text.size() && text[at + 1] == middle && left(text[at]) && right(text[at + 2])) {
      result += text[at];
      result += replacement;
      result += text[at + 2];
      at += 3;
    } else {
      result += text[at++];
    }
  }
  text = std::move(result);
}

std::u32string set_symbols_apart(const std::u32string& text) {
  std::u32string result;
  for (size_t at = 0; at < text.size(); ++at) {
    const char32_t c = text[at];
    if (c == '.' && at + 1 < text.size() && text[at + 1] == '.') {
      result += ' ';
      for (; at < text.size() && text[at] == '.'; ++at) result += '.';
      --at;
      result += ' ';
    } else if (is_alphabetic(c) || is_digit(c) || is_blank(c) || c == '.' || c == '\'' || c == ',' ||
               c == '-') {
      result += c;
    } else {
      result += ' ';
      result += c;
      result += ' ';
    }
  }
  return result;
}

void split_commas(std::u32string& text) {
  const auto other = [](char32_t c) { return !is_digit(c); };
  replace_between(text, other, U',', other, U" , ");
  replace_between(text, is_digit, U',', other, U" , ");
  replace_between(text, other, U',', is_digit, U" , ");
}

void split_apostrophes(std::u32string& text) {
  const auto other = [](char32_t c) { return !is_alphabetic(c); };
  const auto neither = [](char32_t c) { return !is_alphabetic(c) && !is_digit(c); };
  const auto is_s = [](char32_t c) { return c == 's'; };
  replace_between(text, other, U'\'', other, U" ' ");
  replace_between(text, neither, U'\'', is_alphabetic, U" ' ");
  replace_between(text, is_alphabetic, U'\'', other, U" ' ");
  replace_between(text, is_alphabetic, U'\'', is_alphabetic, U" '");
  replace_between(text, is_digit, U'\'', is_s, U" '");
}

std::vector<std::u32string> split_blanks(const std::u32string& text) {
  std::vector<std::u32string> words(1);
  for (const char32_t c : text) {
    if (c != ' ') {
      words.back() += c;
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

// Words with their last periods set apart where those end a sentence.
std::vector<std::u32string> split_last_periods(std::vector<std::u32string> words,
                                               const Abbreviations& abbreviations) {
  std::vector<std::u32string> result;
  for (size_t i = 0; i < words.size(); ++i) {
    std::u32string& word = words[i];
    const bool ends = word.size() > 1 && word.back() == '.' && word[word.size() - 2] != '.';
    if (!ends) {
      result.push_back(std::move(word));
      continue;
    }
    std::u32string before = word.substr(0, word.size() - 1);
    const bool acronym =
        before.find(U'.') != std::u32string::npos && std::any_of(before.begin(), before.end(), is_alphabetic);
    if (acronym) {
      std::erase(word, U'.');
      result.push_back(std::move(word));
      continue;
    }
    const char32_t next = i + 1 < words.size() ? words[i + 1][0] : U'\0';
    const auto known = abbreviations.find(encode_utf8(before));
    const bool keeps =
        (known != abbreviations.end() && (known->second == Abbreviation::always || is_digit(next))) ||
        (next >= 'a' && next <= 'z');
    if (keeps) {
      result.push_back(std::move(word));
    } else {
      result.push_back(std::move(before));
      result.emplace_back(U".");
    }
  }
  return result;
}

}  // namespace

std::vector<std::string> meteor_words(std::string_view bytes, const Abbreviations& abbreviations) {
  std::u32string text = plain_quotes(bytes);
  text = U" " + set_symbols_apart(text) + U" ";
  const auto letter_or_digit = [](char32_t c) { return is_alphabetic(c) || is_digit(c); };
  const auto or_period = [&](char32_t c) { return letter_or_digit(c) || c == '.'; };
  replace_between(text, or_period, U'-', letter_or_digit, U" ");
  split_commas(text);
  split_apostrophes(text);
  std::vector<std::string> words;
  for (const std::u32string& word : split_last_periods(split_blanks(text), abbreviations))
    if (!is_wide_space(word[0])) words.push_back(encode_utf8(lower_case(word)));
  return words;
}

Abbreviations parse_abbreviations(const std::string& text) {
  Abbreviations abbreviations;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.starts_with('#')) continue;
    const std::vector<std::string_view> words = split_white_space(line);
    if (words.empty()) continue;
    const bool numeric = words.size() > 1 && words[1] == "#NUMERIC_ONLY#";
    abbreviations[std::string(words[0])] = numeric ? Abbreviation::before_number : Abbreviation::always;
  }
  return abbreviations;
}

const Abbreviations& common_abbreviations() {
  static const Abbreviations abbreviations = [] {
    Abbreviations known{{"No", Abbreviation::before_number}};
    for (char letter = 'A'; letter <= 'Z'; ++letter) known[std::string(1, letter)] = Abbreviation::always;
    for (const char* title : {"Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr", "vs"})
      known[title] = Abbreviation::always;
    return known;
  }();
  return abbreviations;
}

}  // namespace clipcap
