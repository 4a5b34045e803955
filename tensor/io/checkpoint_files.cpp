#include "tensor/io/checkpoint_files.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/problem_list.h"

namespace clipcap {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMostParts = 1000;
constexpr size_t kMostIndexBytes = 16U << 20U;
constexpr const char* kIndexEnding = ".index.json";
constexpr const char* kEndings[] = {".safetensors", ".bin", ".pt", ".pth", ".ckpt"};

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// "model-00001-of-00003.safetensors" in its pieces.
struct PartName {
  std::string stem;    // "model"
  char joint = '-';    // between stem and number
  size_t width = 0;    // digits of a number
  size_t number = 0;   // from 1 on
  size_t count = 0;    // of all parts
  std::string ending;  // ".safetensors"
  [[nodiscard]] std::string name(size_t which) const {
    const auto padded = [&](size_t value) {
      const std::string digits = std::to_string(value);
      return std::string(width > digits.size() ? width - digits.size() : 0, '0') + digits;
    };
    return stem + joint + padded(which) + "-of-" + padded(count) + ending;
  }
};

std::optional<PartName> parse_part_name(const std::string& name) {
  const size_t of = name.rfind("-of-");
  if (of == std::string::npos) return std::nullopt;
  PartName part;
  const auto digit = [&](size_t at) { return at < name.size() && name[at] >= '0' && name[at] <= '9'; };
  size_t begin = of;
  while (begin > 0 && digit(begin - 1)) --begin;
  size_t end = of + 4;
  while (digit(end)) ++end;
  part.width = of - begin;
  if (part.width == 0 || part.width > 8 || end - (of + 4) != part.width || begin < 2) return std::nullopt;
  part.joint = name[begin - 1];
  if (part.joint != '-' && part.joint != '_' && part.joint != '.') return std::nullopt;
  part.stem = name.substr(0, begin - 1);
  part.ending = name.substr(end);
  if (std::find(std::begin(kEndings), std::end(kEndings), part.ending) == std::end(kEndings))
    return std::nullopt;
  std::from_chars(name.data() + begin, name.data() + of, part.number);
  std::from_chars(name.data() + of + 4, name.data() + end, part.count);
  if (part.number > part.count || part.count == 0) return std::nullopt;
  return part;
}

CheckpointFiles read_index(const fs::path& path) {
  const std::string where = path.string();
  const json index = parse_json(read_text_file(path, kMostIndexBytes), where);
  CHECK_INPUT(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(), where,
              ": not an index of a sharded checkpoint: \"weight_map\" {tensor: file} is missing");
  std::set<std::string> names;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    CHECK_INPUT(!name.empty() && name.size() <= 255 &&
                    name.find_first_of(std::string("/\\\0", 3)) == name.npos && name != "." && name != "..",
                where, ": weight_map[\"", tensor.substr(0, 60), "\"] is ", shown(file),
                ", expected the name of a file in the same folder");
    names.insert(name);
    CHECK_INPUT(names.size() <= kMostParts, where, ": more than ", kMostParts, " parts");
  }
  CHECK_INPUT(!names.empty(), where, ": its weight_map is empty");
  CheckpointFiles result;
  result.index = path;
  std::vector<std::string> absent;
  for (const std::string& name : names) {
    result.files.push_back(path.parent_path() / name);
    if (!is_file(result.files.back())) absent.push_back(name);
  }
  CHECK_INPUT(absent.empty(), where, ": of its ", names.size(), " parts ", absent.size(),
              absent.size() == 1 ? " is" : " are", " not there: ", list_names(absent));
  result.said = concat_text("the ", names.size(), " parts of ", path.filename().string());
  return result;
}

CheckpointFiles all_parts(const fs::path& path, const PartName& part) {
  const fs::path index = path.parent_path() / (part.stem + part.ending + kIndexEnding);
  if (is_file(index)) {
    CheckpointFiles result = read_index(index);
    const bool listed = std::any_of(result.files.begin(), result.files.end(),
                                    [&](const fs::path& file) { return file.filename() == path.filename(); });
    CHECK_INPUT(listed, path.string(), ": looks like part ", part.number, " of ", part.count, " files, but ",
                index.filename().string(), " beside it does not name it");
    return result;
  }
  CHECK_INPUT(part.count <= kMostParts, path.string(), ": part of ", part.count, " files; at most ",
              kMostParts, " are read");
  CheckpointFiles result;
  std::vector<std::string> absent;
  for (size_t first : {size_t{1}, size_t{0}}) {  // some count from 0
    result.files.clear();
    absent.clear();
    for (size_t i = 0; i < part.count; ++i) {
      const std::string name = part.name(first + i);
      result.files.push_back(path.parent_path() / name);
      if (!is_file(result.files.back())) absent.push_back(name);
    }
    if (absent.empty() || part.number != 0) break;
  }
  CHECK_INPUT(absent.empty(), path.string(), ": part ", part.number, " of ", part.count,
              " files of one checkpoint; the others are needed too: ", list_names(absent));
  if (part.count > 1) result.said = concat_text("all ", part.count, " parts");
  return result;
}

// What lies in a folder in place of the weights that are sought.
std::string folder_contents(const fs::path& folder) {
  std::error_code error;
  if (is_file(folder / "model_index.json"))
    return "; it is a diffusers pipeline: give one of its folders (image_encoder, text_encoder)";
  for (const char* name : {"tf_model.h5", "flax_model.msgpack", "model.onnx", "model.ckpt.index"}) {
    if (is_file(folder / name))
      return concat_text(
          "; ", name, " is another framework's file, the same model's PyTorch or safetensors file is read");
  }
  if (is_file(folder / ".metadata"))
    return "; the .distcp shards of torch.distributed.checkpoint are not read (dcp_to_torch_save joins them)";
  std::vector<std::string> inside;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".")) inside.push_back(name);
  }
  if (inside.empty()) return "; the folder is empty";
  std::sort(inside.begin(), inside.end());
  return "; in it: " + list_names(inside);
}

CheckpointFiles search_folder(const fs::path& folder) {
  CHECK_INPUT(!(is_file(folder / "vocab.json") && is_file(folder / "metrics.jsonl")), folder.string(),
              ": the model directory of a captioner, not an encoder's checkpoint");
  // Names in the order in which the libraries that wrote them look for them.
  for (const char* name :
       {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
        "pytorch_model.bin.index.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"}) {
    if (!is_file(folder / name)) continue;
    CheckpointFiles result = find_checkpoint_files(folder / name);
    if (result.said.empty()) result.said = name;
    return result;
  }
  std::vector<fs::path> indices;
  std::vector<fs::path> weights;
  std::set<std::string> sharded;  // one entry for all parts of a checkpoint
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!is_file(entry.path())) continue;
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".")) continue;
    if (name.ends_with(kIndexEnding)) indices.push_back(entry.path());
    const std::string ending = entry.path().extension().string();
    if (std::find(std::begin(kEndings), std::end(kEndings), ending) == std::end(kEndings)) continue;
    const std::optional<PartName> part = parse_part_name(name);
    if (part && !sharded.insert(part->stem + part->ending).second) continue;
    weights.push_back(entry.path());
  }
  CHECK_INPUT(!error, folder.string(), ": ", error.message());
  if (indices.size() == 1) return find_checkpoint_files(indices.front());
  std::sort(weights.begin(), weights.end());
  // What trainers keep beside the weights.
  std::vector<fs::path> likely;
  for (const fs::path& path : weights) {
    const std::string name = path.filename().string();
    const auto is = [&](const char* stem) { return name.starts_with(stem); };
    if (!is("optimizer") && !is("scheduler") && !is("rng_state") && !is("training_args") && !is("scaler"))
      likely.push_back(path);
  }
  CHECK_INPUT(!likely.empty(), folder.string(),
              ": a folder without weights (model.safetensors, pytorch_model.bin, an index of shards …)",
              folder_contents(folder));
  std::vector<std::string> names;
  for (const fs::path& path : likely) names.push_back(path.filename().string());
  CHECK_INPUT(likely.size() == 1, folder.string(), ": a folder with ", likely.size(),
              " files of weights; name the one that is meant: ", list_names(names));
  CheckpointFiles result = find_checkpoint_files(likely.front());
  if (result.said.empty()) result.said = names.front();
  return result;
}

}  // namespace

CheckpointFiles find_checkpoint_files(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return search_folder(path);
  const std::string name = path.filename().string();
  if (name.ends_with(kIndexEnding) && is_file(path)) return read_index(path);
  if (const std::optional<PartName> part = parse_part_name(name); part && is_file(path))
    return all_parts(path, *part);
  return {{path}, {}, {}};
}

fs::path main_checkpoint_file(const fs::path& path) { return find_checkpoint_files(path).files.front(); }

}  // namespace clipcap
