// A text as CLIP's tokenizer wants it: character references replaced, white space collapsed, lower case.
// Reference: openai/CLIP clip/simple_tokenizer.py (basic_clean, whitespace_clean).
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

/// Input is UTF-8; bytes that are not become U+FFFD. With `repair` first text_repair.h; then html.unescape
/// twice, strip, every run of white space one space, lower case.
[[nodiscard]] std::u32string clean_text(std::string_view utf8, bool repair);

}  // namespace clipcap
