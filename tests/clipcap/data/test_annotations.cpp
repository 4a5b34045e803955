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
  const Dataset dataset = read_dataset(folder.path(), {});
  REQUIRE(dataset.clips.size() == 3);
  const ClipEntry& video0 = dataset.clips[0];
  CHECK(video0.video_id == "video0");
  CHECK(video0.split == "train");
  CHECK(video0.file == folder.path() / "features/video0.npy");
  REQUIRE(video0.captions.size() == 1);
  CHECK(video0.captions[0].caption.text == "A man, cooking.");
  CHECK(video0.captions[0].caption.tokens == Words{"a", "man", "cooking"});
  CHECK(video0.captions[0].intention.empty());
  const ClipEntry& video1 = dataset.clips[1];
  CHECK(video1.split == "validate");
  CHECK(video1.file == folder.path() / "videos/Other Name.MP4");
  REQUIRE(video1.captions.size() == 2);  // V2C's caption takes the place of its equal
  size_t with_commonsense = 0;
  for (const Caption& caption : video1.captions) {
    CHECK(caption.caption.tokens == Words{"a", "dog", "runs"});
    if (caption.intention.empty()) continue;
    ++with_commonsense;
    REQUIRE(caption.intention.size() == 2);
    CHECK(caption.intention[0].text == "to play");
    CHECK(caption.intention[0].tokens == Words{"to", "play"});
    CHECK(caption.intention[1].tokens.empty());
    CHECK(caption.effect[0].text == "gets tired");
    CHECK(caption.attribute.empty());
  }
  CHECK(with_commonsense == 1);
  const ClipEntry& video2 = dataset.clips[2];
  CHECK(video2.split == "test");
  CHECK(video2.file == folder.path() / "frames/video2");
  CHECK(video2.captions.at(0).caption.text == "A cat.");
  CHECK(video2.captions.at(0).attribute.at(0).tokens == Words{"soft"});
}

TEST_CASE("V2C's files alone make a data set, and can give the splits", "[annotations]") {
  const TemporaryFolder folder("annotations_v2c");
  folder.write("V2C_MSR-VTT_caption.json", kV2c);
  CHECK(contains(error_of(folder, {true, true}), "v2c_info.json"));
  folder.write("v2c_info.json", R"({"videos":{"train":[9,1],"val":["2"],"test":[1,77]}})");
  folder.write("msrvtt_new_info.json", R"({"videos":{"train":[],"val":[],"test":[1,2,9]}})");
  const auto splits = [&](const DatasetOptions& options) {
    std::map<std::string, std::string> found;
    for (const ClipEntry& clip : read_dataset(folder.path(), options).clips)
      found[clip.video_id] = clip.split;
    return found;
  };
  CHECK(splits({}) ==
        std::map<std::string, std::string>{{"video1", "train"}, {"video2", "validate"}, {"video9", "train"}});
  folder.write("videodatainfo.json", kMsrvtt);
  CHECK(splits({false, false}) ==
        std::map<std::string, std::string>{{"video0", "train"}, {"video1", "validate"}, {"video2", "test"}});
  CHECK(splits({false, true}) ==
        std::map<std::string, std::string>{{"video0", ""}, {"video1", "train"}, {"video2", "validate"}});
  folder.write("v2c_info.json", R"({"videos":{"train":[1.5]}})");
  CHECK(contains(error_of(folder, {true, true}), "v2c_info.json: videos.train[0]: expected the number"));
}

TEST_CASE("both names of the validation split, and texts that end before their list does", "[annotations]") {
  const TemporaryFolder folder("annotations_names");
  folder.write("videodatainfo.json",
               R"({"videos":[{"video_id":"a","split":"val"},{"video_id":"b","split":"validate"},
    {"video_id":"c"}],"sentences":[]})");
  folder.write("V2C_MSR-VTT_caption.json",
               R"({"a":[{"final_caption":["<sos>","a","dog","<eos>","<PAD>","left","over"],
    "intention":[["to rest",["<sos>","to","rest","<eos>","sos","again"]]]}]})");
  const Dataset dataset = read_dataset(folder.path(), {});
  REQUIRE(dataset.clips.size() == 3);
  CHECK(dataset.clips[0].split == "validate");
  CHECK(dataset.clips[1].split == "validate");
  CHECK(dataset.clips[2].split == "train");  // without a split
  CHECK(dataset.clips[0].captions.at(0).caption.tokens == Words{"a", "dog"});
  CHECK(dataset.clips[0].captions.at(0).caption.text == "a dog");
  CHECK(dataset.clips[0].captions.at(0).intention.at(0).tokens == Words{"to", "rest"});
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
  CHECK(contains(msrvtt_error(R"({"videos":[{"video_id":"a","file":")" + std::string(5000, 'x') +
                              R"("}],"sentences":[]})"),
                 "is not there"));
  CHECK(contains(msrvtt_error(R"({"videos":[{"video_id":"a","id":1e999}],"sentences":[]})"), "out of range"));
  CHECK(contains(msrvtt_error(std::string(100000, '[')), "nested deeper"));
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
      static_cast<void>(read_dataset(folder.path(), {false, variant % 5 == 0}));
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
  const Dataset dataset = read_dataset(folder, {});
  REQUIRE(dataset.clips.size() == 12);
  for (const ClipEntry& clip : dataset.clips) {
    CHECK(std::filesystem::exists(clip.file));
    CHECK(clip.split == "train");
    REQUIRE(!clip.captions.empty());
    for (const Caption& caption : clip.captions) {
      CHECK(!caption.caption.tokens.empty());
      CHECK(!caption.intention.empty());
      CHECK(!caption.effect.empty());
      CHECK(!caption.attribute.empty());
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
  for (const ClipEntry& clip : dataset.clips) {
    ++splits[clip.split];
    captions += clip.captions.size();
    if (clip.split != "train") continue;
    for (const Caption& caption : clip.captions) training.push_back(caption.caption.tokens);
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
