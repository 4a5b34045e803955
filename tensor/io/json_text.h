// JSON from files. What nlohmann's parser builds is copied, compared and printed recursively, so a file of
// brackets would overflow the stack: nesting is bounded while it is read.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace clipcap {

/// `where` (the file's name) begins the InputError of what is no JSON or nests deeper than 64 levels.
/// `comments`: // and /* */ are allowed.
[[nodiscard]] nlohmann::json parse_json(std::string_view text, const std::string& where,
                                        bool comments = false);

/// A value for a message: its JSON, cut after some sixty characters.
[[nodiscard]] std::string shown(const nlohmann::json& value);

}  // namespace clipcap
