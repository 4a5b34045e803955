#include "clipcap/text/text_cleaning.h"

#include "clipcap/text/html_entities.h"
#include "clipcap/text/text_repair.h"
#include "clipcap/text/unicode.h"

namespace clipcap {

namespace {

std::u32string_view strip(std::u32string_view text) {
  while (!text.empty() && is_python_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_python_space(text.back())) text.remove_suffix(1);
  return text;
}

std::u32string collapse_spaces(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  bool in_space = false;
  for (const char32_t c : text) {
    if (!is_space(c)) {
      out += c;
    } else if (!in_space) {
      out += U' ';
    }
    in_space = is_space(c);
  }
  return out;
}

}  // namespace

std::u32string clean_text(std::string_view utf8, bool repair) {
  std::u32string text = decode_utf8(utf8);
  if (repair) text = repair_text(text);
  text = unescape_html(unescape_html(text));  // twice, because scraped captions often hold &amp;amp;
  const std::u32string collapsed = collapse_spaces(strip(text));
  return lower_case(strip(collapsed));
}

}  // namespace clipcap
