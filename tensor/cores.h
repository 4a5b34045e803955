// How many processors this process may use.
#pragma once

namespace clipcap {

/// Cores of the affinity mask, and no more than the quotas of the control groups that hold the process allow
/// (containers; rounded up). At least 1.
[[nodiscard]] int available_cores();

namespace detail {
/// The cores that a quota of `cpu.max` ("200000 100000", "max 100000") allows; 0: no limit, or no such text.
[[nodiscard]] int cores_of_quota(const char* text);
}  // namespace detail

}  // namespace clipcap
