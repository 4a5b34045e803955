#include "tests/tools/training_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "tests/catch.h"

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct F32Tensor {
  std::string name;
  size_t begin, end;  // bytes of the file
};

// Read by hand, so that what the program refuses to read can still be looked at.
std::vector<F32Tensor> f32_tensors(const std::string& bytes) {
  uint64_t length = 0;
  REQUIRE(bytes.size() > sizeof length);
  std::memcpy(&length, bytes.data(), sizeof length);
  const json header = json::parse(bytes.substr(sizeof length, length));
  std::vector<F32Tensor> result;
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__" || tensor["dtype"] != "F32") continue;
    const size_t data = sizeof length + length;
    result.push_back({name, data + tensor["data_offsets"][0].get<size_t>(),
                      data + tensor["data_offsets"][1].get<size_t>()});
    REQUIRE(result.back().end <= bytes.size());
  }
  return result;
}

}  // namespace

fs::path training_cases() { return fs::weakly_canonical(shared_data() / "cases" / "training"); }

std::vector<json> cases_of(const std::string& kind) {
  const json document = json::parse(std::ifstream(training_cases() / "expected.json"));
  std::vector<json> result;
  for (const json& entry : document["cases"])
    if (entry["kind"] == kind) result.push_back(entry);
  REQUIRE(!result.empty());
  return result;
}

TrainingCase::TrainingCase(json entry) : entry_(std::move(entry)) {}

std::string TrainingCase::data(const std::string& name) const {
  return (training_cases() / (name.empty() ? entry_["data"].get<std::string>() : name)).string();
}

std::vector<std::string> TrainingCase::arguments(const std::string& data, const fs::path& out,
                                                 const std::vector<std::string>& set,
                                                 const std::vector<std::string>& flags) const {
  std::vector<std::string> words{"train",
                                 "--config",
                                 (training_cases() / "tiny.json").string(),
                                 "--data",
                                 data,
                                 "--out",
                                 out.string(),
                                 "--set",
                                 "train.eval_every=0",
                                 "--set",
                                 "train.steps=20"};
  const auto add = [&](const std::string& assignment) {
    words.emplace_back("--set");
    words.push_back(assignment);
  };
  if (entry_.contains("set") && entry_["set"].is_array())
    for (const json& assignment : entry_["set"]) add(assignment);
  for (const std::string& assignment : set) add(assignment);
  words.insert(words.end(), flags.begin(), flags.end());
  return words;
}

RunOptions TrainingCase::options() const {
  return {.folder = scratch_.path(), .environment = {"CLIPCAP_CACHE=" + at("cache").string()}};
}

Ran TrainingCase::train(const std::string& data, const fs::path& out, const std::vector<std::string>& set,
                        const std::vector<std::string>& flags) const {
  return run_program(arguments(data, out, set, flags), options());
}

Ran TrainingCase::caption(const fs::path& model, const std::string& input,
                          const std::vector<std::string>& flags) const {
  std::vector<std::string> words{"caption", "--model", model.string(), input};
  words.insert(words.end(), flags.begin(), flags.end());
  return run_program(words, options());
}

void check_refused(const Ran& ran, const json& entry) {
  INFO("stderr: " << ran.err);
  CHECK(ran.code == 2);
  if (!entry.contains("names")) return;
  for (const json& name : entry["names"]) {
    INFO("names " << name);
    CHECK(matches(last_line(ran.err), name.get<std::string>()));
  }
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> names;
  if (!fs::exists(folder)) return names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) names.push_back(fs::relative(entry.path(), folder).string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string first_nonfinite(const fs::path& file) {
  const std::string bytes = file_bytes(file);
  for (const F32Tensor& tensor : f32_tensors(bytes)) {
    for (size_t at = tensor.begin; at < tensor.end; at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      if (!std::isfinite(value))
        return tensor.name + "[" + std::to_string((at - tensor.begin) / sizeof value) + "]";
    }
  }
  return "";
}

std::string first_nonfinite_below(const fs::path& folder) {
  for (const std::string& name : files_below(folder)) {
    if (fs::path(name).extension() != ".safetensors") continue;
    const std::string found = first_nonfinite(folder / name);
    if (!found.empty()) return name + ": " + found;
  }
  return "";
}

int poison(const fs::path& file, const std::string& part) {
  std::string bytes = file_bytes(file);
  int count = 0;
  for (const F32Tensor& tensor : f32_tensors(bytes)) {
    if (tensor.name.find(part) == std::string::npos) continue;
    ++count;
    for (size_t at = tensor.begin; at < tensor.end; at += sizeof(float)) {
      const float value = std::numeric_limits<float>::quiet_NaN();
      std::memcpy(bytes.data() + at, &value, sizeof value);
    }
  }
  std::ofstream(file, std::ios::binary) << bytes;
  return count;
}

std::string file_bytes(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  REQUIRE(stream.good());
  return {std::istreambuf_iterator<char>(stream), {}};
}

bool same_bytes(const fs::path& a, const fs::path& b) { return file_bytes(a) == file_bytes(b); }

}  // namespace clipcap::testing
