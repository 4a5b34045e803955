// The lists that people use as splits of MSR-VTT, and Video2Commonsense's.
#include "clipcap/data/splits.h"

#include <map>
#include <nlohmann/json.hpp>

#include "clipcap/config/config.h"
#include "clipcap/data/annotations.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Splits = std::string;  // one letter a clip: t, v, e (test), - (none)

// Ten clips: six for training, one for validation, three for testing.
struct Fixture {
  TemporaryFolder folder{"splits"};
  Fixture() {
    nlohmann::json info{{"videos", nlohmann::json::array()}, {"sentences", nlohmann::json::array()}};
    for (int i = 0; i < 10; ++i) {
      info["videos"].push_back({{"video_id", "video" + std::to_string(i)},
                                {"split", i < 6   ? "train"
                                          : i < 7 ? "validate"
                                                  : "test"}});
    }
    folder.write("videodatainfo.json", info.dump());
  }
  [[nodiscard]] Dataset read(const std::string& sources = "auto") const {
    return read_dataset(folder.path(), {.find_media = false, .splits = sources});
  }
  [[nodiscard]] Splits splits(const std::string& sources = "auto") const {
    const Dataset dataset = read(sources);
    Splits result;
    for (const Dataset::Clip& clip : dataset.clips) {
      const std::string& split = dataset.split(clip);
      result += split == "train"      ? 't'
                : split == "validate" ? 'v'
                : split == "test"     ? 'e'
                : split.empty()       ? '-'
                                      : '?';
    }
    return result;
  }
  [[nodiscard]] std::string error(const std::string& sources = "auto") const {
    return message_of<InputError>([&] { static_cast<void>(read(sources)); });
  }
};

const std::string kTest =
    "key,vid_key,video_id,sentence\r\nret0,msr8,video8,\"a man, who says \"\"no\"\"\nand "
    "goes\"\r\nret1,msr9,video9,x\r\n";

}  // namespace

TEST_CASE("CSV lists are the splits where they lie", "[splits]") {
  const Fixture f;
  CHECK(f.splits() == "ttttttveee");
  f.folder.write("MSRVTT_JSFUSION_test.csv", kTest);
  CHECK(f.splits() == "ttttttveee");  // a test list alone says nothing of the others
  CHECK(contains(f.read().notes.at(0), "no list for training"));
  f.folder.write("MSRVTT_train.9k.csv",
                 "video_id\nvideo0\nvideo1\nvideo2\nvideo3\nvideo4\nvideo5\nvideo6\nvideo7\n");
  CHECK(f.splits() == "ttttttttee");
  CHECK(f.read().split_source == "MSRVTT_JSFUSION_test.csv and MSRVTT_train.9k.csv");
  f.folder.write("MSRVTT_train.7k.csv", "\xEF\xBB\xBFvideo_id\r\nvideo0\r\nvideo1\r\nvideo77\r\n\r\n");
  CHECK(f.splits() == "ttttttveee");  // a choice that the program does not make
  CHECK(contains(f.read().notes.at(0), "MSRVTT_train.7k.csv, MSRVTT_train.9k.csv are all for train"));
  CHECK(f.splits("9k") == "ttttttttee");
  CHECK(f.splits("7k") == "tt------ee");
  CHECK(contains(f.read("7k").notes.at(0), "1 of 3 ids are of clips without annotations here (video77)"));
  CHECK(f.splits("own") == "ttttttveee");
  CHECK(f.splits("v2c,7k") == "tt------ee");
  // Without a head, other spellings, other columns.
  f.folder.write("my_train.csv", "Video3.mp4\n4\n");
  f.folder.write("my_val.csv", "sentence,video_id\n\"x,y\",video5\n");
  CHECK(f.splits("my_train.csv+my_val.csv + MSRVTT_jsfusion_TEST.csv") == "---ttv--ee");
}

TEST_CASE("lists that cannot be splits are refused with file and place", "[splits]") {
  const Fixture f;
  CHECK(contains(f.error("9k"), ": data.splits: 9k: no such list in this folder"));
  CHECK(contains(f.error("v2c"), "v2c_info.json"));
  f.folder.write("a_train.csv", "video_id\nvideo0\nvideo1\n");
  f.folder.write("a_test.csv", "video_id\nvideo1\nvideo2\n");
  CHECK(contains(f.error(), "a_train.csv: clip video1 is in a_test.csv too"));
  f.folder.write("a_test.csv", "video_id\nother1\nother2\n");
  CHECK(contains(f.error(), "a_test.csv: 2 ids, none of a clip of the annotations (\"other1\""));
  f.folder.write("a_test.csv", "key,video_id\nk,video3\nk\n");
  CHECK(contains(f.error(), "a_test.csv: line 3: 1 fields, expected the column video_id"));
  f.folder.write("list.csv", "video_id\nvideo0\n");
  CHECK(contains(f.error("list.csv"), "list.csv: which split is it?"));
  f.folder.write("scores_test.csv", "name,score\nx,1\n");
  CHECK(contains(f.error("scores_test.csv"), "scores_test.csv: expected a column \"video_id\""));
  // A table of something else is no list.
  f.folder.write("a_test.csv", "video_id\nvideo8\n");
  CHECK(f.splits() == "tt------e-");
}

TEST_CASE("V2C's own splits come first in the msrvtt preset", "[splits]") {
  const Fixture f;
  const std::string preset = load_config("msrvtt").data.splits;
  CHECK(f.splits(preset) == "ttttttveee");
  f.folder.write("msrvtt_new_info.json",
                 R"({"videos":{"train":[0,1,2,"3",6],"val":[],"test":["8",9,1234]}})");
  CHECK(f.splits(preset) == "tttt--t-ee");
  CHECK(f.splits() == "ttttttveee");
  // Its clips are those of V2C's captions.
  f.folder.write("V2C_caption.json", R"({"video0":[{"final_caption":["a"],"effect":[["b",["b"]]]}],
    "video8":[{"final_caption":["a"],"effect":[["b",["b"]]]}],"video1":[{"final_caption":["a"]}]})");
  CHECK(f.splits(preset) == "t-------e-");
  f.folder.write("v2c_info.json", R"({"videos":{"train":[0,1],"test":["2"]}})");
  CHECK(f.splits(preset) == "tte-------");
  CHECK(f.read(preset).split_source == "v2c_info.json");
}

}  // namespace clipcap
