#include "tensor/io/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/check.h"

namespace clipcap {

using nlohmann::json;

namespace {

constexpr int kDeepest = 64;

// The deepest nesting, from the raw text of a file without comments. The parser's callback could tell too,
// but costs time in proportion to the square of a long list.
int nesting(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size() && deepest < kDeepest; ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

json parse_json(std::string_view text, const std::string& where, bool comments) {
  const auto check = [&](int depth) {
    CHECK_INPUT(depth < kDeepest, where, ": JSON nested deeper than ", kDeepest, " levels");
    return true;
  };
  json::parser_callback_t guard = nullptr;
  if (comments) {
    guard = [&](int depth, json::parse_event_t, json&) { return check(depth); };
  } else {
    check(nesting(text));
  }
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
