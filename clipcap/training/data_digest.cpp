#include "clipcap/training/data_digest.h"

#include "clipcap/cache/sha256.h"

namespace clipcap {
namespace {

// Lengths stand before what they count, so that no two data sets give the same bytes.
std::string captions_hash(const CaptionedClips& clips) {
  Sha256 hash;
  for (const CaptionedClips::Clip& clip : clips.clips()) {
    hash.update(concat_text(clip.video_id.size(), ' ', clip.video_id, ' ', clip.captions, '\n'));
    for (size_t c = clip.first_caption; c < clip.first_caption + clip.captions; ++c) {
      const std::string_view text = clips.text(c);
      hash.update(concat_text(text.size(), ' ', text));
      for (int k = 0; k < kAspects; ++k) {
        for (size_t which = 0; which < clips.annotations(c, k); ++which) {
          const std::span<const int32_t> ids = clips.annotation(c, k, which);
          hash.update(concat_text('\n', k, ' ', ids.size(), ' '));
          hash.update(std::as_bytes(ids));
        }
      }
    }
  }
  return hash.hex();
}

}  // namespace

std::map<std::string, std::string> data_digest(const TrainingSet& set) {
  std::map<std::string, std::string> digest{{"captions", captions_hash(set.training())},
                                            {"evaluation", captions_hash(set.evaluation())}};
  if (!set.has_training_features()) return digest;
  Sha256 hash;
  for (size_t clip = 0; clip < set.training().size(); ++clip) {
    const Tensor& features = set.training_features(clip);
    hash.update(concat_text('\n', features.shape(), ' '));
    const Tensor first = features.slice(0, 0, 1).contiguous();
    hash.update(std::as_bytes(std::span(first.host<float>(), static_cast<size_t>(first.numel()))));
  }
  digest["features"] = hash.hex();
  return digest;
}

std::string changed_parts(const std::map<std::string, std::string>& before,
                          const std::map<std::string, std::string>& now) {
  std::string names;
  for (const auto& [part, hash] : now) {
    const auto old = before.find(part);
    if (old == before.end() || old->second == hash) continue;
    const std::string name = part == "captions"   ? "the captions"
                             : part == "features" ? "the features"
                                                  : "the evaluation split";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

}  // namespace clipcap
