#include "clipcap/data/feature_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "clipcap/data/dataset.h"
#include "clipcap/data/feature_array.h"
#include "clipcap/process/interrupt.h"
#include "tensor/io/json_text.h"
#include "tensor/io/safetensors.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "clipcap features";
constexpr const char* kVersion = "2";

std::string described(const FeatureOrigin& origin) {
  const std::string rows = concat_text(origin.frames, " frames by ", origin.sampling);
  if (!origin.known()) return "an unknown encoder, " + rows;
  return concat_text(origin.encoder, " (SHA-256 ", origin.sha256.substr(0, 12), "…, ", origin.activation,
                     "), ", rows);
}

constexpr size_t kMostNamedClips = 1000;  // with a tensor each, which any program finds by its name

// A list of ends: from 0 on, none before the one before it, the last at `total`; every step at most `most`.
const int64_t* checked_ends(const std::map<std::string, Tensor>& tensors, const char* name, int64_t total,
                            int64_t least, int64_t most, const std::string& file) {
  const auto found = tensors.find(name);
  CHECK_INPUT(found != tensors.end() && found->second.dtype() == DType::i64 && found->second.rank() == 1,
              file, ": \"", name, "\" is missing or no i64 list");
  const int64_t count = found->second.dim(0);
  const int64_t* ends = found->second.host<int64_t>();
  int64_t before = 0;
  for (int64_t i = 0; i < count; ++i) {
    CHECK_INPUT(ends[i] <= total && ends[i] - before >= least && ends[i] - before <= most, file, ": ", name,
                '[', i, "] is ", ends[i], " after ", before, " of ", total);
    before = ends[i];
  }
  CHECK_INPUT(before == total, file, ": ", name, " ends at ", before, " of ", total);
  return ends;
}

std::vector<std::string> ids_of(std::string_view text, const std::string& file) {
  const json list = parse_json(text, file + ": skipped");
  CHECK_INPUT(list.is_array(), file, ": \"skipped\" is no list");
  std::vector<std::string> ids;
  for (const json& id : list) {
    CHECK_INPUT(id.is_string(), file, ": \"skipped\" holds ", id.type_name(), ", expected ids");
    ids.push_back(id.get<std::string>());
  }
  return ids;
}

}  // namespace

bool FeatureOrigin::same_features(const FeatureOrigin& other) const {
  const bool same_settings = settings == other.settings || settings.empty() || other.settings.empty();
  return sha256 == other.sha256 && activation == other.activation && same_settings &&
         frames == other.frames && sampling == other.sampling;
}

FeatureOrigin feature_origin(const Config& config) {
  if (config.encoder.weights.empty()) return {"unknown", "", "", config.model.frames, config.data.sampling};
  return {config.encoder.weights, config.encoder.sha256, config.encoder.activation,
          config.model.frames,    config.data.sampling,  config.encoder.settings};
}

FeatureFile FeatureFile::open(const std::filesystem::path& path) {
  FeatureFile result;
  result.name_ = path.string();
  const std::string& name = result.name_;
  result.file_ = read_safetensors(path);
  const TensorFile& file = result.file_;
  const auto text = [&](const char* key) {
    const auto found = file.metadata.find(key);
    CHECK_INPUT(found != file.metadata.end(), name, ": metadata \"", key,
                "\" is missing: not a file written by `clipcap features`");
    return found->second;
  };
  CHECK_INPUT(text("format") == kFormat, name, ": not a file written by `clipcap features`");
  FeatureOrigin& origin = result.origin_;
  origin = {text("encoder"), text("sha256"), text("activation"), 0, text("sampling")};
  if (const auto settings = file.metadata.find("settings"); settings != file.metadata.end())
    origin.settings = settings->second;
  const std::string frames = text("frames");
  const auto [end, error] = std::from_chars(frames.data(), frames.data() + frames.size(), origin.frames);
  CHECK_INPUT(error == std::errc() && end == frames.data() + frames.size() && origin.frames > 0, name,
              ": metadata \"frames\" is \"", frames, "\", expected a number");
  const auto version = file.metadata.find("version");
  if (version == file.metadata.end()) {
    result.dim_ = -1;
    for (auto at = file.tensors.begin(); at != file.tensors.end(); ++at) {
      const auto& [id, tensor] = *at;
      CHECK_INPUT(tensor.dtype() == DType::f32 && tensor.rank() == 2 && tensor.dim(0) > 0 &&
                      tensor.dim(0) <= origin.frames && (result.dim_ < 0 || tensor.dim(1) == result.dim_),
                  name, ": clip \"", id, "\" is ", tensor.dtype(), ' ', tensor.shape(),
                  ", expected f32 [1 to frames, size of a feature]");
      result.dim_ = tensor.dim(1);
      result.by_id_.push_back(at);
    }
    result.clips_ = result.by_id_.size();
    const auto left_out = file.metadata.find("skipped");
    if (left_out != file.metadata.end()) result.skipped_ = ids_of(left_out->second, name);
    return result;
  }
  CHECK_INPUT(version->second == kVersion, name, ": version ", version->second,
              " of clipcap's feature files; this program reads up to ", kVersion);
  const auto features = file.tensors.find("features");
  CHECK_INPUT(features != file.tensors.end() && features->second.dtype() == DType::f32 &&
                  features->second.rank() == 2 && features->second.dim(1) > 0,
              name, ": \"features\" is missing or not f32 [rows, size of a feature]");
  const auto ids = file.tensors.find("ids");
  CHECK_INPUT(ids != file.tensors.end() && ids->second.dtype() == DType::u8 && ids->second.rank() == 1, name,
              ": \"ids\" is missing or not u8");
  result.features_ = features->second;
  result.dim_ = features->second.dim(1);
  result.ends_ = checked_ends(file.tensors, "ends", features->second.dim(0), 1, origin.frames, name);
  result.id_ends_ = checked_ends(file.tensors, "id_ends", ids->second.dim(0), 0, 1 << 20, name);
  result.clips_ = static_cast<size_t>(file.tensors.at("ends").dim(0));
  CHECK_INPUT(file.tensors.at("id_ends").dim(0) == static_cast<int64_t>(result.clips_), name, ": ",
              result.clips_, " clips have ", file.tensors.at("id_ends").dim(0), " ids");
  result.ids_ = reinterpret_cast<const char*>(ids->second.host<uint8_t>());
  for (size_t i = 1; i < result.clips_; ++i) {
    CHECK_INPUT(result.id(i - 1) < result.id(i), name, ": id ", i, " is not in order");
  }
  const auto skipped = file.tensors.find("skipped");
  if (skipped != file.tensors.end()) {
    CHECK_INPUT(skipped->second.dtype() == DType::u8 && skipped->second.rank() == 1, name,
                ": \"skipped\" is not u8");
    const std::string_view bytes(reinterpret_cast<const char*>(skipped->second.host<uint8_t>()),
                                 static_cast<size_t>(skipped->second.dim(0)));
    result.skipped_ = ids_of(bytes, name);
  }
  return result;
}

std::string_view FeatureFile::id(size_t i) const {
  CHECK(i < clips_, name_, ": clip ", i, " of ", clips_);
  if (ends_ == nullptr) return by_id_[i]->first;
  const int64_t begin = i == 0 ? 0 : id_ends_[i - 1];
  return {ids_ + begin, static_cast<size_t>(id_ends_[i] - begin)};
}

int64_t FeatureFile::row_count(size_t i) const {
  CHECK(i < clips_, name_, ": clip ", i, " of ", clips_);
  return ends_ == nullptr ? by_id_[i]->second.dim(0) : ends_[i] - (i == 0 ? 0 : ends_[i - 1]);
}

Tensor FeatureFile::rows(size_t i) const {
  CHECK(i < clips_, name_, ": clip ", i, " of ", clips_);
  if (ends_ == nullptr) return by_id_[i]->second;
  const int64_t begin = i == 0 ? 0 : ends_[i - 1];
  return features_.slice(0, begin, ends_[i] - begin);
}

std::optional<size_t> FeatureFile::find(std::string_view wanted) const {
  size_t begin = 0;
  size_t end = clips_;
  while (begin < end) {
    const size_t middle = begin + (end - begin) / 2;
    if (id(middle) < wanted) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  if (begin < clips_ && id(begin) == wanted) return begin;
  return std::nullopt;
}

void FeatureFile::check_finite() const {
  constexpr size_t kClipsAtOnce = 256;
  for (size_t i = 0; i < clips_; ++i) {
    check_finite_features(rows(i), concat_text(name_, ": clip ", id(i)));
    if (i % kClipsAtOnce != kClipsAtOnce - 1) continue;
    file_.file->forget_pages();
    check_interrupted();
  }
}

void write_feature_file(const std::filesystem::path& path, const FeatureOrigin& origin, int64_t feature_dim,
                        const std::vector<FeatureFileEntry>& clips, const std::function<Tensor(size_t)>& rows,
                        const std::vector<std::string>& skipped) {
  std::vector<int64_t> ends;
  std::vector<int64_t> id_ends;
  ends.reserve(clips.size());
  id_ends.reserve(clips.size());
  int64_t row = 0;
  int64_t byte = 0;
  for (size_t i = 0; i < clips.size(); ++i) {
    CHECK(i == 0 || clips[i - 1].id < clips[i].id, "write_feature_file: id ", i, " is not in order");
    CHECK(clips[i].rows > 0, "write_feature_file: clip ", clips[i].id, " has no rows");
    row += clips[i].rows;
    byte += static_cast<int64_t>(clips[i].id.size());
    ends.push_back(row);
    id_ends.push_back(byte);
  }
  const std::string left_out =
      skipped.empty() ? "" : json(skipped).dump(-1, ' ', true, json::error_handler_t::replace);
  json header{{"__metadata__",
               {{"format", kFormat},
                {"encoder", origin.encoder},
                {"sha256", origin.sha256},
                {"activation", origin.activation},
                {"frames", std::to_string(origin.frames)},
                {"sampling", origin.sampling},
                {"settings", origin.settings}}}};
  uint64_t offset = 0;
  const auto add = [&](const std::string& name, const char* dtype, const json& shape, uint64_t bytes) {
    header[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  };
  const uint64_t count = clips.size();
  const bool named = count > 0 && count <= kMostNamedClips &&
                     std::none_of(clips.begin(), clips.end(),
                                  [](const FeatureFileEntry& clip) { return clip.id == "__metadata__"; });
  if (named) {
    for (const FeatureFileEntry& clip : clips)
      add(clip.id, "F32", json::array({clip.rows, feature_dim}),
          static_cast<uint64_t>(clip.rows * feature_dim) * sizeof(float));
    if (!left_out.empty()) header["__metadata__"]["skipped"] = left_out;
  } else {
    header["__metadata__"]["version"] = kVersion;
    add("ends", "I64", json::array({count}), count * 8);
    add("id_ends", "I64", json::array({count}), count * 8);
    add("features", "F32", json::array({row, feature_dim}),
        static_cast<uint64_t>(row * feature_dim) * sizeof(float));
    add("ids", "U8", json::array({byte}), static_cast<uint64_t>(byte));
    if (!left_out.empty()) add("skipped", "U8", json::array({left_out.size()}), left_out.size());
  }
  std::string text = header.dump();
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream out(temporary, std::ios::binary);
    const auto put = [&](const void* data, uint64_t bytes) {
      out.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    };
    const uint64_t header_bytes = text.size();
    put(&header_bytes, sizeof header_bytes);
    put(text.data(), text.size());
    if (!named) {
      put(ends.data(), ends.size() * sizeof(int64_t));
      put(id_ends.data(), id_ends.size() * sizeof(int64_t));
    }
    for (size_t i = 0; i < clips.size() && out; ++i) {
      const Tensor own = rows(i).contiguous();
      CHECK(own.dtype() == DType::f32 && own.rank() == 2 && own.dim(0) == clips[i].rows &&
                own.dim(1) == feature_dim,
            "write_feature_file: clip ", clips[i].id, " is ", own.shape());
      put(own.host<float>(), static_cast<uint64_t>(own.numel()) * sizeof(float));
    }
    if (!named) {
      for (const FeatureFileEntry& clip : clips) put(clip.id.data(), clip.id.size());
      put(left_out.data(), left_out.size());
    }
    out.close();
    CHECK(!out.fail(), temporary.string(), ": cannot write (disk full?)");
  });
}

void write_feature_file(const std::filesystem::path& path, const FeatureOrigin& origin,
                        const std::map<std::string, Tensor>& clips, const std::vector<std::string>& skipped) {
  std::vector<FeatureFileEntry> entries;
  std::vector<const Tensor*> tensors;
  for (const auto& [id, tensor] : clips) {
    entries.push_back({id, tensor.dim(0)});
    tensors.push_back(&tensor);
  }
  write_feature_file(
      path, origin, clips.empty() ? 1 : clips.begin()->second.dim(1), entries,
      [&](size_t i) { return *tensors[i]; }, skipped);
}

std::optional<ClipFeatures::Place> ClipFeatures::find(const std::string& id) const {
  for (const std::string& name : {id, plain_id(id)}) {
    for (size_t f = 0; f < files_.size(); ++f) {
      const std::optional<size_t> clip = files_[f].find(name);
      if (clip) return Place{static_cast<uint32_t>(f), *clip};
    }
  }
  return std::nullopt;
}

bool ClipFeatures::skipped(const std::string& id) const {
  return std::any_of(files_.begin(), files_.end(), [&](const FeatureFile& file) {
    return std::find(file.skipped().begin(), file.skipped().end(), id) != file.skipped().end();
  });
}

ClipFeatures adopt_feature_files(Config& config) {
  ClipFeatures all;
  const std::string& list = config.data.features;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string path = list.substr(begin, end - begin);
    begin = end + 1;
    if (path.empty()) continue;
    FeatureFile file = FeatureFile::open(path);
    if (!all.empty()) {
      const FeatureFile& before = all.files().front();
      CHECK_INPUT(file.origin().same_features(before.origin()), path, ": made with ",
                  described(file.origin()), "; the files before it with ", described(before.origin()));
      CHECK_INPUT(file.feature_dim() == before.feature_dim() || file.size() == 0 || before.size() == 0, path,
                  ": features of ", file.feature_dim(), " numbers; the files before it have ",
                  before.feature_dim());
    }
    all.add(std::move(file));
  }
  if (all.empty()) return all;
  const FeatureOrigin& first = all.files().front().origin();
  CHECK_INPUT(first.frames == config.model.frames && first.sampling == config.data.sampling, list,
              ": made with ", first.frames, " frames by ", first.sampling,
              "; the configuration has model.frames ", config.model.frames, " and data.sampling ",
              config.data.sampling);
  CHECK_INPUT(!config.train.train_encoder, list, ": features are of no use to train.train_encoder");
  EncoderConfig& encoder = config.encoder;
  if (!first.known()) {
    if (encoder.weights.empty()) encoder.origin = "unknown";
    return all;
  }
  if (encoder.weights.empty()) {
    encoder.weights = first.encoder;
    encoder.activation = first.activation;
  }
  // Raw clips will be encoded as these features were, whatever lies beside the weights by then.
  if (encoder.settings.empty()) encoder.settings = first.settings;
  if (encoder.sha256.empty()) encoder.sha256 = first.sha256;
  CHECK_INPUT(encoder.sha256 == first.sha256, list, ": made with ", described(first), "; encoder.sha256 is ",
              encoder.sha256);
  return all;
}

}  // namespace clipcap
