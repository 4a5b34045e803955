// What a resumed run's configuration may change, and what it may not.
#pragma once

#include <string>
#include <vector>

#include "clipcap/config/config.h"

namespace clipcap {

struct ChangedKey {
  std::string key;
  std::string before;  // JSON; "nothing" where the key has no place in that configuration
  std::string now;
  /// Whether a run can go on with the new value: how it is driven (lr, steps, batch, weights of the losses,
  /// intervals, files and splits), not what is computed (model.*, sampling, seed, the encoder, what the
  /// optimizer holds moments of).
  bool may_change = false;
};

/// The keys whose values differ, in alphabetical order.
[[nodiscard]] std::vector<ChangedKey> changed_keys(const Config& before, const Config& now);

}  // namespace clipcap
