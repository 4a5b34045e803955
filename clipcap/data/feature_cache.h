// Features kept between runs, in the cache's folder (cache/cache_folder.h): one file [rows,dim] under a key
// that says what was encoded and by what. Frame features have a file a clip, the teacher's text features
// (training/teacher.h) a file for a thousand captions.
#pragma once

#include <filesystem>
#include <string>

#include "tensor/tensor.h"

namespace clipcap {

/// SHA-256 of the file (of all its files, for a folder), of `encoder`, and of what reads the file and computes.
[[nodiscard]] std::string feature_cache_key(const std::filesystem::path& clip, const std::string& encoder);
/// Features f32 [rows,dim], a view of the mapped file; undefined unless they are there and undamaged.
[[nodiscard]] Tensor map_cached_features(const std::string& key);
/// Best effort: false when the cache cannot be written or is smaller than that, which is no error.
bool store_cached_features(const std::string& key, const Tensor& features);

}  // namespace clipcap
