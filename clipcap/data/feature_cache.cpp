#include "clipcap/data/feature_cache.h"

#include <span>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/cache/sha256.h"
#include "clipcap/media/decoder_versions.h"
#include "clipcap/media/image.h"
#include "tensor/io/safetensors.h"
#include "tensor/library_versions.h"

namespace clipcap {
namespace {

std::string checksum(const Tensor& values) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(values.host<float>(), static_cast<size_t>(values.numel()))));
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
  hash.update("\n" + encoder + "\n" + decoder_versions(clip) + "\n" + compute_library_version());
  return hash.hex();
}

Tensor map_cached_features(const std::string& key) {
  if (cache_folder().empty()) return {};
  std::error_code error;
  if (!std::filesystem::exists(entry_path(key), error)) return {};
  try {
    const TensorFile file = read_safetensors(entry_path(key));
    const auto found = file.tensors.find("features");
    if (found == file.tensors.end() || found->second.rank() != 2 || found->second.dtype() != DType::f32)
      return {};
    const auto expected = file.metadata.find("sha256");
    if (expected == file.metadata.end() || expected->second != checksum(found->second)) return {};
    touch_in_cache(entry_path(key));
    return found->second;
  } catch (const Error&) {
    return {};  // a damaged entry is made anew
  }
}

bool store_cached_features(const std::string& key, const Tensor& features) {
  if (cache_folder().empty() || static_cast<uint64_t>(features.bytes()) > cache_limit().bytes) return false;
  std::error_code error;
  std::filesystem::create_directories(entry_path(key).parent_path(), error);
  if (error) return false;
  try {
    const Tensor values = features.contiguous();
    write_safetensors(entry_path(key), {{"features", values}}, {{"sha256", checksum(values)}});
    make_room_in_cache(entry_path(key));
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace clipcap
