#include "clipcap/text/unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace clipcap {

namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Capitals first, first + step, ..., last have their small letter at the same distance.
struct LowerRun {
  char32_t first;
  char32_t last;
  uint32_t step;
  int32_t distance;
};

#include "clipcap/text/unicode_tables.inc"

// The entry of a sorted table that holds `c`, or nullptr.
template <class Entry, size_t count>
const Entry* find(const Entry (&table)[count], char32_t c) {
  const Entry* entry =
      std::lower_bound(std::begin(table), std::end(table), c,
                       [](const Entry& candidate, char32_t value) { return candidate.last < value; });
  return entry != std::end(table) && entry->first <= c ? entry : nullptr;
}

char32_t lower_letter(char32_t c) {
  if (c < 128) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const LowerRun* run = find(kLower, c);
  if (run == nullptr || (c - run->first) % run->step != 0) return c;
  return static_cast<char32_t>(static_cast<int32_t>(c) + run->distance);
}

constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kSmallSigma = 0x3C3;
constexpr char32_t kFinalSigma = 0x3C2;
constexpr char32_t kCapitalDottedI = 0x130;

// Unicode's Final_Sigma: a letter before, none after, marks and the like passed over. A text may be nothing
// but sigmas and marks, so `cased_before` is carried along instead of searching back; `next_cased` searches
// forward once per gap.
class SigmaContext {
 public:
  explicit SigmaContext(std::u32string_view text) : text_(text) {}

  [[nodiscard]] bool is_final(size_t at) {
    for (; behind_ < at; ++behind_) {
      if (find(kCaseIgnorable, text_[behind_]) == nullptr)
        cased_before_ = find(kCased, text_[behind_]) != nullptr;
    }
    ahead_ = std::max(ahead_, at + 1);
    while (ahead_ < text_.size() && find(kCaseIgnorable, text_[ahead_]) != nullptr) ++ahead_;
    return cased_before_ && (ahead_ == text_.size() || find(kCased, text_[ahead_]) == nullptr);
  }

 private:
  std::u32string_view text_;
  size_t behind_ = 0;  // characters taken into cased_before_
  size_t ahead_ = 0;   // the first character behind the sigma that is not passed over
  bool cased_before_ = false;
};

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string text;
  text.reserve(bytes.size());
  const auto byte = [&](size_t at) { return at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : 0U; };
  for (size_t i = 0; i < bytes.size();) {
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      text += static_cast<char32_t>(lead);
      ++i;
      continue;
    }
    const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                          : lead >= 0xE0 && lead <= 0xEF ? 3
                          : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                         : 0;
    if (length == 0) {
      text += kReplacementCharacter;
      ++i;
      continue;
    }
    // The second byte's bounds exclude overlong forms, surrogates and what lies above U+10FFFF.
    unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    char32_t c = lead & (0x7FU >> length);
    size_t taken = 1;
    for (; taken < length && byte(i + taken) >= low && byte(i + taken) <= high; ++taken) {
      c = c << 6U | (byte(i + taken) & 0x3FU);
      low = 0x80;
      high = 0xBF;
    }
    text += taken == length ? c : kReplacementCharacter;
    i += taken;
  }
  return text;
}

void append_utf8(std::string& bytes, char32_t c) {
  const auto add = [&](char32_t value) { bytes += static_cast<char>(static_cast<uint8_t>(value)); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | c >> 6U);
    add(0x80 | (c & 0x3FU));
  } else if (c < 0x10000) {
    add(0xE0 | c >> 12U);
    add(0x80 | (c >> 6U & 0x3FU));
    add(0x80 | (c & 0x3FU));
  } else {
    add(0xF0 | c >> 18U);
    add(0x80 | (c >> 12U & 0x3FU));
    add(0x80 | (c >> 6U & 0x3FU));
    add(0x80 | (c & 0x3FU));
  }
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) append_utf8(bytes, c);
  return bytes;
}

bool is_letter(char32_t c) {
  if (c < 128) return (c | 32U) >= 'a' && (c | 32U) <= 'z';
  return find(kLetters, c) != nullptr;
}

bool is_number(char32_t c) {
  if (c < 128) return c >= '0' && c <= '9';
  return find(kNumbers, c) != nullptr;
}

bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_python_space(char32_t c) { return is_space(c) || (c >= 0x1C && c <= 0x1F); }

std::u32string lower_case(std::u32string_view text) {
  std::u32string lower;
  lower.reserve(text.size());
  SigmaContext context(text);
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == kCapitalSigma) {
      lower += context.is_final(i) ? kFinalSigma : kSmallSigma;
    } else if (c == kCapitalDottedI) {
      lower += U"i\u0307";
    } else {
      lower += lower_letter(c);
    }
  }
  return lower;
}

}  // namespace clipcap
