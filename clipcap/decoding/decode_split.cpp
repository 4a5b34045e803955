#include "clipcap/decoding/decode_split.h"

#include <algorithm>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/process/interrupt.h"

namespace clipcap {
namespace {

// FNV-1a.
uint64_t name_hash(const std::string& name) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return hash;
}

}  // namespace

std::vector<Prediction> decode_split(const CaptionModel& model, const Vocabularies& vocabularies,
                                     std::span<const ClipToDecode> clips, const DecodeOptions& options) {
  CHECK(options.clips_at_once > 0, "decode_split: no clips at once");
  std::vector<Prediction> predictions;
  predictions.reserve(clips.size());
  for (size_t start = 0; start < clips.size(); start += options.clips_at_once) {
    check_interrupted();
    const auto now = clips.subspan(start, std::min(options.clips_at_once, clips.size() - start));
    std::vector<Tensor> features;
    for (const ClipToDecode& clip : now) features.push_back(clip.features());
    const FeatureBatch batch = stack_features(features);
    // A clip draws by its name, so that its text does not depend on the clips around it.
    SearchOptions search = options.search;
    search.draws.clear();
    for (const ClipToDecode& clip : now) search.draws.push_back(name_hash(clip.video_id));
    std::vector<ClipTexts> texts = describe_clips(model, batch.features, batch.lengths, search);
    for (size_t i = 0; i < now.size(); ++i) {
      const Hypothesis& caption = texts[i].caption;
      Prediction prediction{.video_id = now[i].video_id,
                            .caption = vocabularies.caption.decode(caption.ids),
                            .aspects = {},
                            .log_probability = caption.log_probability,
                            .score = caption.score};
      for (size_t k = 0; k < kAspects; ++k)
        prediction.aspects[k] = vocabularies.commonsense.decode(texts[i].aspects[k].ids);
      if (options.each) options.each(predictions.size(), prediction);
      predictions.push_back(std::move(prediction));
    }
  }
  return predictions;
}

}  // namespace clipcap
