// From a clip on the disk to frame features: reading, preprocessing, encoding, and the cache between runs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "clipcap/config/config.h"
#include "clipcap/encoders/image_encoder.h"
#include "clipcap/media/video.h"

namespace clipcap {

class FeatureExtractor {
 public:
  /// `encoder_name` identifies weights and preprocessing in the cache; empty: nothing is cached.
  FeatureExtractor(const ImageEncoder& encoder, const Config& config, std::string encoder_name);

  /// Features [n_b,d_v] of a video file, a folder of frames, one picture, or a .npy of features; n_b <=
  /// model.frames. Throws InputError naming the file.
  [[nodiscard]] Tensor features(const std::filesystem::path& clip) const;
  /// Features [n_b,d_v] of the frames that `read` gives for the sampling of the configuration, such as a span of
  /// a film; never cached. Errors name the clip.
  using FrameReader = std::function<void(const FrameSampling& sampling, const FrameSink& sink)>;
  [[nodiscard]] Tensor features(const std::filesystem::path& clip, const FrameReader& read) const;
  /// Preprocessed frames [n_b,3,R,R] of a clip.
  [[nodiscard]] Tensor frames(const std::filesystem::path& clip) const;

 private:
  [[nodiscard]] Tensor frames(const std::filesystem::path& clip, const FrameReader& read) const;
  void warn_of_random_encoder() const;
  const ImageEncoder& encoder_;
  Config config_;
  std::string cache_name_;
};

/// Stacks the features of several clips: [B,n,d_v] with zero rows past each length, n the longest.
struct FeatureBatch {
  Tensor features;
  std::vector<int32_t> lengths;
};
[[nodiscard]] FeatureBatch stack_features(std::span<const Tensor> clips);

}  // namespace clipcap
