#include "clipcap/data/feature_file.h"

#include <charconv>

#include "tensor/io/safetensors.h"

namespace clipcap {
namespace {

constexpr const char* kFormat = "clipcap features";

std::string described(const FeatureOrigin& origin) {
  return concat_text(origin.encoder, " (SHA-256 ", origin.sha256.substr(0, 12), "…, ", origin.activation,
                     "), ", origin.frames, " frames by ", origin.sampling);
}

}  // namespace

bool FeatureOrigin::same_features(const FeatureOrigin& other) const {
  return sha256 == other.sha256 && activation == other.activation && frames == other.frames &&
         sampling == other.sampling;
}

FeatureOrigin feature_origin(const Config& config) {
  return {config.encoder.weights, config.encoder.sha256, config.encoder.activation, config.model.frames,
          config.data.sampling};
}

FeatureFile read_feature_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  TensorFile file = read_safetensors(path);
  const auto text = [&](const char* key) {
    const auto found = file.metadata.find(key);
    CHECK_INPUT(found != file.metadata.end(), name, ": metadata \"", key,
                "\" is missing: not a file written by `clipcap features`");
    return found->second;
  };
  CHECK_INPUT(text("format") == kFormat, name, ": not a file written by `clipcap features`");
  FeatureFile result;
  result.origin = {text("encoder"), text("sha256"), text("activation"), 0, text("sampling")};
  const std::string frames = text("frames");
  const auto [end, error] =
      std::from_chars(frames.data(), frames.data() + frames.size(), result.origin.frames);
  CHECK_INPUT(error == std::errc() && end == frames.data() + frames.size() && result.origin.frames > 0, name,
              ": metadata \"frames\" is \"", frames, "\", expected a number");
  int64_t dim = -1;
  for (const auto& [id, tensor] : file.tensors) {
    CHECK_INPUT(tensor.dtype() == DType::f32 && tensor.rank() == 2 && tensor.dim(0) > 0 &&
                    tensor.dim(0) <= result.origin.frames && (dim < 0 || tensor.dim(1) == dim),
                name, ": clip \"", id, "\" is ", tensor.dtype(), ' ', tensor.shape(),
                ", expected f32 [1 to frames, size of a feature]");
    dim = tensor.dim(1);
  }
  result.clips = std::move(file.tensors);
  return result;
}

void write_feature_file(const std::filesystem::path& path, const FeatureFile& file) {
  write_safetensors(path, file.clips,
                    {{"format", kFormat},
                     {"encoder", file.origin.encoder},
                     {"sha256", file.origin.sha256},
                     {"activation", file.origin.activation},
                     {"frames", std::to_string(file.origin.frames)},
                     {"sampling", file.origin.sampling}});
}

ClipFeatures adopt_feature_files(Config& config) {
  ClipFeatures all;
  FeatureOrigin first;
  const std::string& list = config.data.features;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string path = list.substr(begin, end - begin);
    begin = end + 1;
    if (path.empty()) continue;
    FeatureFile file = read_feature_file(path);
    if (all.empty()) first = file.origin;
    CHECK_INPUT(file.origin.same_features(first), path, ": made with ", described(file.origin),
                "; the files before it with ", described(first));
    all.merge(file.clips);
  }
  if (all.empty()) return all;
  CHECK_INPUT(first.frames == config.model.frames && first.sampling == config.data.sampling, list,
              ": made with ", first.frames, " frames by ", first.sampling,
              "; the configuration has model.frames ", config.model.frames, " and data.sampling ",
              config.data.sampling);
  CHECK_INPUT(!config.train.train_encoder, list, ": features are of no use to train.train_encoder");
  EncoderConfig& encoder = config.encoder;
  if (encoder.weights.empty()) {
    encoder.weights = first.encoder;
    encoder.activation = first.activation;
  }
  if (encoder.sha256.empty()) encoder.sha256 = first.sha256;
  CHECK_INPUT(encoder.sha256 == first.sha256, list, ": made with ", described(first), "; encoder.sha256 is ",
              encoder.sha256);
  return all;
}

}  // namespace clipcap
