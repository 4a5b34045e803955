// Character references of HTML 5 (&amp; &#39; &eacute), replaced by exactly the rules of Python's
// html.unescape, which CLIP's reference tokenizer applies to every text.
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

/// Named references with and without semicolon (the longest known name that begins the word), decimal and
/// hexadecimal ones; numbers that are no character become U+FFFD or vanish as HTML's table says.
[[nodiscard]] std::u32string unescape_html(std::u32string_view text);

}  // namespace clipcap
