// CLIP's first step from a cleaned text to tokens: words, single digits, runs of anything else. Byte pairs
// are merged inside these pieces only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace clipcap {

/// The matches, left to right, of
///     special... | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
/// without regard to case. `text` is in lower case, so are `specials`. Views into `text`.
[[nodiscard]] std::vector<std::u32string_view> split_words(std::u32string_view text,
                                                           std::span<const std::u32string> specials);

/// CLIP's alphabet: every byte as a printable character, so that vocabularies are text files. Bytes that are
/// printable Latin-1 stand for themselves, the other 68 are U+0100 onwards.
/// Reference: bytes_to_unicode in clip/simple_tokenizer.py.
struct ByteAlphabet {
  char32_t character[256];  // by byte
  uint8_t order[256];       // bytes in the order of their ids: the printable ones first
  /// The byte that `c` stands for, or -1.
  [[nodiscard]] int byte(char32_t c) const;
};
[[nodiscard]] const ByteAlphabet& byte_alphabet();

}  // namespace clipcap
