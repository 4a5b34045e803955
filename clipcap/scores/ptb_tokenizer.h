// Penn Treebank tokens as the COCO caption evaluation makes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clipcap {

/// The tokens of one line of text in lower case.
[[nodiscard]] std::vector<std::string> ptb_tokens(std::string_view text);
/// The same without punctuation, joined by spaces: what the metrics are given.
[[nodiscard]] std::string ptb_caption(std::string_view text);

}  // namespace clipcap
