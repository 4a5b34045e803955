#include "clipcap/training/captioned_clips.h"

namespace clipcap {

CaptionedClips::CaptionedClips(const Dataset& dataset, const std::string& split,
                               const Vocabularies& vocabularies, const ModelConfig& model) {
  const std::array<int64_t, kAspects> lengths{model.intention_length, model.effect_length,
                                              model.attribute_length};
  for (const ClipEntry& entry : dataset.clips) {
    if (entry.split != split || entry.captions.empty()) continue;
    clips_.push_back({entry.video_id, entry.file, captions(), entry.captions.size()});
    for (const Caption& caption : entry.captions) {
      ids_.add(vocabularies.caption.encode(caption.caption.tokens, model.caption_length));
      texts_.add(std::span(caption.caption.text.data(), caption.caption.text.size()));
      const std::array<const std::vector<Annotation>*, kAspects> of_aspect{
          &caption.intention, &caption.effect, &caption.attribute};
      for (size_t k = 0; k < kAspects; ++k) {
        for (const Annotation& annotation : *of_aspect[k])
          aspects_[k].ids.add(vocabularies.commonsense.encode(annotation.tokens, lengths[k]));
        aspects_[k].ends.push_back(aspects_[k].ids.size());
      }
    }
  }
}

size_t CaptionedClips::annotations(size_t caption, int aspect) const {
  const Aspect& own = aspects_[static_cast<size_t>(aspect)];
  return own.ends[caption] - own.begin(caption);
}

std::span<const int32_t> CaptionedClips::annotation(size_t caption, int aspect, size_t which) const {
  CHECK(which < annotations(caption, aspect), "CaptionedClips: annotation ", which, " of ",
        annotations(caption, aspect));
  const Aspect& own = aspects_[static_cast<size_t>(aspect)];
  return own.ids[own.begin(caption) + which];
}

}  // namespace clipcap
