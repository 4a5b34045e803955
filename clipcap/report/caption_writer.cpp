#include "clipcap/report/caption_writer.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "clipcap/terminal/json_text.h"
#include "clipcap/terminal/printable.h"

namespace clipcap {
namespace {

using nlohmann::json;

double rounded(double seconds) { return std::round(seconds * 1000) / 1000; }

json to_json(const CaptionResult& result) {
  json entry{{"input", result.input}};
  if (result.span) {
    entry["start"] = rounded(result.span->start);
    entry["end"] = rounded(result.span->end);
  }
  if (!result.error.empty()) {
    entry["error"] = result.error;
    return entry;
  }
  entry["caption"] = result.caption;
  entry["score"] = result.score;
  entry["log_probability"] = result.log_probability;
  for (size_t k = 0; k < kAspects; ++k)
    entry[kAspectNames[k]] = result.aspects[k] ? json(*result.aspects[k]) : json(nullptr);
  return entry;
}

// An element of an array that json::dump(2) would have written.
std::string indented(const json& entry) {
  std::string out = "  ";
  for (const char c : json_text(entry, 2)) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

// Without breaks, control characters and blanks at its ends.
std::string one_line(std::string_view caption) {
  std::string text(caption);
  for (const char* blank : {"\r\n", "\n", "\r", "\t"}) text = replaced(std::move(text), blank, " ");
  text = printable(text);
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') + 1 - first);
}

std::string text_entry(const CaptionResult& result, bool named) {
  std::string out;
  if (!named || !result.span) out += printable(result.input) + "\n";
  if (result.span) {
    out += "[" + subtitle_time(result.span->start) + " --> " + subtitle_time(result.span->end) + "]  ";
    return out + printable(result.caption) + "\n";
  }
  out += "  " + printable(result.caption) + "\n";
  for (size_t k = 0; k < kAspects; ++k) {
    if (!result.aspects[k]) continue;
    char name[24];
    std::snprintf(name, sizeof name, "  %-9s  ", kAspectNames[k]);
    out += name + printable(*result.aspects[k]) + "\n";
  }
  return out;
}

}  // namespace

std::string subtitle_time(double seconds, char point) {
  const auto ms = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e9) * 1000));
  char text[48];
  std::snprintf(text, sizeof text, "%02lld:%02lld:%02lld%c%03lld", ms / 3'600'000, ms / 60'000 % 60,
                ms / 1000 % 60, point, ms % 1000);
  return text;
}

std::string srt_text(std::string_view caption) {
  // SubRip knows no escapes: an arrow that is no time line, braces that are no ASS command.
  return replaced(replaced(one_line(caption), "-->", "->"), "{\\", "{ \\");
}

std::string vtt_text(std::string_view caption) {
  std::string text = replaced(one_line(caption), "&", "&amp;");
  return replaced(replaced(std::move(text), "<", "&lt;"), ">", "&gt;");
}

void CaptionWriter::add(const CaptionResult& result) {
  const bool subtitles = format_ == CaptionFormat::srt || format_ == CaptionFormat::vtt;
  if (format_ == CaptionFormat::json) {
    write_((written_ == 0 ? "[\n" : ",\n") + indented(to_json(result)));
  } else if (format_ == CaptionFormat::jsonl) {
    write_(json_text(to_json(result)) + "\n");
  } else if (!result.error.empty()) {
    return;
  } else if (format_ == CaptionFormat::text) {
    write_(text_entry(result, written_ > 0 && last_input_ == result.input));
  } else if (subtitles) {
    CHECK(result.span, "a subtitle without times");
    const bool srt = format_ == CaptionFormat::srt;
    const std::string text = srt ? srt_text(result.caption) : vtt_text(result.caption);
    std::string out = !srt && written_ == 0 ? "WEBVTT\n\n" : "";
    // A cue without text is none: players read the next one's number as its text.
    if (text.empty()) return;
    const char point = srt ? ',' : '.';
    out += concat_text(written_ + 1, '\n', subtitle_time(result.span->start, point), " --> ",
                       subtitle_time(result.span->end, point), '\n', text, "\n\n");
    write_(out);
  }
  last_input_ = result.input;
  ++written_;
}

void CaptionWriter::finish(bool whole) {
  if (finished_) return;
  finished_ = true;
  if (format_ == CaptionFormat::json && (written_ > 0 || whole)) write_(written_ > 0 ? "\n]\n" : "[]\n");
  if (format_ == CaptionFormat::vtt && written_ == 0 && whole) write_("WEBVTT\n");
}

}  // namespace clipcap
