#include "clipcap/data/feature_extractor.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/data/feature_array.h"
#include "clipcap/data/feature_cache.h"
#include "clipcap/encoders/preprocess.h"
#include "clipcap/media/clip_source.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/terminal/console.h"

namespace clipcap {

FrameSampling frame_sampling(const Config& config) {
  FrameSampling sampling;
  sampling.frames = config.model.frames;
  sampling.rule =
      config.data.sampling == "linspace" ? FrameSampling::Rule::linspace : FrameSampling::Rule::middles;
  return sampling;
}

FeatureExtractor::FeatureExtractor(const ImageEncoder& encoder, const Config& config,
                                   std::string encoder_name)
    : encoder_(encoder), config_(config) {
  if (!encoder_name.empty()) {
    static_cast<void>(cache_limit());  // a size that is none is said before anything is encoded
    cache_name_ = concat_text(encoder_name, "; ", config.model.frames, " frames by ", config.data.sampling);
  }
}

Tensor FeatureExtractor::frames(const std::filesystem::path& clip) const {
  return frames(clip, [&](const FrameSampling& sampling, const FrameSink& sink) {
    (void)load_clip(clip, sampling, sink);
  });
}

Tensor FeatureExtractor::frames(const std::filesystem::path& clip, const FrameReader& read) const {
  CHECK_INPUT(encoder_.encodes(), clip.string(),
              ": the model learnt from features of an unknown encoder, so it cannot look at pictures itself; "
              "--encoder FILE names the checkpoint that made those features, or give a .npy of them");
  const int64_t side = encoder_.resolution();
  const Preprocessing preprocessing = encoder_.preprocessing();
  const auto frame_size = static_cast<size_t>(3 * side * side);
  Tensor pixels = Tensor::empty({config_.model.frames, 3, side, side});
  int64_t count = 0;
  read(frame_sampling(config_), [&](int64_t, Image&& image) {
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
  Tensor result = encoder_.encode(pixels);
  check_finite_features(result, clip.string() + ": the encoder's features");
  return result;
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

FeatureExtractor::Prepared FeatureExtractor::prepare(const std::filesystem::path& clip) const {
  Prepared prepared{clip, {}, {}, {}};
  if (is_feature_array(clip)) {
    prepared.features = read_feature_array(clip, encoder_.feature_dim(), frame_sampling(config_));
    return prepared;
  }
  if (!cache_name_.empty() && encoder_.encodes()) {
    prepared.key = feature_cache_key(clip, cache_name_);
    const Tensor found = map_cached_features(prepared.key);
    if (found.defined() && found.dim(1) == encoder_.feature_dim() && found.dim(0) > 0) {
      prepared.key.clear();
      prepared.features = found.clone();
      check_finite_features(prepared.features, clip.string());
      return prepared;
    }
  }
  prepared.frames = frames(clip);
  return prepared;
}

Tensor FeatureExtractor::finish(Prepared&& prepared) const {
  if (!is_feature_array(prepared.clip)) warn_of_random_encoder();
  if (prepared.features.defined()) return std::move(prepared.features);
  Tensor result = encoder_.encode(prepared.frames);
  check_finite_features(result, prepared.clip.string() + ": the encoder's features");
  if (!prepared.key.empty()) store_cached_features(prepared.key, result);
  return result;
}

Tensor FeatureExtractor::features(const std::filesystem::path& clip) const { return finish(prepare(clip)); }

void FeatureExtractor::features_in_order(size_t count,
                                         const std::function<std::filesystem::path(size_t)>& clip,
                                         const Take& take) const {
  struct Slot {
    Prepared prepared;
    std::exception_ptr error;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::map<size_t, Slot> ready;  // at most kClipsAhead
  size_t next = 0;               // clip that no thread has begun
  size_t taken = 0;              // clips that the caller is done with
  bool stop = false;
  const auto read_ahead = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stop || next == count || next < taken + kClipsAhead; });
      if (stop || next == count) return;
      const size_t own = next++;
      lock.unlock();
      Slot slot;
      try {
        slot.prepared = prepare(clip(own));
      } catch (...) {
        slot.error = std::current_exception();
      }
      lock.lock();
      ready.emplace(own, std::move(slot));
      changed.notify_all();
    }
  };
  std::vector<std::thread> threads;
  const auto end = [&] {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stop = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
  };
  try {
    // Decoding a video takes less time than encoding its frames: two threads keep the encoder busy.
    constexpr size_t kReaders = 2;
    for (size_t t = 0; t < std::min(kReaders, count); ++t) threads.emplace_back(read_ahead);
    for (size_t i = 0; i < count; ++i) {
      Slot slot;
      {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return ready.contains(i); });
        slot = std::move(ready.extract(i).mapped());
      }
      Tensor features;
      if (!slot.error) {
        try {
          features = finish(std::move(slot.prepared));
        } catch (...) {
          slot.error = std::current_exception();
        }
      }
      take(i, std::move(features), slot.error);
      {
        const std::lock_guard<std::mutex> lock(mutex);
        ++taken;
      }
      changed.notify_all();
    }
  } catch (...) {
    end();
    throw;
  }
  end();
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
