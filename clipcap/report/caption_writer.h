// Captions in the forms that people use further: text, JSON, JSON lines, and subtitles that a player shows over
// the film. Every result is written as soon as it is there.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "clipcap/model.h"

namespace clipcap {

/// Seconds of a film, [start, end).
struct CaptionSpan {
  double start = 0;
  double end = 0;
};

/// What was said about an input or a span of it; or why nothing was.
struct CaptionResult {
  std::string input;
  std::optional<CaptionSpan> span{};
  std::string caption{};
  std::array<std::optional<std::string>, kAspects> aspects{};  // empty where the sub-decoder is off
  double score = 0;                                            // of the caption, as Prediction has them
  double log_probability = 0;
  std::string error{};
};

enum class CaptionFormat { text, json, jsonl, srt, vtt };

/// text     the input's name, then its caption and what the sub-decoders say; with spans one line each,
///          "[00:00:08.000 --> 00:00:16.000]  a man plays"
/// json     one array of objects            jsonl    one object a line
/// srt, vtt SubRip and WebVTT: a cue for each span that has a caption
///
/// Errors stand in JSON only.
class CaptionWriter {
 public:
  /// `write` gets whole pieces: after each of them, what was written so far can be read.
  CaptionWriter(CaptionFormat format, std::function<void(std::string_view)> write)
      : format_(format), write_(std::move(write)) {}
  void add(const CaptionResult& result);
  /// The end of the document, if it has begun or `whole` says that it is to stand even without results.
  void finish(bool whole = true);

 private:
  CaptionFormat format_;
  std::function<void(std::string_view)> write_;
  std::string last_input_;
  int64_t written_ = 0;
  bool finished_ = false;
};

/// "00:01:08.250", hours as long as they are; `point` before the milliseconds, "," in SubRip.
[[nodiscard]] std::string subtitle_time(double seconds, char point = '.');
/// A caption as the text of one cue: one line, nothing in it that ends the cue or reads as a time line.
[[nodiscard]] std::string srt_text(std::string_view caption);
[[nodiscard]] std::string vtt_text(std::string_view caption);

}  // namespace clipcap
