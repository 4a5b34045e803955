// The features of a whole data set in one safetensors file, mapped and never copied. Written by
// `clipcap features`, read by training (data.features). Up to 1000 clips: a tensor f32 [n,d_v] for every clip,
// named by its id; the ids that `features --keep-going` left out as JSON in the metadata's `skipped`. Of more
// clips, four tensors, however many there are:
//
//   ends      i64 [clips]    where each clip's rows end in `features`, clips in the order of their ids' bytes
//   id_ends   i64 [clips]    where its id ends in `ids`
//   features  f32 [rows,d_v]
//   ids       u8  [bytes]    and `skipped`, u8: the ids left out as JSON
//
// The metadata says what encoded them and how frames were chosen.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clipcap/config/config.h"
#include "tensor/io/tensor_file.h"
#include "tensor/tensor.h"

namespace clipcap {

/// What the metadata holds; two files belong together when all of it is equal.
struct FeatureOrigin {
  std::string encoder;     // path of the checkpoint; "unknown" where features came as .npy files
  std::string sha256;      // its content
  std::string activation;  // of a CLIP's towers
  int64_t frames = 0;      // at most, a clip
  std::string sampling;
  std::string settings{};  // of a CLIP's image tower (encoders/tower_settings.h); empty in files of before
  [[nodiscard]] bool same_features(const FeatureOrigin& other) const;
  [[nodiscard]] bool known() const { return !sha256.empty(); }
};

[[nodiscard]] FeatureOrigin feature_origin(const Config& config);

class FeatureFile {
 public:
  /// InputError naming the file when it is no feature file, or damaged. Its numbers are not looked at.
  [[nodiscard]] static FeatureFile open(const std::filesystem::path& path);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const FeatureOrigin& origin() const { return origin_; }
  [[nodiscard]] size_t size() const { return clips_; }
  [[nodiscard]] int64_t feature_dim() const { return dim_; }
  /// The i-th clip's id, in the order of their bytes.
  [[nodiscard]] std::string_view id(size_t i) const;
  [[nodiscard]] int64_t row_count(size_t i) const;
  /// f32 [n,d_v], a view of the mapped file.
  [[nodiscard]] Tensor rows(size_t i) const;
  [[nodiscard]] std::optional<size_t> find(std::string_view id) const;
  /// Clips that were wanted and left out.
  [[nodiscard]] const std::vector<std::string>& skipped() const { return skipped_; }
  /// Looks at every number; InputError names clip and row.
  void check_finite() const;

 private:
  std::string name_;
  FeatureOrigin origin_;
  TensorFile file_;
  size_t clips_ = 0;
  int64_t dim_ = 0;
  std::vector<std::map<std::string, Tensor>::const_iterator> by_id_;  // of a file with a tensor a clip
  Tensor features_;
  const int64_t* ends_ = nullptr;
  const int64_t* id_ends_ = nullptr;
  const char* ids_ = nullptr;
  std::vector<std::string> skipped_;
};

/// A clip of a file that is being written.
struct FeatureFileEntry {
  std::string id;
  int64_t rows = 0;
};
/// Writes a file whose i-th clip (in the order of the ids' bytes, each once) has the features rows(i), f32
/// [n,d_v]; they are asked for one after the other. The file appears complete or not at all.
void write_feature_file(const std::filesystem::path& path, const FeatureOrigin& origin, int64_t feature_dim,
                        const std::vector<FeatureFileEntry>& clips, const std::function<Tensor(size_t)>& rows,
                        const std::vector<std::string>& skipped = {});
/// The same from memory.
void write_feature_file(const std::filesystem::path& path, const FeatureOrigin& origin,
                        const std::map<std::string, Tensor>& clips,
                        const std::vector<std::string>& skipped = {});

/// The files of data.features together.
class ClipFeatures {
 public:
  /// A clip's place; a file and a clip in it.
  struct Place {
    uint32_t file = 0;
    size_t clip = 0;
  };
  void add(FeatureFile file) { files_.push_back(std::move(file)); }
  [[nodiscard]] bool empty() const { return files_.empty(); }
  [[nodiscard]] std::optional<Place> find(const std::string& id) const;
  [[nodiscard]] Tensor rows(const Place& place) const { return files_[place.file].rows(place.clip); }
  [[nodiscard]] int64_t row_count(const Place& place) const {
    return files_[place.file].row_count(place.clip);
  }
  /// Whether `features --keep-going` left the clip out.
  [[nodiscard]] bool skipped(const std::string& id) const;
  [[nodiscard]] const std::vector<FeatureFile>& files() const { return files_; }

 private:
  std::vector<FeatureFile> files_;
};

/// Where encoder.weights is empty, it becomes what the files were made with; where it is not, it must be that.
/// Files of unknown origin set encoder.origin, or are taken for features of encoder.weights. InputError
/// otherwise, or when frames or sampling differ from the configuration's. Empty when data.features is.
[[nodiscard]] ClipFeatures adopt_feature_files(Config& config);

}  // namespace clipcap
