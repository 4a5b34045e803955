// What every metric of this room takes: a clip's captions after tokenisation. Start at scores.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clipcap {

/// One clip: the caption to judge and the captions that people wrote. Tokenised (tokenization.h): words with
/// one space between them. At least one reference; a text may be empty.
struct Segment {
  std::string hypothesis;
  std::vector<std::string> references;
};

/// A metric over a set of clips.
struct MetricScores {
  double corpus = 0;
  std::vector<double> per_segment;  // in the order of the segments
};

/// The words of a text between white space of any kind, as Python's str.split() finds them. Views into it.
[[nodiscard]] std::vector<std::string_view> split_white_space(std::string_view text);
/// The pieces between single spaces, empty ones included, as Python's str.split(" ") finds them.
[[nodiscard]] std::vector<std::string_view> split_single_spaces(std::string_view text);

}  // namespace clipcap
