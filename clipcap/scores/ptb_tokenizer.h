// Penn Treebank tokens as the COCO caption evaluation makes them: those of Stanford CoreNLP 3.4.1's PTBTokenizer
// with -lowerCase, less punctuation.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clipcap {

/// The tokens of one line of text, in lower case: the longest of ptb_patterns.h at each place. Brackets become
/// -lrb- and the like, quotes `` and '' or ' (always, where CoreNLP tells ` from '), dashes --. Spaces inside a
/// token ("3 1/2") become U+00A0. What CoreNLP has no token for (emoji, most other symbols of later Unicode) is
/// left out. Own work from what CoreNLP was seen to do; tests/golden/scores.json holds its tokens.
[[nodiscard]] std::vector<std::string> ptb_tokens(std::string_view text);

/// The same without the evaluation's seventeen kinds of punctuation, joined by spaces: what the metrics get.
[[nodiscard]] std::string ptb_caption(std::string_view text);

}  // namespace clipcap
