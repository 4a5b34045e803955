// The command line as people type it: mistakes, a stdout that is full or closed, films span by span.
#include <sys/wait.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "clipcap/media/video_writer.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/program.h"
#include "tests/temporary_folder.h"

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A model of a second's training on clips that are drawn here, and a film of five seconds.
class Studio {
 public:
  Studio() {
    std::ofstream(at("small.json")) << R"({"model": {"encoder": {"resolution": 32, "patch": 16, "width": 32,
      "layers": 1, "heads": 2, "embed": 32}, "frames": 4, "dim": 32, "heads": 2, "hidden": 32,
      "decoder": {"layers": 1}, "subdecoders": ["effect"]}, "loss": {"distill": 0},
      "train": {"steps": 60, "batch": 4, "lr": 0.01, "warmup": 1, "eval_every": 0, "min_count": 0}})";
    REQUIRE(run({"drawn-clips", "--out", "clips", "--clips", "4"}).code == 0);
    REQUIRE(run({"train", "--config", "small.json", "--data", "clips", "--out", "model"}).code == 0);
    std::vector<Image> frames;
    for (int i = 0; i < 50; ++i)
      frames.push_back({64, 48, std::vector<uint8_t>(64 * 48 * 3, static_cast<uint8_t>(40 * (i / 10)))});
    VideoWriterOptions options;
    options.frames_per_second = 10;
    write_video(at("film.mp4"), frames, options);
  }
  [[nodiscard]] fs::path at(const std::string& name) const { return folder_.path() / name; }
  [[nodiscard]] Ran run(const Words& words, const std::string& out_file = "") const {
    return run_program(words, {.folder = folder_.path(),
                               .environment = {"CLIPCAP_CACHE=" + at("cache").string()},
                               .out_file = out_file});
  }
  [[nodiscard]] Ran caption(const Words& words, const std::string& out_file = "") const {
    Words all{"caption", "--model", "model"};
    all.insert(all.end(), words.begin(), words.end());
    return run(all, out_file);
  }

 private:
  TemporaryFolder folder_{"command_line"};
};

// Made once: the cases only read it, or write files of their own names.
const Studio& studio() {
  static const Studio one;
  return one;
}

void check_refused(const Words& words, const std::string& part) {
  const Ran ran = run_program(words);
  INFO(words[0] << (words.size() > 1 ? " " + words[1] : "") << ": " << ran.err);
  CHECK(ran.code == 2);
  CHECK(ran.out.empty());
  CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
  check_contains(ran.err, part);
}

}  // namespace

TEST_CASE("command line: typing mistakes name what was meant", "[command_line]") {
  check_refused({"captoin", "a.mp4"}, "no command \"captoin\"; did you mean \"caption\"?");
  check_refused({"nonsense"}, "there are train, caption");
  check_refused({"--verison"}, "did you mean --version?");
  check_refused({"caption", "--modle", "m", "a.mp4"}, "no option --modle; did you mean --model?");
  check_refused({"caption", "--model", "m", "--bem=3", "a.mp4"}, "no option --bem; did you mean --beam?");
  check_refused({"caption", "--model", "m", "-every", "3", "a.mp4"}, "did you mean --every?");
  check_refused({"caption", "--model", "m", "a.mp4", "-osrt"}, "did you mean --format srt?");
  check_refused({"caption", "--model", "m", "a.mp4", "--output-file", "x"}, "did you mean --out?");
  check_refused({"train", "--config", "clips", "--resmue"}, "did you mean --resume?");
  check_refused({"inspect", "--jsno", "a"}, "did you mean --json?");
  check_refused({"inspect", "a", "b"}, "\"b\"");
  check_refused({"train", "--config", "clisp", "--data", "d", "--out", "o"}, "did you mean \"clips\"?");
  check_refused({"caption", "--model", "m", "--format", "str", "a"}, "srt");
}

TEST_CASE("command line: numbers that are none, and options without effect, are refused", "[command_line]") {
  const Words caption{"caption", "--model", "m", "a.mp4"};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  for (const char* flag : {"--temperature", "--top-p"}) {
    for (const char* value : {"nan", "NaN", "-nan", "inf", "-1", "1e999", "0x1p3x", ""})
      check_refused(with(caption, {"--sample", flag, value}), flag);
    check_refused(with(caption, {flag, "0.5"}), "--sample");
  }
  check_refused(with(caption, {"--top-k", "3"}), "--sample");
  check_refused(with(caption, {"--length-penalty", "nan"}), "--length-penalty");
  check_refused(with(caption, {"--sample", "--length-penalty", "1"}), "--length-penalty");
  check_refused(with(caption, {"--every", "nan"}), "--every");
  check_refused(with(caption, {"--every", "0"}), "--every");
  check_refused(with(caption, {"--every", "-8"}), "--every");
  check_refused(with(caption, {"--sample", "--seed", "-5"}), "--seed");
  check_refused(with(caption, {"--sample", "--beam", "3"}), "--beam");
  check_refused(with(caption, {"--json", "--format", "srt"}), "--json");
  check_refused({"caption", "--model", "m"}, "--list");
  check_refused({"train", "--config", "clips", "--seed", "-5", "--print-config"}, "--seed");
  check_refused({"train", "--config", "clips", "--set", "train.lr=NaN", "--print-config"}, "train.lr");
  check_refused({"train", "--config", "msrvtt", "--set", "model.encoder.resolution=64", "--print-config"},
                "model.encoder.resolution has no effect");
}

TEST_CASE("command line: help and version", "[command_line]") {
  CHECK(matches(run_program({"--version"}).out, "^clipcap [0-9]+\\.[0-9]+\\.[0-9]+\n$"));
  const std::string help = run_program({"--help"}).out;
  for (const char* command : {"train", "caption", "encode", "features", "convert", "inspect", "gradcheck",
                              "drawn-clips", "tokenize", "train-tokenizer"}) {
    INFO(command);
    check_contains(help, command);
    const Ran ran = run_program({command, "--help"});
    CHECK(ran.code == 0);
    check_contains(ran.out, std::string("Example: clipcap ") + command);
    check_contains(ran.out, "--quiet");
  }
}

TEST_CASE("command line: what cannot be printed is an error", "[command_line]") {
  const Studio& s = studio();
  const std::string weights = "model/model.safetensors";
  for (const Words& words :
       {Words{"--help"}, Words{"--version"}, Words{"train", "--help"}, Words{"inspect", weights},
        Words{"inspect", weights, "--json"}, Words{"inspect", "model"}, Words{"inspect", "model", "--json"},
        Words{"gradcheck", "attention"}, Words{"train", "--config", "clips", "--print-config"},
        Words{"caption", "--model", "model", "film.mp4"},
        Words{"caption", "--model", "model", "film.mp4", "--every", "2", "--format", "srt"}}) {
    INFO(words[0]);
    CHECK(s.run(words).code == 0);
    const Ran full = s.run(words, "/dev/full");
    CHECK(full.code == 1);
    CHECK(matches(last_line(full.err), "standard output: .+"));
  }
  // What has nothing to say needs no stdout.
  CHECK(s.run({"convert", weights, "copy.safetensors"}, "/dev/full").code == 0);
}

TEST_CASE("command line: results do not run into a file where a stream was closed", "[command_line]") {
  const Studio& s = studio();
  const std::string program = (fs::read_symlink("/proc/self/exe").parent_path() / "clipcap").string();
  const auto shell = [&](const std::string& command) {
    const int status =
        std::system(("cd '" + s.at("").string() + "' && '" + program + "' " + command).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  CHECK(shell("caption --model model film.mp4 2> closed.err >&-") == 1);
  CHECK(matches(bytes_of(s.at("closed.err")), "standard output"));
  CHECK(shell("convert model/model.safetensors closed.safetensors >&- 2>&- <&-") == 0);
  CHECK(s.run({"inspect", "closed.safetensors"}).code == 0);
}

TEST_CASE("command line: a film span by span, in every form", "[command_line]") {
  const Studio& s = studio();
  const Ran lines = s.caption({"film.mp4", "--every", "2", "--format", "jsonl"});
  REQUIRE(lines.code == 0);
  std::vector<json> spans;
  std::istringstream in(lines.out);
  for (std::string line; std::getline(in, line);) spans.push_back(json::parse(line));
  REQUIRE(spans.size() == 3);
  for (size_t k = 0; k < 3; ++k) {
    CHECK(spans[k]["start"] == 2.0 * static_cast<double>(k));
    CHECK(spans[k]["end"] == std::min(5.0, 2.0 * static_cast<double>(k) + 2));
    CHECK(spans[k]["input"] == "film.mp4");
    CHECK(spans[k]["log_probability"].get<double>() <= 0);
    CHECK(spans[k]["score"].get<double>() >= spans[k]["log_probability"].get<double>());
    CHECK(spans[k].contains("effect"));
  }
  const json array = json::parse(s.caption({"film.mp4", "--every", "2", "--json"}).out);
  CHECK(array == json(spans));
  const Ran text = s.caption({"film.mp4", "--every", "2"});
  CHECK(matches(text.out, "^film.mp4\n\\[00:00:00.000 --> 00:00:02.000\\]  .*\n\\[00:00:02.000 "));
  // Every cue has a text and a time that follows the one before.
  const Ran srt = s.caption({"film.mp4", "--every", "2", "--out", "film.srt"});
  CHECK(srt.code == 0);
  CHECK(srt.out.empty());
  std::string expected_srt, expected_vtt = "WEBVTT\n\n";
  int cue = 0;
  for (size_t k = 0; k < 3; ++k) {
    const std::string caption = spans[k]["caption"];
    if (caption.empty()) continue;
    const std::string number = std::to_string(++cue) + "\n";
    const std::string from = "00:00:0" + std::to_string(2 * k),
                      to = "00:00:0" + std::to_string(k == 2 ? 5 : 2 * k + 2);
    expected_srt += number + from + ",000 --> " + to + ",000\n" + caption + "\n\n";
    expected_vtt += number + from + ".000 --> " + to + ".000\n" + caption + "\n\n";
  }
  CHECK(cue > 0);
  CHECK(bytes_of(s.at("film.srt")) == expected_srt);
  CHECK(s.caption({"film.mp4", "--every", "2", "--format", "vtt"}).out == expected_vtt);
  // Without --every a subtitle stands for the whole film.
  CHECK(matches(s.caption({"film.mp4", "--format", "srt"}).out, "^1\n00:00:00,000 --> 00:00:05,000\n"));
  // A span says what a clip cut out of the film says.
  const Ran cut = s.caption({"film.mp4", "--every", "5", "--json"});
  CHECK(json::parse(cut.out)[0]["caption"] ==
        json::parse(s.caption({"film.mp4", "--json"}).out)[0]["caption"]);
}

TEST_CASE("command line: what has no times is not cut into spans", "[command_line]") {
  const Studio& s = studio();
  for (const char* input : {"clips", "picture.png"}) {
    if (std::string(input) == "picture.png")
      std::ofstream(s.at(input), std::ios::binary) << std::string("\x89PNG\r\n\x1a\n", 8);
    const Ran ran = s.caption({input, "--every", "2"});
    INFO(ran.err);
    CHECK(ran.code == 2);
    CHECK(matches(ran.err, "--every needs a video file"));
  }
  const Ran two = s.caption({"film.mp4", "film.mp4", "--every", "2", "--format", "srt"});
  CHECK(two.code == 2);
  CHECK(matches(two.err, "--out FOLDER/"));
}

TEST_CASE("command line: lists, what fails among them, and a file for each", "[command_line]") {
  const Studio& s = studio();
  std::ofstream(s.at("broken.mp4")) << "no film";
  std::ofstream(s.at("list.txt")) << "\xEF\xBB\xBF"
                                  << "film.mp4\r\n\n"
                                  << "broken.mp4\n"
                                  << "clips/videos/video1.mp4";
  const Ran stopped = s.caption({"--list", "list.txt", "--json"});
  CHECK(stopped.code == 2);
  CHECK(json::parse(stopped.out).size() == 1);  // what was ready stands there, as a whole document
  const Ran gone_on = s.caption({"--list", "list.txt", "--keep-going", "--json", "clips/videos/video0.mp4"});
  CHECK(gone_on.code == 2);
  const json results = json::parse(gone_on.out);
  REQUIRE(results.size() == 4);
  CHECK(results[0]["input"] == "clips/videos/video0.mp4");
  CHECK(results[1]["input"] == "film.mp4");
  CHECK(results[2]["input"] == "broken.mp4");
  CHECK(matches(results[2]["error"], "broken.mp4"));
  CHECK(results[2].size() == 2);
  CHECK(results[3].contains("caption"));
  CHECK(matches(last_line(gone_on.err), "1 of 4 inputs"));
  // What is not there is said before any work, unless the rest is wanted.
  const Ran absent = s.caption({"film.mp4", "gone1.mp4", "gone2.mp4"});
  CHECK(absent.code == 2);
  CHECK(absent.out.empty());
  CHECK(matches(absent.err, "2 of 3 inputs .*gone1.mp4, gone2.mp4"));
  // One file each, and none for what failed.
  const Ran each =
      s.caption({"--list", "list.txt", "--keep-going", "--every", "3", "--format", "vtt", "--out", "subs/"});
  CHECK(each.code == 2);
  CHECK(bytes_of(s.at("subs/film.vtt")).starts_with("WEBVTT\n"));
  CHECK(fs::exists(s.at("subs/video1.vtt")));
  for (const char* list : {"absent.txt", "clips", "/dev/null"}) CHECK(s.caption({"--list", list}).code == 2);
}

TEST_CASE("command line: an input is never written over", "[command_line]") {
  const Studio& s = studio();
  const std::string film = bytes_of(s.at("film.mp4"));
  CHECK(s.caption({"film.mp4", "--out", "film.mp4"}).code == 2);
  CHECK(s.caption({"film.mp4", "--out", "clips/../film.mp4"}).code == 2);
  CHECK(bytes_of(s.at("film.mp4")) == film);
  std::ofstream(s.at("old.srt")) << "old";
  CHECK(s.caption({"broken-and-gone.mp4", "--out", "old.srt"}).code == 2);
  CHECK(bytes_of(s.at("old.srt")) == "old");
  CHECK(s.caption({"film.mp4", "--out", "absent/folder/x.srt"}).code == 2);
  CHECK(s.caption({"film.mp4", "--out", "/dev/full"}).code == 1);
}

TEST_CASE("command line: draws depend on the seed and the input alone", "[command_line]") {
  const Studio& s = studio();
  const auto texts = [&](const Words& inputs, const std::string& seed) {
    Words words{"--sample", "--temperature", "3", "--json", "--seed", seed};
    words.insert(words.end(), inputs.begin(), inputs.end());
    std::map<std::string, json> found;
    for (const json& entry : json::parse(s.caption(words).out)) found[entry["input"]] = entry;
    return found;
  };
  const std::string a = "clips/videos/video0.mp4", b = "clips/videos/video1.mp4", c = "film.mp4";
  const auto together = texts({a, b, c}, "7");
  CHECK(texts({c, a}, "7").at(a) == together.at(a));
  CHECK(texts({b}, "7").at(b) == together.at(b));
  CHECK(texts({c, b, a}, "7").at(c) == together.at(c));
  CHECK(texts({a, b, c}, "8") != together);
}

TEST_CASE("command line: control characters do not reach the terminal", "[command_line]") {
  const Studio& s = studio();
  const std::string name = "a\x1b[31m\n\xe2\x80\xae.mp4";
  fs::copy(s.at("film.mp4"), s.at(name), fs::copy_options::overwrite_existing);
  const Ran said = s.caption({name});
  CHECK(said.code == 0);
  CHECK(said.out.starts_with("a\\x1b[31m\\n\\u202e.mp4\n"));
  CHECK(json::parse(s.caption({name, "--json"}).out)[0]["input"] == name);
  const Ran gone = s.caption({"gone" + name});
  check_contains(gone.err, "gonea\\x1b[31m\\n\\u202e.mp4");
}

TEST_CASE("command line: quiet, and threads that no core is there for", "[command_line]") {
  const Studio& s = studio();
  const Ran loud = s.caption({"film.mp4", "--every", "1", "--out", "quiet.txt", "--threads", "4000"});
  CHECK(matches(loud.err, "captioning film.mp4: 5 of 5 in "));
  CHECK(matches(loud.err, "warning: --threads 4000: only [0-9]+ core"));
  CHECK(matches(loud.err, "warning: the image encoder is random"));
  const Ran quiet = s.caption({"film.mp4", "--every", "1", "--out", "quiet.txt", "--quiet"});
  CHECK(!matches(quiet.err, "captioning"));
  CHECK(matches(quiet.err, "warning: the image encoder is random"));
}

}  // namespace clipcap::testing
