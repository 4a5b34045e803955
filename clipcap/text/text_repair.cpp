#include "clipcap/text/text_repair.h"

#include <algorithm>
#include <utility>

#include "clipcap/text/html_entities.h"
#include "clipcap/text/normalization.h"

namespace clipcap {

namespace {

constexpr size_t kLongestLine = 1'000'000;  // longer ones are repaired in parts
// Each pass takes one layer off &amp;amp;amp;... Two or three are met; without a bound a long line of them
// would take time that grows with its square.
constexpr int kMostPasses = 50;

constexpr std::pair<char32_t, std::u32string_view> kLigatures[] = {
    {0x132, U"IJ"},       {0x133, U"ij"},  {0x149, U"\u02BCn"}, {0x1C4, U"D\u017D"}, {0x1C5, U"D\u017E"},
    {0x1C6, U"d\u017E"},  {0x1C7, U"LJ"},  {0x1C8, U"Lj"},      {0x1C9, U"lj"},      {0x1CA, U"NJ"},
    {0x1CB, U"Nj"},       {0x1CC, U"nj"},  {0x1F1, U"DZ"},      {0x1F2, U"Dz"},      {0x1F3, U"dz"},
    {0xFB00, U"ff"},      {0xFB01, U"fi"}, {0xFB02, U"fl"},     {0xFB03, U"ffi"},    {0xFB04, U"ffl"},
    {0xFB05, U"\u017Ft"}, {0xFB06, U"st"}};

std::u32string open_ligatures(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    const auto* found = std::find_if(std::begin(kLigatures), std::end(kLigatures),
                                     [&](const auto& ligature) { return ligature.first == c; });
    if (c < 0x132 || found == std::end(kLigatures)) {
      out += c;
    } else {
      out += found->second;
    }
  }
  return out;
}

char32_t straight_quote(char32_t c) {
  if (c == 0x2BC || (c >= 0x2018 && c <= 0x201B)) return U'\'';
  return c >= 0x201C && c <= 0x201F ? U'"' : c;
}

std::u32string unix_line_breaks(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    out += c == U'\r' || c == 0x2028 || c == 0x2029 ? U'\n' : c;
  }
  return out;
}

// ESC [ numbers and semicolons, a letter: what switches a terminal's colours.
size_t escape_length(std::u32string_view text) {
  if (text.size() < 3 || text[0] != 0x1B || text[1] != U'[') return 0;
  size_t at = 2;
  while (at < text.size() && ((text[at] >= U'0' && text[at] <= U'9') || text[at] == U';')) ++at;
  return at < text.size() && (text[at] | 32U) >= U'a' && (text[at] | 32U) <= U'z' ? at + 1 : 0;
}

bool is_unwanted_control(char32_t c) {
  return (c < 0x20 && c != U'\t' && c != U'\n' && c != U'\f' && c != U'\r') || c == 0x7F ||
         (c >= 0x206A && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

std::u32string without_controls(std::u32string_view text) {
  std::u32string visible;
  for (size_t i = 0; i < text.size();) {
    const size_t escape = escape_length(text.substr(i));
    if (escape == 0 && !is_unwanted_control(text[i])) visible += text[i];
    i += std::max<size_t>(escape, 1);
  }
  return visible;
}

std::u32string repair_once(std::u32string text, bool references) {
  if (references) text = unescape_certain_html(text);
  for (char32_t& c : text) c = windows_1252(c);
  text = usual_widths(open_ligatures(text));
  for (char32_t& c : text) c = straight_quote(c);
  return normalize_nfc(without_controls(unix_line_breaks(text)));
}

}  // namespace

std::u32string repair_text(std::u32string_view text) {
  std::u32string out;
  bool references = true;
  while (!text.empty()) {
    size_t length = std::min(text.find(U'\n'), text.size() - 1) + 1;
    length = std::min(length, kLongestLine);
    std::u32string line(text.substr(0, length));
    text.remove_prefix(length);
    // A < means real HTML, where references have their meaning; so they have in the lines that follow.
    references = references && line.find(U'<') == std::u32string::npos;
    for (int pass = 0; pass < kMostPasses; ++pass) {
      std::u32string repaired = repair_once(line, references);
      const bool changed = repaired != line;
      line = std::move(repaired);
      if (!changed) break;
    }
    out += line;
  }
  return out;
}

}  // namespace clipcap
