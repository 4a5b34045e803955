// Unicode's normalisation form C: letters and the marks behind them put together ("e" and an acute
// accent are "é"), marks in their canonical order. Reference: Unicode Standard Annex 15; tables
// from Python's unicodedata.
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

[[nodiscard]] std::u32string normalize_nfc(std::u32string_view text);

/// Full-width Latin and half-width Katakana and Hangul in their usual width, the ideographic space a space.
[[nodiscard]] std::u32string usual_widths(std::u32string_view text);

}  // namespace clipcap
