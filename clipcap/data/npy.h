// NumPy's .npy files (versions 1-3) of f32, f64 or f16 numbers in C order: one clip's features, as V2C ships
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace clipcap {

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// Throws InputError naming the file when it is anything else, truncated, or larger than its header says.
[[nodiscard]] NpyArray read_npy(const std::filesystem::path& path);

}  // namespace clipcap
