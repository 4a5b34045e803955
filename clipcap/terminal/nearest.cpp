#include "clipcap/terminal/nearest.h"

#include <algorithm>
#include <vector>

namespace clipcap {
namespace {

constexpr size_t kLongest = 64;  // of what is compared: distances take time in proportion to both lengths

std::string folded(std::string_view text) {
  std::string out(text.substr(0, kLongest));
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (c == '_') c = '-';
  }
  return out;
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> above(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

std::string nearest_name(std::string_view typed, std::span<const std::string> names) {
  const std::string wanted = folded(typed);
  std::string best;
  size_t least = std::max<size_t>(2, wanted.size() / 3) + 1;
  for (const std::string& name : names) {
    size_t distance = edit_distance(wanted, folded(name));
    // What was typed only in part is nearer than what was typed wrongly.
    if (wanted.size() >= 2 && folded(name).starts_with(wanted)) distance = std::min<size_t>(distance, 1);
    if (distance < least) {
      least = distance;
      best = name;
    }
  }
  return best;
}

}  // namespace clipcap
