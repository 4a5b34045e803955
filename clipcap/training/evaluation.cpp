#include "clipcap/training/evaluation.h"

namespace clipcap {

bool equals_reference(const std::string& text, const CaptionedClips& clips, size_t clip,
                      const Vocabulary& vocabulary) {
  const CaptionedClips::Clip& own = clips.clips().at(clip);
  for (size_t c = own.first_caption; c < own.first_caption + own.captions; ++c) {
    if (vocabulary.decode(clips.ids(c)) == text) return true;
  }
  return false;
}

Evaluation evaluate(const CaptionModel& model, const Vocabularies& vocabularies, const CaptionedClips& clips,
                    const std::function<Tensor(size_t)>& features) {
  std::vector<ClipToDecode> wanted;
  for (size_t i = 0; i < clips.size(); ++i)
    wanted.push_back({clips.clips()[i].video_id, [&features, i] { return features(i); }});
  Evaluation result;
  result.predictions = decode_split(model, vocabularies, wanted);
  for (size_t i = 0; i < clips.size(); ++i) {
    if (equals_reference(result.predictions[i].caption, clips, i, vocabularies.caption)) ++result.equal;
  }
  return result;
}

}  // namespace clipcap
