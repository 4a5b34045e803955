// What ftfy.fix_text (version 6) does to a text before CLIP's tokenizer sees it, without its guessing of
// wrong encodings: text that was decoded with the wrong character set ("schÃ¶n") stays as it is, which is the
// one known difference from the reference.
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

/// Line by line, again and again until nothing changes: character references (in lines without <), C1
/// controls read as Windows-1252, Latin ligatures, full and half width, curly quotes, line breaks, terminal
/// colours, control characters, normalisation form C.
[[nodiscard]] std::u32string repair_text(std::u32string_view text);

}  // namespace clipcap
