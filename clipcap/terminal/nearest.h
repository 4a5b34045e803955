// The known name that a mistyped one stands for.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace clipcap {

/// Insertions, deletions, substitutions and exchanges of neighbours that lead from one word to the other.
[[nodiscard]] size_t edit_distance(std::string_view a, std::string_view b);

/// The name nearest to `typed`, letter case and the difference between - and _ aside; "" where none of them is
/// near. Among equals the first.
[[nodiscard]] std::string nearest_name(std::string_view typed, std::span<const std::string> names);

}  // namespace clipcap
