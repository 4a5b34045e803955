// Frame features as other programs write them: a .npy [n,d_v] a clip, of which nothing says what made it.
#pragma once

#include <filesystem>

#include "clipcap/media/video.h"
#include "tensor/tensor.h"

namespace clipcap {

/// Whether a file is named as a .npy, letter case aside.
[[nodiscard]] bool is_feature_array(const std::filesystem::path& path);

/// Its rows as f32 [n,dim]: all of them, or, where there are more than sampling.frames, those that the rule
/// takes from as many frames (sample_indices). InputError names the file, and the row of a number that is not
/// finite.
[[nodiscard]] Tensor read_feature_array(const std::filesystem::path& path, int64_t dim,
                                        const FrameSampling& sampling);

/// InputError "WHERE: row 3 holds NaN …" unless every number of f32 [n,d_v] is finite.
void check_finite_features(const Tensor& features, const std::string& where);

}  // namespace clipcap
