#include "clipcap/scores/ptb_tokenizer.h"

#include <algorithm>
#include <iterator>

#include "clipcap/scores/ptb_patterns.h"
#include "clipcap/text/unicode.h"

namespace clipcap {
namespace {

struct Entity {
  std::u32string_view name;
  std::u32string_view character;
};
constexpr Entity kEntities[] = {{U"&amp;", U"&"},        {U"&lt;", U"\uE000"},   {U"&gt;", U"\uE001"},
                                {U"&quot;", U"\""},      {U"&apos;", U"'"},      {U"&nbsp;", U" "},
                                {U"&mdash;", U"\u2014"}, {U"&ndash;", U"\u2013"}};

// Characters, with entities and white space made plain and soft hyphens left out.
std::u32string plain(std::string_view bytes) {
  const std::u32string all = decode_utf8(bytes);
  std::u32string text;
  for (size_t at = 0; at < all.size();) {
    const auto here = [&](const Entity& entity) {
      return lower_case(all.substr(at, entity.name.size())) == entity.name;
    };
    const auto* entity =
        all[at] == '&' ? std::find_if(std::begin(kEntities), std::end(kEntities), here) : std::end(kEntities);
    if (entity != std::end(kEntities)) {
      text += entity->character;
      at += entity->name.size();
      continue;
    }
    const char32_t c = all[at++];
    if (c == 0xAD || c == 0xE000 || c == 0xE001) continue;
    text += is_python_space(c) ? U' ' : c;
  }
  return text;
}

// Characters that are written otherwise, wherever they stand in a token.
std::u32string_view bracket(char32_t c) {
  switch (c) {
    case '(':
      return U"-lrb-";
    case ')':
      return U"-rrb-";
    case '[':
      return U"-lsb-";
    case ']':
      return U"-rsb-";
    case '{':
      return U"-lcb-";
    case '}':
      return U"-rcb-";
    default:
      return {};
  }
}

std::string single(char32_t c) {
  switch (c) {
    case '"':
    case 0x201C:
    case 0x201D:
    case 0x93:
    case 0x94:
    case 0xAB:
    case 0xBB:
      return "''";
    case '`':
    case 0x2018:
    case 0x2019:
    case 0x201B:
    case 0x91:
    case 0x92:
    case 0x2039:
    case 0x203A:
      return "'";
    case 0x2013:
    case 0x2014:
    case 0x2015:
    case 0x96:
    case 0x97:
      return "--";
    case 0x2026:
      return "...";
    case 0xA2:
      return "cents";
    case 0xA3:
      return "#";
    case 0xA4:
    case 0x80:
    case 0x20A0:
    case 0x20AC:
      return "$";
    case 0xBC:
      return "1/4";
    case 0xBD:
      return "1/2";
    case 0xBE:
      return "3/4";
    case 0x2153:
      return "1/3";
    case 0x2154:
      return "2/3";
    case ptb::kEscapedLess:
      return "<";
    case ptb::kEscapedMore:
      return ">";
    default:
      return {};
  }
}

std::string written(std::u32string_view token) {
  if (token.size() == 1) {
    std::string other = single(token[0]);
    if (!other.empty()) return other;
  }
  if (token.size() == 2 && ptb::is_curly_quote(token[0]) && ptb::is_curly_quote(token[1])) {
    std::string quotes;
    for (const char32_t c : token)
      quotes += c == 0x201C ? "``" : c == 0x201D ? "''" : c == 0x2019 ? "'" : "`";
    return quotes;
  }
  const bool dashes = std::all_of(token.begin(), token.end(), [](char32_t c) { return c == '-'; });
  if (dashes && token.size() >= 2 && token.size() <= 4) return "--";
  if (token.size() > 3 && token.find_first_not_of(U'.') == std::u32string_view::npos) return "...";
  // 's and n't are written with a plain apostrophe.
  const std::u32string lower = lower_case(token);
  const bool contraction =
      ptb::is_apostrophe(lower[0]) || (lower.size() == 3 && lower[0] == 'n' && lower[2] == 't');
  const bool plain_apostrophe = contraction && lower.size() <= 3 && lower != U"\u2019em" &&
                                lower != U"\u2019n" && !(lower.size() == 3 && ptb::is_apostrophe(lower[2])) &&
                                !ptb::is_digit(lower[1]);
  std::u32string text;
  for (const char32_t c : lower) {
    const std::u32string_view name = lower.size() == 1 || c == '(' || c == ')' ? bracket(c) : U"";
    if (!name.empty()) {
      text += name;
    } else if (c == ' ') {
      text += U'\u00A0';
    } else if (c == 0x2018 && contraction) {
      text += U'`';
    } else {
      text += c == 0x2019 && plain_apostrophe ? U'\'' : c;
    }
  }
  return encode_utf8(text);
}

}  // namespace

std::vector<std::string> ptb_tokens(std::string_view bytes) {
  const std::u32string text = plain(bytes);
  std::vector<std::string> tokens;
  for (size_t at = 0; at < text.size();) {
    const size_t length = text[at] == ' ' ? 0 : ptb::longest_token(text, at);
    if (length == 0) {
      ++at;
      continue;
    }
    tokens.push_back(written(std::u32string_view(text).substr(at, length)));
    at += length;
  }
  return tokens;
}

std::string ptb_caption(std::string_view text) {
  // As the evaluation lists them. Its bracket names are in capitals, which no token is: brackets stay.
  static constexpr std::string_view kDropped[] = {"''", "'", "``", "`",  ".",   "?", "!",
                                                  ",",  ":", "-",  "--", "...", ";"};
  std::string caption;
  for (const std::string& token : ptb_tokens(text)) {
    if (std::find(std::begin(kDropped), std::end(kDropped), token) != std::end(kDropped)) continue;
    if (!caption.empty()) caption += ' ';
    caption += token;
  }
  return caption;
}

}  // namespace clipcap
