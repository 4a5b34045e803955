#include "clipcap/training/evaluation.h"

#include "clipcap/data/annotations.h"
#include "clipcap/scores/cider.h"

namespace clipcap {
namespace {

// A reference as the vocabularies see it: lower-cased words, one space between them.
std::string reference_text(std::string_view text) {
  std::string joined;
  for (const std::string& word : split_words(std::string(text))) joined += (joined.empty() ? "" : " ") + word;
  return joined;
}

double cider_of(const std::vector<Prediction>& predictions, const CaptionedClips& clips) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < clips.size(); ++i) {
    Segment segment{predictions[i].caption, {}};
    const CaptionedClips::Clip& clip = clips.clips()[i];
    for (size_t c = clip.first_caption; c < clip.first_caption + clip.captions; ++c)
      segment.references.push_back(reference_text(clips.text(c)));
    segments.push_back(std::move(segment));
  }
  return segments.empty() ? 0.0 : cider(segments, DocumentFrequencies::of_references(segments)).corpus;
}

}  // namespace

bool equals_reference(const std::string& text, const CaptionedClips& clips, size_t clip,
                      const Vocabulary& vocabulary) {
  const CaptionedClips::Clip& own = clips.clips().at(clip);
  for (size_t c = own.first_caption; c < own.first_caption + own.captions; ++c) {
    if (vocabulary.decode(clips.ids(c)) == text) return true;
  }
  return false;
}

Evaluation evaluate(const CaptionModel& model, const Vocabularies& vocabularies, const CaptionedClips& clips,
                    const std::function<Tensor(size_t)>& features,
                    const std::function<void(size_t done)>& progress) {
  std::vector<ClipToDecode> wanted;
  for (size_t i = 0; i < clips.size(); ++i)
    wanted.push_back({clips.clips()[i].video_id, [&features, i] { return features(i); }});
  Evaluation result;
  DecodeOptions options;
  if (progress) options.each = [&](size_t index, const Prediction&) { progress(index + 1); };
  result.predictions = decode_split(model, vocabularies, wanted, options);
  for (size_t i = 0; i < clips.size(); ++i) {
    if (equals_reference(result.predictions[i].caption, clips, i, vocabularies.caption)) ++result.equal;
  }
  result.cider = cider_of(result.predictions, clips);
  return result;
}

}  // namespace clipcap
