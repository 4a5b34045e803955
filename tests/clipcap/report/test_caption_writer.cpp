// Captions as text, JSON and subtitles, whatever stands in them.
#include "clipcap/report/caption_writer.h"

#include <nlohmann/json.hpp>

#include "tests/catch.h"

using namespace clipcap;
using nlohmann::json;

namespace {

std::string written(CaptionFormat format, const std::vector<CaptionResult>& results, bool whole = true) {
  std::string out;
  CaptionWriter writer(format, [&](std::string_view text) { out += text; });
  for (const CaptionResult& result : results) writer.add(result);
  writer.finish(whole);
  return out;
}

CaptionResult spoken(const std::string& input, const std::string& caption, double start, double end) {
  return {.input = input, .span = CaptionSpan{start, end}, .caption = caption};
}

CaptionResult whole(const std::string& input, const std::string& caption) {
  return {.input = input,
          .caption = caption,
          .aspects = {"to win", std::nullopt, "quick"},
          .score = -1.25,
          .log_probability = -2.5};
}

CaptionResult failed(const std::string& input, const std::string& error) {
  CaptionResult result{.input = input};
  result.error = error;
  return result;
}

}  // namespace

TEST_CASE("captions as SubRip", "[caption_writer]") {
  const std::vector<CaptionResult> film{
      spoken("f.mp4", "a man plays", 0, 8),
      spoken("f.mp4", "", 8, 16),
      spoken("f.mp4", " \n ", 16, 24),
      spoken("f.mp4", "line\n\n7\n00:00:01,000 --> 00:00:02,000\nx", 24, 32.0404),
      failed("f.mp4", "broken"),
      spoken("f.mp4", "{\\an8}up", 3599.9996, 360000.5)};
  CHECK(written(CaptionFormat::srt, film) ==
        "1\n00:00:00,000 --> 00:00:08,000\na man plays\n\n"
        "2\n00:00:24,000 --> 00:00:32,040\nline  7 00:00:01,000 -> 00:00:02,000 x\n\n"
        "3\n01:00:00,000 --> 100:00:00,500\n{ \\an8}up\n\n");
  CHECK(written(CaptionFormat::srt, {}).empty());
}

TEST_CASE("captions as WebVTT", "[caption_writer]") {
  const std::vector<CaptionResult> film{spoken("f.mp4", "", 0, 8),
                                        spoken("f.mp4", "a < b --> c &amp;", 8, 9.5),
                                        spoken("f.mp4", "one\r\ntwo\x1b[2J", 9.5, 11)};
  CHECK(written(CaptionFormat::vtt, film) ==
        "WEBVTT\n\n"
        "1\n00:00:08.000 --> 00:00:09.500\na &lt; b --&gt; c &amp;amp;\n\n"
        "2\n00:00:09.500 --> 00:00:11.000\none two\\x1b[2J\n\n");
  CHECK(written(CaptionFormat::vtt, {}) == "WEBVTT\n");
  CHECK(written(CaptionFormat::vtt, {spoken("f.mp4", "", 0, 8)}) == "WEBVTT\n");
}

TEST_CASE("captions as JSON: one array, whole after every end", "[caption_writer]") {
  const std::vector<CaptionResult> results{whole("a.mp4", "say \"hi\"\n"), failed("b.mp4", "b.mp4: damaged"),
                                           spoken("c.mp4", "x", 1.0 / 3, 2.0 / 3)};
  const std::string text = written(CaptionFormat::json, results);
  const json parsed = json::parse(text);
  CHECK(text == parsed.dump(2) + "\n");
  REQUIRE(parsed.size() == 3);
  CHECK(parsed[0] == json{{"input", "a.mp4"},
                          {"caption", "say \"hi\"\n"},
                          {"intention", "to win"},
                          {"effect", nullptr},
                          {"attribute", "quick"},
                          {"score", -1.25},
                          {"log_probability", -2.5}});
  CHECK(parsed[1] == json{{"input", "b.mp4"}, {"error", "b.mp4: damaged"}});
  CHECK(parsed[2]["start"] == 0.333);
  CHECK(parsed[2]["end"] == 0.667);
  CHECK(written(CaptionFormat::json, {}) == "[]\n");
  CHECK(written(CaptionFormat::json, {}, false).empty());  // an error before the first result
  CHECK(json::parse(written(CaptionFormat::json, {results[0]}, false)).size() == 1);
}

TEST_CASE("captions as JSON lines", "[caption_writer]") {
  const std::string text = written(CaptionFormat::jsonl, {whole("a\n.mp4", "x\xc2\x9b"), failed("b", "why")});
  const size_t end = text.find('\n');
  CHECK(json::parse(text.substr(0, end))["input"] == "a\n.mp4");
  CHECK(text.find("x\\u009b\"") < end);
  CHECK(json::parse(text.substr(end + 1)) == json{{"input", "b"}, {"error", "why"}});
  CHECK(text.back() == '\n');
}

TEST_CASE("captions as text", "[caption_writer]") {
  CHECK(written(CaptionFormat::text,
                {whole("a\n.mp4", "a\tb"), failed("b.mp4", "why"), whole("a\n.mp4", "c")}) ==
        "a\\n.mp4\n  a\\tb\n  intention  to win\n  attribute  quick\n"
        "a\\n.mp4\n  c\n  intention  to win\n  attribute  quick\n");
  CHECK(written(CaptionFormat::text,
                {spoken("f", "x", 0, 8), spoken("f", "y", 8, 9.25), spoken("g", "z", 0, 1)}) ==
        "f\n[00:00:00.000 --> 00:00:08.000]  x\n[00:00:08.000 --> 00:00:09.250]  y\n"
        "g\n[00:00:00.000 --> 00:00:01.000]  z\n");
}

TEST_CASE("captions are written one by one", "[caption_writer]") {
  for (const CaptionFormat format : {CaptionFormat::text, CaptionFormat::json, CaptionFormat::jsonl,
                                     CaptionFormat::srt, CaptionFormat::vtt}) {
    std::string out;
    CaptionWriter writer(format, [&](std::string_view text) { out += text; });
    writer.add(spoken("f", "first", 0, 1));
    CHECK(out.find("first") != std::string::npos);
    writer.add(spoken("f", "second", 1, 2));
    CHECK(out.find("second") != std::string::npos);
  }
}
