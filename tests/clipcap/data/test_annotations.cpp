// MSR-VTT's and Video2Commonsense's annotation files.
#include "clipcap/data/annotations.h"

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "clipcap/text/vocabulary.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

const std::string kMsrvtt = R"({"info":{},"videos":[
  {"id":0,"video_id":"video0","category":9,"url":"","start time":1.5,"end time":9.0,"split":"train"},
  {"id":1,"video_id":"video1","split":"validate","file":"Other Name.MP4"},
  {"id":2,"video_id":"video2","split":"test"}],
 "sentences":[
  {"sen_id":0,"video_id":"video1","caption":"a dog  runs "},
  {"sen_id":1,"video_id":"video0","caption":"A man, cooking."},
  {"sen_id":2,"video_id":"video1","caption":"a dog runs"}]})";
const std::string kV2c = R"({"video1":[{"final_caption":["<sos>","a","dog","runs","<eos>"],
   "intention":[["to play",["<sos>","to","play","<eos>"]],["",[]]],
   "effect":[["gets tired",["<sos>","gets","tired","<eos>"]]],"attribute":[]}],
 "video2":[{"caption":"A cat.","final_caption":["a","cat"],"attribute":[["soft",["soft"]]]}],
 "video9":[{"final_caption":["unknown"]}]})";

using Words = std::vector<std::string>;

// A clip of a data set, written out.
struct Entry {
  std::string video_id;
  std::filesystem::path file;
  std::string split;
  std::vector<Caption> captions;
};

std::vector<Entry> entries(const Dataset& dataset) {
  std::vector<Entry> result;
  for (const Dataset::Clip& clip : dataset.clips) {
    result.push_back({clip.video_id, dataset.file(clip), dataset.split(clip), {}});
    for (const Dataset::Rows& caption : dataset.captions_of(clip))
      result.back().captions.push_back(dataset.written_out(caption));
  }
  return result;
}

std::string error_of(const TemporaryFolder& folder, const DatasetOptions& options = {}) {
  return message_of<InputError>([&] { static_cast<void>(read_dataset(folder.path(), options)); });
}

std::string msrvtt_error(const std::string& text) {
  const TemporaryFolder folder("annotations_error");
  folder.write("videodatainfo.json", text);
  return error_of(folder);
}

std::string v2c_error(const std::string& text) {
  const TemporaryFolder folder("annotations_error");
  folder.write("videodatainfo.json", R"({"videos":[{"video_id":"video0"}],"sentences":[]})");
  folder.write("V2C_MSR-VTT_caption.json", text);
  return error_of(folder);
}

}  // namespace

TEST_CASE("both layouts are merged into one list of clips", "[annotations]") {
  const TemporaryFolder folder("annotations");
  folder.write("videodatainfo.json", kMsrvtt);
  folder.write("V2C_MSR-VTT_caption.json", kV2c);
  folder.write("videos/Other Name.MP4", "x");
  folder.write("video0.json", "not media");
  folder.write("video0.srt", "not media");
  folder.write("features/video0.npy", "x");
  folder.write("frames/video2/1.png", "x");
  const std::vector<Entry> clips = entries(read_dataset(folder.path(), {}));
  REQUIRE(clips.size() == 3);
  const Entry& video0 = clips[0];
  CHECK(video0.video_id == "video0");
  CHECK(video0.split == "train");
  CHECK(video0.file == folder.path() / "features/video0.npy");
  REQUIRE(video0.captions.size() == 1);
  CHECK(video0.captions[0].text == "A man, cooking.");
  CHECK(video0.captions[0].tokens == Words{"a", "man", "cooking"});
  CHECK(video0.captions[0].annotations[0].empty());
  const Entry& video1 = clips[1];
  CHECK(video1.split == "validate");
  CHECK(video1.file == folder.path() / "videos/Other Name.MP4");
  REQUIRE(video1.captions.size() == 2);  // V2C's caption takes the place of its equal
  size_t with_commonsense = 0;
  for (const Caption& caption : video1.captions) {
    CHECK(caption.tokens == Words{"a", "dog", "runs"});
    if (caption.annotations[0].empty()) continue;
    ++with_commonsense;
    REQUIRE(caption.annotations[0].size() == 1);  // one without words is left out
    CHECK(caption.annotations[0][0] == Words{"to", "play"});
    CHECK(caption.annotations[1].at(0) == Words{"gets", "tired"});
    CHECK(caption.annotations[2].empty());
  }
  CHECK(with_commonsense == 1);
  const Entry& video2 = clips[2];
  CHECK(video2.split == "test");
  CHECK(video2.file == folder.path() / "frames/video2");
  CHECK(video2.captions.at(0).text == "A cat.");
  CHECK(video2.captions.at(0).annotations[2].at(0) == Words{"soft"});
}

TEST_CASE("V2C's files alone make a data set, and can give the splits", "[annotations]") {
  const TemporaryFolder folder("annotations_v2c");
  folder.write("V2C_MSR-VTT_caption.json", kV2c);
  CHECK(contains(error_of(folder, {.splits = "v2c"}), "v2c_info.json"));
  folder.write("v2c_info.json", R"({"videos":{"train":[9,1],"val":["2"],"test":[1,77]}})");
  folder.write("msrvtt_new_info.json", R"({"videos":{"train":[],"val":[],"test":[1,2,9]}})");
  const auto splits = [&](const DatasetOptions& options) {
    std::map<std::string, std::string> found;
    for (const Entry& clip : entries(read_dataset(folder.path(), options))) found[clip.video_id] = clip.split;
    return found;
  };
  CHECK(splits({}) ==
        std::map<std::string, std::string>{{"video1", "train"}, {"video2", "validate"}, {"video9", "train"}});
  folder.write("videodatainfo.json", kMsrvtt);
  CHECK(splits({.find_media = false}) ==
        std::map<std::string, std::string>{{"video0", "train"}, {"video1", "validate"}, {"video2", "test"}});
  CHECK(splits({.find_media = false, .splits = "v2c"}) ==
        std::map<std::string, std::string>{{"video0", ""}, {"video1", "train"}, {"video2", "validate"}});
  folder.write("v2c_info.json", R"({"videos":{"train":[1.5]}})");
  CHECK(contains(error_of(folder, {.splits = "v2c"}), "v2c_info.json: videos.train[0]: expected the number"));
}

TEST_CASE("both names of the validation split, and texts that end before their list does", "[annotations]") {
  const TemporaryFolder folder("annotations_names");
  folder.write("videodatainfo.json",
               R"({"videos":[{"video_id":"a","split":"val"},{"video_id":"b","split":"validate"},
    {"video_id":"c"}],"sentences":[]})");
  folder.write("V2C_MSR-VTT_caption.json",
               R"({"a":[{"final_caption":["<sos>","a","dog","<eos>","<PAD>","left","over"],
    "intention":[["to rest",["<sos>","to","rest","<eos>","sos","again"]]]}]})");
  const std::vector<Entry> clips = entries(read_dataset(folder.path(), {}));
  REQUIRE(clips.size() == 3);
  CHECK(clips[0].split == "validate");
  CHECK(clips[1].split == "validate");
  CHECK(clips[2].split == "train");  // without a split
  CHECK(clips[0].captions.at(0).tokens == Words{"a", "dog"});
  CHECK(clips[0].captions.at(0).text == "a dog");
  CHECK(clips[0].captions.at(0).annotations[0].at(0) == Words{"to", "rest"});
}

TEST_CASE("words", "[annotations]") {
  CHECK(split_words("  A man's CAR, parked\there. ") == Words{"a", "man's", "car", "parked", "here"});
  CHECK(split_words("\"stop !\" -- he said; ok ?") == Words{"stop", "he", "said", "ok"});
  CHECK(split_words("x-ray - avengers: 3.5 ...") == Words{"x-ray", "-", "avengers:", "3.5"});
  CHECK(split_words("") == Words{});
  CHECK(split_words(std::string(1'000'000, '"') + "a") == Words{"a"});  // once seconds
  CHECK(split_words(" . , ") == Words{});
}

TEST_CASE("malformed annotations are named by file and place", "[annotations]") {
  CHECK(contains(msrvtt_error(R"({"videos":[],"sentences":[)"), "videodatainfo.json: line 1"));
  CHECK(contains(msrvtt_error("[]"), "expected an object, found array"));
  CHECK(contains(msrvtt_error("{}"), "\"videos\" is missing"));
  CHECK(contains(msrvtt_error(""), "not valid JSON"));
  CHECK(contains(msrvtt_error(R"({"videos":[{"video_id":"a"},{"video_id":"a"}],"sentences":[]})"),
                 "videos[1].video_id: \"a\" appears twice"));
  CHECK(contains(msrvtt_error(R"({"videos":[{"video_id":"a"}],"sentences":[{"video_id":"a","caption":7}]})"),
                 "videodatainfo.json: sentences[0].caption: expected a string, found number"));
  CHECK(contains(msrvtt_error(R"({"videos":[],"sentences":[{"video_id":"b","caption":"x"}]})"),
                 "\"b\" is not among the videos"));
  CHECK(contains(msrvtt_error(R"({"videos":[{"video_id":"a","file":"../../etc/passwd"}],"sentences":[]})"),
                 "leads out of the folder"));
  CHECK(contains(msrvtt_error(R"({"videos":[{"video_id":"a","id":1e999}],"sentences":[]})"), "out of range"));
  CHECK(contains(msrvtt_error(std::string(100000, '[')), "expected an object, found array"));
  CHECK(contains(msrvtt_error("{\"videos\":" + std::string(100000, '[')), "nested deeper"));
  CHECK(contains(msrvtt_error("{\"other\":" + std::string(100000, '[')), "nested deeper"));
  CHECK(contains(msrvtt_error("{\"other\":{\"a\":" + std::string(100000, '[')), "nested deeper"));
  CHECK(contains(msrvtt_error("7"), "expected an object, found number"));
  CHECK(contains(msrvtt_error(R"({"videos":{},"sentences":[]})"),
                 "videodatainfo.json.videos: expected a list, found object"));
  CHECK(contains(msrvtt_error(R"({"sentences":[]})"), "\"videos\" is missing"));
  CHECK(contains(msrvtt_error(R"({"videos":[]})"), "\"sentences\" is missing"));
  CHECK(contains(v2c_error("[]"), "expected an object of videos"));
  CHECK(contains(v2c_error(R"({"video0":{}})"), "video0: expected a list"));
  CHECK(contains(v2c_error(R"({"video0":[{}]})"), "video0[0]: \"final_caption\" is missing"));
  CHECK(contains(v2c_error(R"({"video0":[7]})"), "video0[0]: expected an object"));
  CHECK(contains(v2c_error(R"({"video0":[{"final_caption":["a",3]}]})"),
                 "video0[0].final_caption: expected words"));
  CHECK(contains(v2c_error(R"({"video0":[{"final_caption":[],"effect":[["x"]]}]})"),
                 "video0[0].effect[0]: expected [text"));
  const TemporaryFolder empty("annotations_empty");
  CHECK(contains(error_of(empty), "no videodatainfo.json"));
  CHECK_THROWS_AS(read_dataset(empty.path() / "missing", {}), InputError);
}

TEST_CASE("damaged annotation files give an error or are read", "[annotations]") {
  const TemporaryFolder folder("annotations_damaged");
  unsigned errors = 0;
  for (unsigned variant = 0; variant < 300; ++variant) {
    INFO("variant " << variant);
    folder.write("videodatainfo.json", variant % 2 == 0 ? damaged(kMsrvtt, variant) : kMsrvtt);
    folder.write("V2C_caption.json", variant % 2 == 1 ? damaged(kV2c, variant) : kV2c);
    folder.write("v2c_info.json", damaged(R"({"videos":{"train":[1],"val":["2"],"test":[0]}})", variant));
    try {
      static_cast<void>(
          read_dataset(folder.path(), {.find_media = false, .splits = variant % 5 == 0 ? "v2c" : "auto"}));
    } catch (const InputError& error) {
      ++errors;
      CHECK(!contains(error.what(), "\n"));
    }
  }
  CHECK(errors > 100);
}

TEST_CASE("the real clips' annotations", "[annotations][needs_shared]") {
  const std::filesystem::path folder = shared_data() / "clips";
  if (!std::filesystem::exists(folder)) SKIP_TEST("../shared/clips is not there");
  const std::vector<Entry> clips = entries(read_dataset(folder, {}));
  REQUIRE(clips.size() == 12);
  for (const Entry& clip : clips) {
    CHECK(std::filesystem::exists(clip.file));
    CHECK(clip.split == "train");
    REQUIRE(!clip.captions.empty());
    for (const Caption& caption : clip.captions) {
      CHECK(!caption.tokens.empty());
      for (const auto& annotations : caption.annotations) CHECK(!annotations.empty());
    }
  }
}

TEST_CASE("the whole of MSR-VTT", "[annotations][needs_shared]") {
  const std::filesystem::path shared = shared_data() / "msrvtt";
  if (!std::filesystem::exists(shared)) SKIP_TEST("../shared/msrvtt is not there");
  const TemporaryFolder folder("annotations_msrvtt");
  std::filesystem::create_symlink(std::filesystem::canonical(shared / "train_val_videodatainfo.json"),
                                  folder.path() / "train_val_videodatainfo.json");
  const auto begin = std::chrono::steady_clock::now();
  const Dataset dataset = read_dataset(folder.path(), {});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  INFO("read in " << seconds.count() << " s");
  CHECK(dataset.clips.size() == 7010);
  std::map<std::string, int> splits;
  size_t captions = 0;
  std::vector<Words> training;
  for (const Entry& clip : entries(dataset)) {
    ++splits[clip.split];
    captions += clip.captions.size();
    if (clip.split != "train") continue;
    for (const Caption& caption : clip.captions) training.push_back(caption.tokens);
  }
  CHECK(captions == 140200);
  CHECK(splits == std::map<std::string, int>{{"train", 6513}, {"validate", 497}});
  CHECK(training.size() == 130260);
  // The counts that plain splitting at white space gives.
  CHECK(Vocabulary::build(training, 1).size() == 13626 + 4);
  CHECK(Vocabulary::build(training, 0).size() == 23666 + 4);
  CHECK(Vocabulary::build(training, 2).size() == 10545 + 4);
}

}  // namespace clipcap
