#include "clipcap/text/normalization.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <unordered_map>

namespace clipcap {

namespace {

struct CombiningClass {
  char32_t first;
  char32_t last;
  int number;
};

struct Decomposition {
  char32_t whole;
  char32_t first;
  char32_t second;  // 0: there is only one part
};

struct Mapping {
  char32_t from;
  char32_t to;
};

#include "clipcap/text/normalization_tables.inc"

// Hangul syllables are numbered by their parts: 19 leading consonants x 21 vowels x 28 trailing ones or none.
constexpr char32_t kLeading = 0x1100;
constexpr char32_t kVowel = 0x1161;
constexpr char32_t kTrailing = 0x11A7;  // one before the first: 0 is none
constexpr char32_t kSyllable = 0xAC00;
constexpr char32_t kLeadingCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTrailingCount = 28;
constexpr char32_t kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

int combining_class(char32_t c) {
  if (c < 0x300) return 0;
  const auto* entry =
      std::lower_bound(std::begin(kCombiningClasses), std::end(kCombiningClasses), c,
                       [](const CombiningClass& entry, char32_t value) { return entry.last < value; });
  return entry != std::end(kCombiningClasses) && entry->first <= c ? entry->number : 0;
}

template <size_t count>
const Decomposition* find(const Decomposition (&table)[count], char32_t c) {
  const auto* entry =
      std::lower_bound(std::begin(table), std::end(table), c,
                       [](const Decomposition& entry, char32_t value) { return entry.whole < value; });
  return entry != std::end(table) && entry->whole == c ? entry : nullptr;
}

// Parts may have parts themselves, a few steps deep.
void decompose(char32_t c, std::u32string& out) {
  if (c < 0xC0) {
    out += c;
    return;
  }
  if (c >= kSyllable && c < kSyllable + kSyllableCount) {
    const char32_t index = c - kSyllable;
    out += kLeading + index / (kVowelCount * kTrailingCount);
    out += kVowel + index / kTrailingCount % kVowelCount;
    if (index % kTrailingCount != 0) out += kTrailing + index % kTrailingCount;
    return;
  }
  const Decomposition* parts = find(kComposing, c);
  if (parts == nullptr) parts = find(kOnlyDecomposing, c);
  if (parts == nullptr) {
    out += c;
    return;
  }
  decompose(parts->first, out);
  if (parts->second != 0) decompose(parts->second, out);
}

void order_marks(std::u32string& text) {
  for (size_t i = 0; i < text.size();) {
    if (combining_class(text[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(i),
                     text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

// The character that the two are together, or 0.
char32_t composed(char32_t first, char32_t second) {
  if (first >= kLeading && first < kLeading + kLeadingCount && second >= kVowel &&
      second < kVowel + kVowelCount) {
    return kSyllable + ((first - kLeading) * kVowelCount + (second - kVowel)) * kTrailingCount;
  }
  if (first >= kSyllable && first < kSyllable + kSyllableCount && (first - kSyllable) % kTrailingCount == 0 &&
      second > kTrailing && second < kTrailing + kTrailingCount) {
    return first + (second - kTrailing);
  }
  static const std::unordered_map<uint64_t, char32_t> pairs = [] {
    std::unordered_map<uint64_t, char32_t> made;
    for (const Decomposition& entry : kComposing)
      made.emplace(static_cast<uint64_t>(entry.first) << 32U | entry.second, entry.whole);
    return made;
  }();
  const auto found = pairs.find(static_cast<uint64_t>(first) << 32U | second);
  return found != pairs.end() ? found->second : 0;
}

// A mark joins the last starter (class 0) unless something between the two has the same or a higher class.
std::u32string compose(const std::u32string& text) {
  std::u32string out;
  size_t starter = std::u32string::npos;
  int last_class = 0;  // of the last character kept behind the starter
  for (const char32_t c : text) {
    const int own_class = combining_class(c);
    if (starter != std::u32string::npos && (starter + 1 == out.size() || last_class < own_class)) {
      if (const char32_t whole = composed(out[starter], c); whole != 0) {
        out[starter] = whole;
        continue;
      }
    }
    if (own_class == 0) starter = out.size();
    last_class = own_class;
    out += c;
  }
  return out;
}

}  // namespace

std::u32string normalize_nfc(std::u32string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x300; }))
    return std::u32string(text);
  std::u32string parts;
  parts.reserve(text.size());
  for (const char32_t c : text) decompose(c, parts);
  order_marks(parts);
  return compose(parts);
}

std::u32string usual_widths(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c == 0x3000) {
      out += U' ';
    } else if (c == 0xFFE3) {
      out += U" \u0304";
    } else {
      const auto* entry =
          std::lower_bound(std::begin(kWidths), std::end(kWidths), c,
                           [](const Mapping& entry, char32_t value) { return entry.from < value; });
      out += entry != std::end(kWidths) && entry->from == c ? entry->to : c;
    }
  }
  return out;
}

}  // namespace clipcap
