// From captions as written to the words that the metrics count.
#pragma once

#include <span>
#include <string>

#include "clipcap/scores/segment.h"

namespace clipcap {

enum class CaptionTokenizer {
  ptb,         // ptb_tokenizer.h: as the COCO caption evaluation does
  whitespace,  // the text as it is: what MSR-VTT's evaluations mostly do (nlg-eval, V2C)
};

/// "ptb" or "whitespace"; InputError for anything else.
[[nodiscard]] CaptionTokenizer parse_caption_tokenizer(const std::string& name);
[[nodiscard]] const char* name_of(CaptionTokenizer tokenizer);

[[nodiscard]] std::string tokenize_caption(CaptionTokenizer tokenizer, const std::string& caption);
/// Every caption of every segment, in place.
void tokenize_captions(CaptionTokenizer tokenizer, std::span<Segment> segments);

}  // namespace clipcap
