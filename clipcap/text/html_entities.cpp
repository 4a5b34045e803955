#include "clipcap/text/html_entities.h"

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "clipcap/text/unicode.h"

namespace clipcap {

namespace {

constexpr size_t kLongestName = 32;

const char kEntities[] =
#include "clipcap/text/html_entities.inc"
    ;

const char kCapitalEntities[] =
#include "clipcap/text/html_capital_entities.inc"
    ;

// Names with their semicolon where they need it: "amp;" and "amp" are two entries.
using EntityTable = std::unordered_map<std::string, std::u32string>;

EntityTable parse_entities(const char* packed) {
  EntityTable table;
  std::istringstream words(packed);
  std::string name;
  std::string codes;
  while (words >> name >> codes) {
    std::istringstream numbers(codes);
    std::u32string characters;
    for (std::string number; std::getline(numbers, number, '+');) {
      characters += static_cast<char32_t>(std::stoul(number, nullptr, 16));
    }
    if (name.back() == '!') {
      name.pop_back();
      table.emplace(name, characters);
    }
    table.emplace(name + ';', characters);
  }
  return table;
}

const EntityTable& entities() {
  static const EntityTable table = parse_entities(kEntities);
  return table;
}

int digit_value(char32_t c, unsigned base) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (base == 16 && (c | 32U) >= 'a' && (c | 32U) <= 'f') return static_cast<int>((c | 32U) - 'a' + 10);
  return -1;
}

// Numbers 0x80..0x9F are read as Windows-1252, which is what those who write them mean.
constexpr char32_t kWindows1252[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021,
                                       0x2C6,  0x2030, 0x160,  0x2039, 0x152,  0x8D,   0x17D,  0x8F,
                                       0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                       0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};

void append_number(std::u32string& out, char32_t number) {
  if (number == 0 || (number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF) {
    out += kReplacementCharacter;
  } else if (number >= 0x80 && number <= 0x9F) {
    out += windows_1252(number);
  } else {
    const bool control =
        (number < 0x20 && number != '\t' && number != '\n' && number != '\f' && number != '\r') ||
        number == 0x7F;
    const bool no_character = (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFEU) == 0xFFFE;
    if (!control && !no_character) out += number;
  }
}

// &#65; &#x41; the semicolon is optional. Returns the length of the reference at `text`, 0 when it is none.
size_t take_number(std::u32string_view text, std::u32string& out) {
  size_t at = 2;
  unsigned base = 10;
  if (text.size() > 2 && (text[2] | 32U) == 'x') {
    base = 16;
    at = 3;
  }
  const size_t first = at;
  char32_t number = 0;
  for (; at < text.size() && digit_value(text[at], base) >= 0; ++at) {
    number = std::min<char32_t>(number * base + static_cast<char32_t>(digit_value(text[at], base)), 0x110000);
  }
  if (at == first) return 0;
  append_number(out, number);
  return at < text.size() && text[at] == ';' ? at + 1 : at;
}

// A word of up to 32 characters and perhaps a semicolon. What is left of the word behind the entity's name is
// text. Returns the length of what was read, 0 when there is no word.
size_t take_name(std::u32string_view text, std::u32string& out) {
  size_t end = 1;
  const auto in_name = [](char32_t c) {
    return c != '\t' && c != '\n' && c != '\f' && c != ' ' && c != '<' && c != '&' && c != '#' && c != ';';
  };
  while (end < text.size() && end <= kLongestName && in_name(text[end])) ++end;
  if (end == 1) return 0;
  if (end < text.size() && text[end] == ';') ++end;
  std::string name;
  for (size_t i = 1; i < end; ++i) name += text[i] < 128 ? static_cast<char>(text[i]) : '\x80';
  // A name cut shorter than two letters is not looked up; the whole word is, whatever its length.
  for (size_t length = name.size(); length >= 2 || length == name.size(); --length) {
    const auto found = entities().find(name.substr(0, length));
    if (found != entities().end()) {
      out += found->second;
      out += text.substr(1 + length, end - 1 - length);
      return end;
    }
  }
  out += text.substr(0, end);
  return end;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    size_t taken = 0;
    if (text[i] == '&' && i + 1 < text.size()) {
      const std::u32string_view rest = text.substr(i);
      taken = rest[1] == '#' ? take_number(rest, out) : take_name(rest, out);
    }
    if (taken == 0) {
      out += text[i];
      taken = 1;
    }
    i += taken;
  }
  return out;
}

char32_t windows_1252(char32_t c) { return c >= 0x80 && c <= 0x9F ? kWindows1252[c - 0x80] : c; }

namespace {

constexpr size_t kLongestCertainName = 24;

// The names in capitals that HTML does not know, not even by their beginning.
const EntityTable& capital_entities() {
  static const EntityTable table = [] {
    EntityTable made = parse_entities(kCapitalEntities);
    for (const auto& [name, characters] : entities()) {
      std::u32string capital = U"&";
      std::string key;
      for (const char c : name) {
        if (c >= 'A' && c <= 'Z') capital.clear();
        key += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        if (!capital.empty()) capital += static_cast<char32_t>(key.back());
      }
      if (name.back() == ';' && !capital.empty() && unescape_html(capital) == capital)
        made.emplace(key, characters);
    }
    return made;
  }();
  return table;
}

// What the reference `whole` (from & to ;) stands for; itself when it is none.
std::u32string certain_reference(std::u32string_view whole) {
  if (whole[1] == U'#') {
    std::u32string character = unescape_html(whole);
    return character.find(U';') == std::u32string::npos ? character : std::u32string(whole);
  }
  const std::string name(whole.begin() + 1, whole.end());
  for (const EntityTable* table : {&entities(), &capital_entities()}) {
    if (const auto found = table->find(name); found != table->end()) return found->second;
  }
  return std::u32string(whole);
}

}  // namespace

std::u32string unescape_certain_html(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  const auto in_name = [](char32_t c) {
    return (c >= U'0' && c <= U'9') || ((c | 32U) >= U'a' && (c | 32U) <= U'z');
  };
  for (size_t i = 0; i < text.size();) {
    if (text[i] == U'&') {
      const size_t first = i + 1 < text.size() && text[i + 1] == U'#' ? i + 2 : i + 1;
      size_t end = first;
      while (end < text.size() && end - first < kLongestCertainName && in_name(text[end])) ++end;
      if (end > first && end < text.size() && text[end] == U';') {
        out += certain_reference(text.substr(i, end + 1 - i));
        i = end + 1;
        continue;
      }
    }
    out += text[i++];
  }
  return out;
}

}  // namespace clipcap
