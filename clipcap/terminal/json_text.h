// JSON as it is printed.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace clipcap {

/// A document as text: control characters escaped, also those that JSON does not ask for; bytes that are not
/// UTF-8 replaced. `indent` < 0: on one line.
[[nodiscard]] std::string json_text(const nlohmann::json& document, int indent = -1);

}  // namespace clipcap
