// Character references of HTML 5 (&amp; &#39; &eacute), replaced by exactly the rules of Python's
// html.unescape, which CLIP's reference tokenizer applies to every text.
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

/// Named references with and without semicolon (the longest known name that begins the word), decimal and
/// hexadecimal ones; numbers that are no character become U+FFFD or vanish as HTML's table says.
[[nodiscard]] std::u32string unescape_html(std::u32string_view text);

/// Only what can be nothing else: references with a semicolon, names of up to 24 letters and
/// digits. Names all in capitals (&EACUTE;) stand for capitals where HTML does not know them. The
/// rules of ftfy's unescape_html.
[[nodiscard]] std::u32string unescape_certain_html(std::u32string_view text);

/// What a C1 control character (0x80 to 0x9F) stands for in Windows-1252; other characters are returned as
/// they are.
[[nodiscard]] char32_t windows_1252(char32_t c);

}  // namespace clipcap
