// Large JSON files whose content is {"key": [element, …], …}, one element at a time: MSR-VTT's annotations
// and Video2Commonsense's captions. A whole parsed file takes ten times its bytes.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace clipcap {

struct JsonListHandler {
  /// A list begins under a key of the root: whether its elements are wanted.
  std::function<bool(const std::string& key)> list;
  std::function<void(const std::string& key, size_t index, const nlohmann::json& element)> element;
  /// Another value under a key of the root, by the name of its type.
  std::function<void(const std::string& key, const char* type)> other;
};

/// InputError names the file and the place of what is no JSON, nests deeper than 64 levels or has another
/// root than an object (`expected`: "an object of videos"). Handlers may throw.
void read_json_lists(const std::filesystem::path& path, const std::string& expected,
                     const JsonListHandler& handler);

}  // namespace clipcap
