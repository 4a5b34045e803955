#include "clipcap/training/metrics_file.h"

#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {

using nlohmann::json;

MetricsFile::MetricsFile(const std::filesystem::path& path, int64_t step) : path_(path) {
  std::string kept;
  if (step > 0) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      const json parsed = json::parse(line, nullptr, false);
      if (parsed.is_object() && parsed.contains("step") && parsed["step"].is_number_integer() &&
          parsed["step"] <= step) {
        kept += line + "\n";
        if (parsed["step"] == step && parsed.contains("eval_split")) evaluated_ = true;
      }
    }
  }
  write_text_file(path, kept);
  out_.open(path, std::ios::app);
}

void MetricsFile::append(const json& line) {
  out_ << line.dump(-1, ' ', false, json::error_handler_t::replace) << '\n' << std::flush;
  CHECK(out_.good(), path_.string(), ": cannot be written");
}

}  // namespace clipcap
