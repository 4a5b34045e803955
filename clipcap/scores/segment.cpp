#include "clipcap/scores/segment.h"

#include "clipcap/text/unicode.h"

namespace clipcap {
namespace {

// Bytes of the white space that `text` begins with, 0 for anything else. Outside ASCII it is one character
// of at most three bytes.
size_t white_space_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return is_python_space(first) ? 1 : 0;
  const size_t bytes = first >= 0xE0 ? 3 : 2;
  if (first >= 0xF0 || text.size() < bytes) return 0;
  const std::u32string character = decode_utf8(text.substr(0, bytes));
  return character.size() == 1 && is_python_space(character[0]) ? bytes : 0;
}

}  // namespace

std::vector<std::string_view> split_white_space(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    // Most text is letters; U+0085 and later spaces begin with these bytes.
    const bool may_be_space = byte <= 0x20 || byte == 0xC2 || (byte >= 0xE1 && byte <= 0xE3);
    const size_t space = may_be_space ? white_space_bytes(text.substr(at)) : 0;
    if (space == 0) {
      ++at;
      continue;
    }
    if (at > begin) words.push_back(text.substr(begin, at - begin));
    at += space;
    begin = at;
  }
  if (text.size() > begin) words.push_back(text.substr(begin));
  return words;
}

std::vector<std::string_view> split_single_spaces(std::string_view text) {
  std::vector<std::string_view> pieces;
  size_t begin = 0;
  for (size_t space = text.find(' '); space != std::string_view::npos; space = text.find(' ', begin)) {
    pieces.push_back(text.substr(begin, space - begin));
    begin = space + 1;
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

}  // namespace clipcap
