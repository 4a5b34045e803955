// metrics.jsonl: one JSON object a line, each with the step that it belongs to.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>

namespace clipcap {

class MetricsFile {
 public:
  /// Opens the file for appending. Lines of steps after `step`, which a resumed run does again, are dropped;
  /// a fresh run (step 0) begins an empty file. A last line that was cut off is dropped too.
  MetricsFile(const std::filesystem::path& path, int64_t step);
  /// Whether the evaluation of the step that it was opened at is in the file.
  [[nodiscard]] bool evaluated() const { return evaluated_; }
  /// Writes one line, at once. Error when the disk does not take it.
  void append(const nlohmann::json& line);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
  bool evaluated_ = false;
};

}  // namespace clipcap
