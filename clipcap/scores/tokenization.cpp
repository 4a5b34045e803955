#include "clipcap/scores/tokenization.h"

#include "clipcap/scores/ptb_tokenizer.h"
#include "tensor/check.h"
#include "tensor/parallel.h"

namespace clipcap {

CaptionTokenizer parse_caption_tokenizer(const std::string& name) {
  if (name == "ptb") return CaptionTokenizer::ptb;
  if (name == "whitespace") return CaptionTokenizer::whitespace;
  fail_input("tokenizer: expected ptb or whitespace, found \"", name, "\"");
}

const char* name_of(CaptionTokenizer tokenizer) {
  return tokenizer == CaptionTokenizer::ptb ? "ptb" : "whitespace";
}

std::string tokenize_caption(CaptionTokenizer tokenizer, const std::string& caption) {
  return tokenizer == CaptionTokenizer::ptb ? ptb_caption(caption) : caption;
}

void tokenize_captions(CaptionTokenizer tokenizer, std::span<Segment> segments) {
  if (tokenizer == CaptionTokenizer::whitespace) return;
  parallel_for(static_cast<int64_t>(segments.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Segment& segment = segments[static_cast<size_t>(i)];
      segment.hypothesis = ptb_caption(segment.hypothesis);
      for (std::string& reference : segment.references) reference = ptb_caption(reference);
    }
  });
}

}  // namespace clipcap
