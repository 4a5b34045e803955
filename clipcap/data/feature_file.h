// The features of a whole data set in one safetensors file: a tensor [n,d_v] for every clip, named by its
// video_id, and in the metadata what encoded them and how frames were chosen. Written by `clipcap features`,
// read by training (data.features).
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "clipcap/config/config.h"
#include "tensor/tensor.h"

namespace clipcap {

/// What the metadata holds; two files belong together when all of it is equal.
struct FeatureOrigin {
  std::string encoder;     // path of the checkpoint
  std::string sha256;      // its content
  std::string activation;  // of a CLIP's towers
  int64_t frames = 0;      // at most, a clip
  std::string sampling;
  [[nodiscard]] bool same_features(const FeatureOrigin& other) const;
};

using ClipFeatures = std::map<std::string, Tensor>;  // by video_id: f32 [n,d_v]

struct FeatureFile {
  FeatureOrigin origin;
  ClipFeatures clips;
};

[[nodiscard]] FeatureOrigin feature_origin(const Config& config);
/// Throws InputError naming the file when it is no feature file.
[[nodiscard]] FeatureFile read_feature_file(const std::filesystem::path& path);
void write_feature_file(const std::filesystem::path& path, const FeatureFile& file);

/// The files of data.features together. Where encoder.weights is empty, it becomes what the files were made
/// with; where it is not, it must be that. InputError otherwise, or when frames or sampling differ from the
/// configuration's. Empty when data.features is.
[[nodiscard]] ClipFeatures adopt_feature_files(Config& config);

}  // namespace clipcap
