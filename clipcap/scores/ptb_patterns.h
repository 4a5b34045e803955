// The kinds of token that the PTB tokenizer knows. For ptb_tokenizer.cpp.
#pragma once

#include <cstddef>
#include <string_view>

namespace clipcap::ptb {

/// A character of words: letters of any script, digits of others than ASCII's, marks on letters.
[[nodiscard]] bool is_letter(char32_t c);
/// A symbol that is a token on its own.
[[nodiscard]] bool is_symbol(char32_t c);
[[nodiscard]] inline bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
[[nodiscard]] inline bool is_latin(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
/// ' and the typographic one.
[[nodiscard]] inline bool is_apostrophe(char32_t c) { return c == '\'' || c == 0x2019; }
/// What is taken for one inside a word too.
[[nodiscard]] inline bool is_inner_apostrophe(char32_t c) {
  return is_apostrophe(c) || c == '`' || c == 0x2018;
}

/// ` and the typographic quotes: two in a row are one token.
[[nodiscard]] bool is_curly_quote(char32_t c);

/// What stands for "<" and ">" written as &lt; and &gt;: those never make a tag.
inline constexpr char32_t kEscapedLess = 0xE000;
inline constexpr char32_t kEscapedMore = 0xE001;

/// The longest token that begins at text[at], 0 where none does: a character to leave out. White space is no
/// token.
[[nodiscard]] size_t longest_token(std::u32string_view text, size_t at);

}  // namespace clipcap::ptb
