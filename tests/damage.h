// Damaged copies of a file for the tests of its reader: truncated, or with some bytes replaced.
#pragma once

#include <random>
#include <string>

namespace clipcap {

/// The `variant`-th damaged copy: every third one is cut short, the others have 1 to 8 bytes replaced.
inline std::string damaged(const std::string& whole, unsigned variant) {
  std::mt19937 random(variant + 1);
  const auto below = [&](size_t limit) { return static_cast<size_t>(random()) % limit; };
  if (variant % 3 == 0) return whole.substr(0, below(whole.size()));
  std::string bytes = whole;
  for (size_t n = 1 + below(8); n > 0; --n) {
    // Headers are short and matter most: half of the changes go there.
    const size_t at = below(2) == 0 ? below(bytes.size()) : below(std::min<size_t>(bytes.size(), 512));
    static const std::string telling = std::string("\0\xff\x7f\x80{}[]\",:-9", 13);
    bytes[at] = below(2) == 0 ? telling[below(telling.size())] : static_cast<char>(below(256));
  }
  return bytes;
}

}  // namespace clipcap
