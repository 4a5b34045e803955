#include "clipcap/decoding/describe.h"

namespace clipcap {

std::vector<ClipTexts> describe_clips(const CaptionModel& model, const Tensor& features,
                                      const std::vector<int32_t>& lengths, const SearchOptions& options) {
  const NoGrad guard;
  std::vector<ClipTexts> texts(lengths.size());
  if (texts.empty()) return texts;
  const Memory memory = model.encode(Variable(features), lengths, nn::Run{.observer = options.observer});
  std::array<Variable, kAspects> hidden;
  std::array<Tensor, kAspects> valid;
  for (size_t k = 0; k < kAspects; ++k) {
    if (!model.subdecoders[k]) continue;
    std::vector<Hypothesis> found =
        search(*model.subdecoders[k], model.commonsense_table, model.commonsense_tokens, memory,
               SearchOptions{.observer = options.observer}, &hidden[k], &valid[k]);
    for (size_t b = 0; b < texts.size(); ++b) texts[b].aspects[k] = std::move(found[b]);
  }
  const Memory everything = model.extended(memory, hidden, valid);
  std::vector<Hypothesis> captions =
      search(model.caption_decoder, model.caption_table, model.caption_tokens, everything, options);
  for (size_t b = 0; b < texts.size(); ++b) texts[b].caption = std::move(captions[b]);
  return texts;
}

}  // namespace clipcap
