#include "clipcap/data/feature_cache.h"

#include <span>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/cache/sha256.h"
#include "clipcap/media/image.h"
#include "tensor/io/safetensors.h"

namespace clipcap {
namespace {

std::string checksum(const std::vector<float>& values) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(values)));
  return hash.hex();
}

std::filesystem::path entry_path(const std::string& key) {
  return cache_folder() / "features" / (key + ".safetensors");
}

}  // namespace

std::string feature_cache_key(const std::filesystem::path& clip, const std::string& encoder) {
  Sha256 hash;
  if (std::filesystem::is_directory(clip)) {
    for (const std::filesystem::path& frame : list_frame_folder(clip)) {
      hash.update(frame.filename().string() + "\n" + sha256_of_file(frame) + "\n");
    }
  } else {
    hash.update(sha256_of_file(clip));
  }
  hash.update("\n" + encoder);
  return hash.hex();
}

std::optional<std::vector<float>> load_cached_features(const std::string& key, int64_t& rows, int64_t& dim) {
  if (cache_folder().empty()) return std::nullopt;
  std::error_code error;
  if (!std::filesystem::exists(entry_path(key), error)) return std::nullopt;
  try {
    const TensorFile file = read_safetensors(entry_path(key));
    const auto found = file.tensors.find("features");
    if (found == file.tensors.end() || found->second.rank() != 2 || found->second.dtype() != DType::f32)
      return std::nullopt;
    std::vector<float> values = found->second.to_vector<float>();
    const auto expected = file.metadata.find("sha256");
    if (expected == file.metadata.end() || expected->second != checksum(values)) return std::nullopt;
    rows = found->second.dim(0);
    dim = found->second.dim(1);
    return values;
  } catch (const Error&) {
    return std::nullopt;  // a damaged entry is made anew
  }
}

void store_cached_features(const std::string& key, const std::vector<float>& values, int64_t rows,
                           int64_t dim) {
  if (cache_folder().empty()) return;
  std::error_code error;
  std::filesystem::create_directories(entry_path(key).parent_path(), error);
  if (error) return;
  try {
    write_safetensors(entry_path(key), {{"features", Tensor::from(values, {rows, dim})}},
                      {{"sha256", checksum(values)}});
  } catch (const Error&) {
    return;
  }
}

}  // namespace clipcap
