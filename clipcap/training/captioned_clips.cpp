#include "clipcap/training/captioned_clips.h"

namespace clipcap {
namespace {

// A vocabulary's ids of a data set's word numbers.
class Encoder {
 public:
  Encoder(const WordList& words, const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    ids_.reserve(words.size());
    for (size_t i = 0; i < words.size(); ++i)
      ids_.push_back(vocabulary.id(words.word(static_cast<uint32_t>(i))));
  }
  // sos, ids, eos; at most `most`, eos kept.
  std::span<const int32_t> encode(std::span<const uint32_t> words, int64_t most, WordCoverage& coverage) {
    row_.assign(1, vocabulary_.sos());
    for (const uint32_t word : words) {
      if (static_cast<int64_t>(row_.size()) == most - 1) break;
      row_.push_back(ids_[word]);
      ++coverage.words;
      coverage.unknown += ids_[word] == vocabulary_.unk() ? 1 : 0;
    }
    row_.push_back(vocabulary_.eos());
    return row_;
  }

 private:
  const Vocabulary& vocabulary_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> row_;
};

}  // namespace

CaptionedClips::CaptionedClips(const Dataset& dataset, const std::string& split,
                               const Vocabularies& vocabularies, const ModelConfig& model) {
  const std::array<int64_t, kAspects> lengths{model.intention_length, model.effect_length,
                                              model.attribute_length};
  Encoder captions_of(dataset.words, vocabularies.caption);
  Encoder commonsense_of(dataset.words, vocabularies.commonsense);
  for (const Dataset::Clip& entry : dataset.clips) {
    if (dataset.split(entry) != split || entry.captions == 0) continue;
    clips_.push_back({entry.video_id, dataset.file(entry).string(), captions(), entry.captions});
    for (const Dataset::Rows& caption : dataset.captions_of(entry)) {
      ids_.add(captions_of.encode(dataset.tokens[caption.text], model.caption_length, caption_words_));
      texts_.add(dataset.texts[caption.text]);
      for (size_t k = 0; k < kAspects; ++k) {
        for (uint32_t i = 0; i < caption.count[k]; ++i) {
          aspects_[k].ids.add(commonsense_of.encode(dataset.annotations[k][caption.first[k] + i], lengths[k],
                                                    commonsense_words_));
        }
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
