// The little of Unicode that CLIP's tokenizer needs: UTF-8, classes of characters, lower
// case. The tables are those of the reference's libraries (Python's str and its `regex`
// package), see tools/fixtures/make_unicode_tables.py.
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

/// The characters of a UTF-8 text. Bytes that are not UTF-8 become U+FFFD, one for every longest beginning of
/// a valid sequence, as Python's decode(errors="replace") does; surrogates and overlong forms are not UTF-8.
[[nodiscard]] std::u32string decode_utf8(std::string_view bytes);
/// `c` must be at most U+10FFFF.
void append_utf8(std::string& bytes, char32_t c);
[[nodiscard]] std::string encode_utf8(std::u32string_view text);

[[nodiscard]] bool is_letter(char32_t c);  ///< \p{L}
[[nodiscard]] bool is_number(
    char32_t c);  ///< \p{N}: digits, but also fractions, Roman numerals, circled numbers
[[nodiscard]] bool is_space(char32_t c);  ///< \s of the `regex` package
/// Python's str.isspace(), which counts U+001C..U+001F too.
[[nodiscard]] bool is_python_space(char32_t c);

/// Python's str.lower(): the whole of Unicode; U+0130 becomes two characters, a capital sigma that ends a
/// word the final small one.
[[nodiscard]] std::u32string lower_case(std::u32string_view text);

}  // namespace clipcap
