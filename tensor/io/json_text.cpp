#include "tensor/io/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/check.h"

namespace clipcap {

using nlohmann::json;

json parse_json(std::string_view text, const std::string& where, bool comments) {
  constexpr int kDeepest = 64;
  const json::parser_callback_t guard = [&](int depth, json::parse_event_t, json&) {
    CHECK_INPUT(depth < kDeepest, where, ": JSON nested deeper than ", kDeepest, " levels");
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), guard, true, comments);
  } catch (const json::parse_error& error) {
    const auto upto = static_cast<std::ptrdiff_t>(std::min(text.size(), error.byte));
    fail_input(where, ": line ", 1 + std::count(text.begin(), text.begin() + upto, '\n'), " (byte ", upto,
               "): not valid JSON");
  } catch (const json::exception&) {
    fail_input(where, ": not valid JSON (a number is out of range)");
  }
}

std::string shown(const json& value) {
  constexpr size_t kLongest = 60;
  const std::string text = value.dump();
  return text.size() > kLongest ? text.substr(0, kLongest) + "…" : text;
}

}  // namespace clipcap
