// Files as people have them: every use in ../shared/cases/files/expected.json, through the program. Its README
// says what each kind must give. One kind alone: the option -c "WebP pictures" of the test program.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/program.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One use of a file: where it runs, what it wrote.
class Use {
 public:
  explicit Use(const fs::path& cases) : cases_(cases) {}

  Ran run(const std::string& path, std::string command) {
    const fs::path data = scratch_.path() / "data";
    if (command.find("{data}") != std::string::npos) lay_out(data, path);
    features_ = scratch_.path() / "features.safetensors";
    replace(command, "{data}", data.string());
    replace(command, "{out}", features_.string());
    return run_program(
        split_command(command),
        {.folder = cases_, .environment = {"CLIPCAP_CACHE=" + (scratch_.path() / "cache").string()}});
  }
  [[nodiscard]] const fs::path& features() const { return features_; }

 private:
  static void replace(std::string& text, const std::string& from, const std::string& to) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
  }
  void lay_out(const fs::path& data, const std::string& path) const {
    fs::create_directories(data);
    fs::copy(cases_ / path, data / path, fs::copy_options::recursive);
    const json videos{{"videos", {{{"video_id", "clip"}, {"file", path}}}}, {"sentences", json::array()}};
    std::ofstream(data / "videodatainfo.json") << videos;
  }

  fs::path cases_;
  TemporaryFolder scratch_{"case-files"};
  fs::path features_;
};

double relative_error(const std::vector<double>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += (found[i] - expected[i]) * (found[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(error / size);
}

// What is wrong with the features of `encode --json`; "" when nothing is.
std::string wrong_features(const Ran& ran, const json& expected, double tolerance) {
  if (ran.code != 0) return "exit " + std::to_string(ran.code);
  const json found = json::parse(ran.out, nullptr, false);
  if (found.is_discarded()) return "stdout is no JSON document";
  for (const auto& [tower, rows] : expected.items()) {
    if (!found.contains(tower) || found[tower].size() != rows.size()) return "not as many rows of " + tower;
    for (size_t row = 0; row < rows.size(); ++row) {
      const double error =
          relative_error(found[tower][row].get<std::vector<double>>(), rows[row].get<std::vector<double>>());
      if (!(error <= tolerance))
        return tower + " row " + std::to_string(row) + " is off by " + std::to_string(error);
    }
  }
  return "";
}

// The number that a barcode frame shows (barcode.py): eight bits and one that makes the sum odd; -1: none.
int barcode_number(const float* squares) {
  int number = 0, light = 0;
  for (int i = 0; i < 9; ++i) {
    if (!(std::fabs(squares[i]) > 0.5F)) return -1;
    light += squares[i] > 0 ? 1 : 0;
    if (i < 8) number = 2 * number + (squares[i] > 0 ? 1 : 0);
  }
  return light % 2 == 1 ? number : -1;
}

// The numbers in the feature file of one clip, read by hand: as a script of a user would.
std::vector<int> barcode_numbers(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  uint64_t length = 0;
  REQUIRE(bytes.size() > sizeof length);
  std::memcpy(&length, bytes.data(), sizeof length);
  const json header = json::parse(bytes.substr(sizeof length, length));
  std::vector<int> numbers;
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    REQUIRE(tensor["dtype"] == "F32");
    REQUIRE(tensor["shape"][1] == 9);
    std::vector<float> values(tensor["shape"][0].get<size_t>() * 9);
    const size_t begin = sizeof length + length + tensor["data_offsets"][0].get<size_t>();
    REQUIRE(begin + values.size() * sizeof(float) <= bytes.size());
    std::memcpy(values.data(), bytes.data() + begin, values.size() * sizeof(float));
    for (size_t row = 0; row < values.size(); row += 9) numbers.push_back(barcode_number(&values[row]));
  }
  return numbers;
}

std::string wrong_frames(const Ran& ran, const fs::path& features, const std::vector<int>& expected) {
  if (ran.code != 0) return "exit " + std::to_string(ran.code);
  const std::vector<int> found = barcode_numbers(features);
  return found == expected ? "" : "the frames are " + json(found).dump();
}

std::string wrong_refusal(const Ran& ran, const std::string& path, const json& expected) {
  if (ran.code != 2) return "exit " + std::to_string(ran.code) + ", not 2";
  std::string line = last_line(ran.err);
  const std::string name = fs::path(path).filename().string();
  if (line.find(name) == std::string::npos &&
      line.find(fs::path(path).parent_path().string()) == std::string::npos)
    return "the file is not named";
  // The file's own name does not count as a word.
  for (const std::string& own : {path, name})
    for (size_t at = line.find(own); at != std::string::npos; at = line.find(own)) line.erase(at, own.size());
  const std::string word = expected["refused"];
  if (!matches(line, word)) return "does not say " + word;
  if (expected.contains("not") && matches(line, expected["not"].get<std::string>()))
    return "says a wrong reason";
  return "";
}

std::string wrong(const Ran& ran, const fs::path& features, const json& entry, const json& expected) {
  const std::string path = entry["path"];
  if (expected.contains("any")) {
    std::string reasons;
    for (const json& one : expected["any"]) {
      const std::string reason = wrong(ran, features, entry, one);
      if (reason.empty()) return "";
      reasons += (reasons.empty() ? "" : "; or ") + reason;
    }
    return reasons;
  }
  if (expected.contains("refused")) return wrong_refusal(ran, path, expected);
  if (expected.contains("frames"))
    return wrong_frames(ran, features, expected["frames"].get<std::vector<int>>());
  return wrong_features(ran, expected["features"], entry.value("tolerance", 2e-5));
}

}  // namespace

TEST_CASE("case files: every use gives what it must", "[case_files][needs_shared]") {
  const fs::path cases = shared_data() / "cases" / "files";
  if (!fs::exists(cases / "expected.json")) SKIP_TEST("no ../shared/cases/files");
  const json entries = json::parse(std::ifstream(cases / "expected.json"));
  REQUIRE(entries.size() > 50);
  for (const json& entry : entries) {
    const std::string path = entry["path"], command = entry["command"];
    DYNAMIC_SECTION(entry["kind"].get<std::string>()) {
      DYNAMIC_SECTION(path << " " << (command.find("linspace") != std::string::npos ? "linspace" : "")) {
        Use use(cases);
        const Ran ran = use.run(path, command);
        json expected = entry["expect"];
        if (expected.contains("equals")) {
          std::string plain = command;
          const std::string other = expected["equals"];
          plain.replace(plain.find(path), path.size(), other);
          const Ran equal = Use(cases).run(other, plain);
          REQUIRE(equal.code == 0);
          const json features = json::parse(equal.out);
          expected = {{"features", {{"image", features["image"]}}}};
          if (features.contains("text")) expected["features"]["text"] = features["text"];
        }
        INFO("clipcap " << command << "\nstderr: " << ran.err);
        CHECK(wrong(ran, use.features(), entry, expected) == "");
      }
    }
  }
}

}  // namespace clipcap::testing
