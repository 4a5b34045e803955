// Files of captions: every layout, ids of every kind, and what is wrong in them.
#include "clipcap/scores/caption_file.h"

#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Texts = std::vector<std::string>;

CaptionFile read(const TemporaryFolder& folder, const std::string& name, const std::string& text) {
  return read_caption_file(folder.write(name, text));
}

std::string error_of(const std::string& text, const std::string& name = "captions.json") {
  const TemporaryFolder folder("caption_file_error");
  return message_of<InputError>([&] { static_cast<void>(read(folder, name, text)); });
}

std::string shown_entries(const CaptionFile& file) {
  std::string text;
  for (const CaptionedId& entry : file.entries) {
    text += entry.id + (entry.id_is_number ? "#" : "") + (entry.split.empty() ? "" : "/" + entry.split) + ":";
    for (const std::string& caption : entry.captions) text += "[" + caption + "]";
    text += " ";
  }
  return text;
}

const std::string kMsrvtt = R"({"videos":[
  {"id":7,"video_id":"video7","split":"train"},{"id":8,"video_id":"video8","split":"test"},
  {"id":9,"video_id":"video9","split":"val"},{"id":6,"video_id":"video6","split":"test"}],
 "sentences":[{"video_id":"video9","caption":"c"},{"video_id":"video7","caption":"a"},
  {"video_id":"video8","caption":"b"},{"video_id":"video7","caption":"a\nb"}]})";

}  // namespace

TEST_CASE("captions of every layout", "[caption_file]") {
  const TemporaryFolder folder("caption_file");
  const auto shown = [&](const std::string& text, const std::string& name = "x.json") {
    return shown_entries(read(folder, name, text));
  };
  CHECK(
      shown(
          R"([{"image_id":7,"caption":"a"},{"image_id":"x","caption":"b"},{"image_id":7.0,"caption":"c"}])") ==
      "7#:[a][c] x:[b] ");
  CHECK(shown(R"({"images":[{"id":1},{"id":2}],"annotations":[{"id":5,"image_id":2,"caption":"a"},
                 {"id":6,"image_id":2,"caption":"b"}]})") == "2#:[a][b] ");
  CHECK(shown(kMsrvtt) == "video7/train:[a][a b] video8/test:[b] video9/validate:[c] ");
  CHECK(shown(R"({"v1":"a","v2":["b","c"],"v3":[{"caption":"d","image_id":"v3"}]})") ==
        "v1:[a] v2:[b][c] v3:[d] ");
  CHECK(shown("{\"video_id\":\"v\",\"caption\":\"a\\r\\nb\"}\n\n{\"id\":3,\"caption\":\"\"}\r\n",
              "x.jsonl") == "v:[a  b] 3#:[] ");
  CHECK(shown(R"([{"input":"clips/video7.mp4","caption":"a","score":1}])") == "video7:[a] ");
}

TEST_CASE("what is wrong in a file of captions is named", "[caption_file]") {
  check_contains(error_of("[{]"), "captions.json");
  check_contains(error_of("3"), "expected a list or an object of captions, found 3");
  check_contains(error_of("[]"), "no captions in this file");
  check_contains(error_of("[3]"), "captions.json: [0]: expected {\"image_id\"");
  check_contains(error_of(R"([{"image_id":1}])"), "[0]: \"caption\" is missing");
  check_contains(error_of(R"([{"caption":"a"}])"), "[0]: \"image_id\" is missing");
  check_contains(error_of(R"([{"image_id":1.5,"caption":"a"}])"), "[0].image_id: expected an id");
  check_contains(error_of(R"([{"image_id":null,"caption":"a"}])"), "found null");
  check_contains(error_of(R"([{"image_id":1,"caption":null}])"),
                 "[0].caption: expected a caption, found null");
  check_contains(error_of(R"({"annotations":[{"image_id":1,"caption":7}]})"), "annotations[0].caption");
  check_contains(error_of(R"({"videos":[{}],"sentences":[]})"), "videos[0]: \"video_id\" is missing");
  check_contains(error_of("{\"v\":[1]}"), "v[0]: expected a caption, found 1");
  check_contains(error_of("{\"id\":1,\"caption\":\"a\"}\n{", "x.jsonl"), "x.jsonl: line 2");
  check_contains(error_of("[{\"image_id\":1,\"caption\":\"" + std::string(20001, 'a') + "\"}]"),
                 "20,001 bytes");
  check_contains(error_of(std::string(100000, '[')), "captions.json");
}

TEST_CASE("every caption finds its references", "[caption_file]") {
  const TemporaryFolder folder("caption_pairs");
  const CaptionFile references = read(folder, "refs.json", kMsrvtt);
  const auto pair = [&](const std::string& text, const PairOptions& options = {}) {
    return pair_captions(references, read(folder, "hyps.json", text), options);
  };
  const auto error = [&](const std::string& text, const PairOptions& options = {}) {
    return message_of<InputError>([&] { static_cast<void>(pair(text, options)); });
  };
  // Numbers stand for MSR-VTT's names; the order is that of the references.
  const ScoredClips all = pair(R"([{"image_id":9,"caption":"z"},{"image_id":"video7","caption":"x"},
                                   {"image_id":"8","caption":"y"}])");
  CHECK(all.ids == Texts{"video7", "video8", "video9"});
  CHECK(all.segments[0].hypothesis == "x");
  CHECK(all.segments[0].references == Texts{"a", "a b"});
  CHECK(all.segments[2].hypothesis == "z");

  check_contains(error(R"({"7":"x"})"), "no caption for these 2 of 3 clips");
  check_contains(error(R"({"7":"x"})"),
                 "video8, video9 (the captions are those of one split: --split train)");
  check_contains(error(R"({"7":"x","8":"y","10":"z","w":"z"})"), "hyps.json: these 2 of 4 clips are not in ");
  check_contains(error(R"({"7":"x","8":"y","10":"z","w":"z"})"), "refs.json: 10, w");
  check_contains(error(R"([{"image_id":7,"caption":"x"},{"image_id":"7","caption":"y"}])"),
                 "this 1 of 1 clips have more than one caption: 7");
  check_contains(error(R"({"7":"x","video7":"y"})"), "more than one caption: video7");
  CHECK(pair(R"({"7":"x"})", {"train", false}).ids == Texts{"video7"});
  CHECK(pair(R"({"7":"x","8":"y"})", {"train", false}).ids == Texts{"video7"});
  check_contains(error(R"({"7":"x"})", {"test", false}), "no caption for this 1 of 1 clips");
  check_contains(error(R"({"7":"x"})", {"tset", false}),
                 "no clip of split \"tset\"; it has test, train, validate");
  const ScoredClips subset = pair(R"({"8":"x"})", {"", true});
  CHECK(subset.ids == Texts{"video8"});
  CHECK(subset.left_out == 2);
  check_contains(error(R"({"7":"x"})", {"test", true}), "no caption for any clip");
  CHECK(first_few({"a", "b", "c", "d", "e", "f", "g"}) == "a, b, c, d, e and 2 more");
  CHECK(with_thousands(1234567) == "1,234,567");
}

}  // namespace clipcap
