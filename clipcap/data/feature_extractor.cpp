#include "clipcap/data/feature_extractor.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>

#include "clipcap/data/feature_cache.h"
#include "clipcap/encoders/preprocess.h"
#include "clipcap/media/clip_source.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/terminal/console.h"
#include "tensor/io/npy.h"

namespace clipcap {

FeatureExtractor::FeatureExtractor(const ImageEncoder& encoder, const Config& config,
                                   std::string encoder_name)
    : encoder_(encoder), config_(config) {
  if (!encoder_name.empty()) {
    cache_name_ = concat_text(encoder_name, "; ", config.model.frames, " frames by ", config.data.sampling);
  }
}

Tensor FeatureExtractor::frames(const std::filesystem::path& clip) const {
  return frames(clip, [&](const FrameSampling& sampling, const FrameSink& sink) {
    (void)load_clip(clip, sampling, sink);
  });
}

Tensor FeatureExtractor::frames(const std::filesystem::path& clip, const FrameReader& read) const {
  FrameSampling sampling;
  sampling.frames = config_.model.frames;
  sampling.rule =
      config_.data.sampling == "linspace" ? FrameSampling::Rule::linspace : FrameSampling::Rule::middles;
  const int64_t side = encoder_.resolution();
  const Preprocessing preprocessing = encoder_.preprocessing();
  const auto frame_size = static_cast<size_t>(3 * side * side);
  Tensor pixels = Tensor::empty({config_.model.frames, 3, side, side});
  int64_t count = 0;
  read(sampling, [&](int64_t, Image&& image) {
    check_interrupted();
    CHECK(count < config_.model.frames, clip.string(), ": more frames than asked for");
    preprocess(image, preprocessing,
               std::span<float>(pixels.host<float>() + static_cast<size_t>(count) * frame_size, frame_size));
    ++count;
  });
  CHECK_INPUT(count > 0, clip.string(), ": no frames");
  return pixels.slice(0, 0, count);
}

Tensor FeatureExtractor::features(const std::filesystem::path& clip, const FrameReader& read) const {
  const Tensor pixels = frames(clip, read);
  warn_of_random_encoder();
  return encoder_.encode(pixels);
}

// Once a process, when a clip was read: it is about the model, not about the clip, and what is refused is
// refused in one line.
void FeatureExtractor::warn_of_random_encoder() const {
  if (!config_.encoder.weights.empty() || config_.train.train_encoder) return;
  static std::once_flag said;
  std::call_once(said, [] {
    log_warning(
        "the image encoder is random (encoder.weights is empty): its features tell the training clips apart, "
        "but say little about others");
  });
}

Tensor FeatureExtractor::features(const std::filesystem::path& clip) const {
  if (clip.extension() == ".npy") {
    const Tensor array = read_npy(clip);
    CHECK_INPUT(is_floating(array.dtype()) && array.rank() == 2 && array.dim(1) == encoder_.feature_dim() &&
                    array.dim(0) > 0,
                clip.string(), ": ", array.dtype(), ' ', array.shape(), " is not features [n, ",
                encoder_.feature_dim(), "]");
    return array.slice(0, 0, std::min(array.dim(0), config_.model.frames)).to(DType::f32).clone();
  }
  std::string key;
  if (!cache_name_.empty()) {
    key = feature_cache_key(clip, cache_name_);
    const Tensor found = map_cached_features(key);
    if (found.defined() && found.dim(1) == encoder_.feature_dim() && found.dim(0) > 0) {
      warn_of_random_encoder();
      return found.clone();
    }
  }
  const Tensor pixels = frames(clip);
  warn_of_random_encoder();
  const Tensor result = encoder_.encode(pixels);
  if (!key.empty()) store_cached_features(key, result);
  return result;
}

FeatureBatch stack_features(std::span<const Tensor> clips) {
  CHECK(!clips.empty(), "stack_features: no clips");
  FeatureBatch batch;
  int64_t longest = 0;
  for (const Tensor& clip : clips) {
    batch.lengths.push_back(static_cast<int32_t>(clip.dim(0)));
    longest = std::max(longest, clip.dim(0));
  }
  batch.features = Tensor::zeros({static_cast<int64_t>(clips.size()), longest, clips[0].dim(1)});
  for (size_t b = 0; b < clips.size(); ++b) {
    batch.features.slice(0, static_cast<int64_t>(b), 1)
        .slice(1, 0, clips[b].dim(0))
        .copy_from(clips[b].reshape({1, clips[b].dim(0), clips[b].dim(1)}));
  }
  return batch;
}

}  // namespace clipcap
