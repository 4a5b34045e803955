// From a clip on the disk to frame features: reading, preprocessing, encoding, and the cache between runs.
#pragma once

#include <exception>
#include <filesystem>
#include <functional>
#include <string>

#include "clipcap/config/config.h"
#include "clipcap/encoders/image_encoder.h"
#include "clipcap/media/video.h"

namespace clipcap {

/// Which frames a configuration takes.
[[nodiscard]] FrameSampling frame_sampling(const Config& config);

class FeatureExtractor {
 public:
  /// `encoder_name` identifies weights and preprocessing in the cache; empty: nothing is cached.
  FeatureExtractor(const ImageEncoder& encoder, const Config& config, std::string encoder_name);

  /// Features [n_b,d_v] of a video file, a folder of frames, one picture, or a .npy of features; n_b <=
  /// model.frames. Throws InputError naming the file, also when a number is not finite or when pictures come
  /// where there is no encoder for them.
  [[nodiscard]] Tensor features(const std::filesystem::path& clip) const;
  /// Features [n_b,d_v] of the frames that `read` gives for the sampling of the configuration, such as a span of
  /// a film; never cached. Errors name the clip.
  using FrameReader = std::function<void(const FrameSampling& sampling, const FrameSink& sink)>;
  [[nodiscard]] Tensor features(const std::filesystem::path& clip, const FrameReader& read) const;
  [[nodiscard]] int64_t feature_dim() const { return encoder_.feature_dim(); }
  /// Preprocessed frames [n_b,3,R,R] of a clip.
  [[nodiscard]] Tensor frames(const std::filesystem::path& clip) const;

  /// features() of many clips, given to `take` in their order on the calling thread, bit for bit what
  /// features() gives one by one. Other threads read and decode up to kClipsAhead clips ahead meanwhile.
  /// What goes wrong with a clip comes as `error`, and the next clips follow; what `take` throws ends it.
  using Take = std::function<void(size_t i, Tensor&& features, std::exception_ptr error)>;
  void features_in_order(size_t count, const std::function<std::filesystem::path(size_t)>& clip,
                         const Take& take) const;
  static constexpr size_t kClipsAhead = 4;

 private:
  [[nodiscard]] Tensor frames(const std::filesystem::path& clip, const FrameReader& read) const;
  void warn_of_random_encoder() const;
  /// A clip read as far as goes without the encoder.
  struct Prepared {
    std::filesystem::path clip;
    std::string key;  // in the cache; empty: not to be kept
    Tensor features;  // where they are known already
    Tensor frames;    // otherwise
  };
  [[nodiscard]] Prepared prepare(const std::filesystem::path& clip) const;
  [[nodiscard]] Tensor finish(Prepared&& prepared) const;

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
