// Text from files and file names, made harmless for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace clipcap {

/// The text with everything escaped that a terminal would act on or that would break or reorder its line:
/// \t \n \r, the other C0 and C1 controls and DEL as \x1b, line separators and direction marks of Unicode as
/// \u202e, and bytes that are not UTF-8 as \xff. A backslash stays as it is.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace clipcap
