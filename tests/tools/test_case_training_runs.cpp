// What ../shared/cases/training says of runs: bad numbers, resuming, folders that hold something already.
#include <fstream>
#include <thread>

#include "tests/catch.h"
#include "tests/tools/training_case.h"

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_there() { return fs::exists(training_cases() / "expected.json"); }

}  // namespace

TEST_CASE("training cases: a diverging run leaves finite files", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("diverging", one) {
    for (const json& steps : one.entry()["steps"]) {
      const fs::path out = one.at("out-" + steps.dump());
      const Ran ran = one.train(one.data(), out, {"train.clip_norm=0", "train.steps=" + steps.dump()});
      INFO("steps " << steps << ", stderr: " << ran.err);
      CHECK(first_nonfinite_below(out) == "");
      if (fs::exists(out / "metrics.jsonl"))
        CHECK(!matches(file_bytes(out / "metrics.jsonl"), "nan|inf|null"));
      if (ran.code != 0) {
        CHECK(ran.code == 1);
        CHECK(matches(last_line(ran.err), "step [0-9]+"));
        CHECK(matches(last_line(ran.err), "video[0-9]"));
      }
      if (one.entry().value("keeps", false)) {
        REQUIRE(ran.code == 1);
        CHECK(one.caption(out, one.data() + "/features/video0.npy").code == 0);
      }
    }
  }
}

TEST_CASE("training cases: models and checkpoints that are not finite",
          "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("nonfinite-model", one) {
    const json& entry = one.entry();
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(), out).code == 0);
    const std::string what = entry["what"];
    Ran ran;
    std::string named;
    if (what == "feature") {
      named = entry["input"];
      ran = one.caption(out, (training_cases() / named).string());
      named = fs::path(named).filename();
    } else if (what == "model") {
      named = "model.safetensors";
      REQUIRE(poison(out / named, entry["tensor"]) > 0);
      ran = one.caption(out, one.data() + "/features/video0.npy");
    } else {
      int poisoned = 0;
      for (const std::string& file : files_below(out))
        if (fs::path(file).extension() == ".safetensors") poisoned += poison(out / file, entry["tensor"]);
      REQUIRE(poisoned > 0);
      named = ".safetensors";
      ran = one.train(one.data(), out, {"train.steps=30"}, {"--resume"});
    }
    INFO("stderr: " << ran.err);
    CHECK(ran.code == 2);
    CHECK(ran.out.empty());
    CHECK(last_line(ran.err).find(named) != std::string::npos);
  }
}

TEST_CASE("training cases: resuming after the captions changed", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("resume-data", one) {
    const json& entry = one.entry();
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(entry["first"]), out).code == 0);
    const std::string words = file_bytes(out / "vocab.json");
    const Ran ran = one.train(one.data(entry["then"]), out, {"train.steps=30"}, {"--resume"});
    INFO("stderr: " << ran.err);
    if (ran.code == 2) return;
    REQUIRE(ran.code == 0);
    CHECK((file_bytes(out / "vocab.json") == words));
    CHECK(matches(ran.err, "data.*changed|changed.*data|other data|not the data"));
    if (entry.value("new_words", false)) CHECK(matches(ran.err, "<UNK>|unknown word"));
  }
}

TEST_CASE("training cases: resuming with other keys", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("resume-config", one) {
    const std::string assignment = one.entry()["set"];
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(), out).code == 0);
    const Ran ran = one.train(one.data(), out, {"train.steps=30", assignment}, {"--resume"});
    INFO("stderr: " << ran.err);
    const std::string key = assignment.substr(0, assignment.find('='));
    CHECK(ran.err.find(key) != std::string::npos);
    CHECK((ran.code == 2 || ran.code == 0));
    // What changes the computation is refused; only how the run is driven may change.
    if (key.rfind("model.", 0) == 0) CHECK(ran.code == 2);
  }
}

TEST_CASE("training cases: output folders that cannot be written", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("out-not-writable", one) {
    std::ofstream(one.at("file")) << "mine";
    std::string out = one.entry()["out"];
    out.replace(0, 2, one.at("").parent_path().string());
    const Ran ran = one.train(one.data(), out);
    INFO("stderr: " << ran.err);
    CHECK(ran.code == 2);
    CHECK(ran.err.find("encod") == std::string::npos);  // before any work
    CHECK(ran.err.find("file") != std::string::npos);
    CHECK(file_bytes(one.at("file")) == "mine");
  }
}

TEST_CASE("training cases: an existing run is not written over", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("existing-out", one) {
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(), out).code == 0);
    if (one.entry()["how"] == "only_last") {
      for (const char* name : {"model.safetensors", "config.json", "vocab.json", "metrics.jsonl"})
        fs::remove(out / name);
    }
    std::vector<std::string> before;
    for (const std::string& name : files_below(out)) before.push_back(name + file_bytes(out / name));
    const Ran ran = one.train(one.data(), out);
    INFO("stderr: " << ran.err);
    CHECK(ran.code == 2);
    CHECK(matches(last_line(ran.err), "--resume"));
    CHECK(matches(last_line(ran.err), "--overwrite"));
    std::vector<std::string> after;
    for (const std::string& name : files_below(out)) after.push_back(name + file_bytes(out / name));
    CHECK((before == after));
    CHECK(one.train(one.data(), out, {}, {"--overwrite"}).code == 0);
  }
}

TEST_CASE("training cases: two runs in one folder", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("two-runs", one) {
    const fs::path alone = one.at("alone"), out = one.at("out");
    const std::vector<std::string> longer{"train.steps=1500", "train.checkpoint_every=5"};
    REQUIRE(one.train(one.data(), alone, longer).code == 0);
    Program first(one.arguments(one.data(), out, longer), one.options());
    while (first.running() && !fs::exists(out / "last")) std::this_thread::yield();
    REQUIRE(first.running());
    for (const std::vector<std::string>& flag : {std::vector<std::string>{}, {"--resume"}, {"--overwrite"}}) {
      std::vector<std::string> flags = flag;
      for (const json& word : one.entry()["args"]) flags.push_back(word);
      const Ran second = one.train(one.data(), out, longer, flags);
      INFO("stderr: " << second.err);
      CHECK(second.code == 2);
    }
    const Ran ended = first.wait();
    INFO("stderr: " << ended.err);
    CHECK(ended.code == 0);
    CHECK(same_bytes(out / "model.safetensors", alone / "model.safetensors"));
  }
}

TEST_CASE("training cases: nothing to resume", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("resume-nothing", one) {
    const fs::path out = one.at("out");
    if (one.entry()["how"] == "empty") fs::create_directories(out);
    const Ran ran = one.train(one.data(), out, {}, {"--resume"});
    INFO("stderr: " << ran.err);
    CHECK((ran.code == 0 || ran.code == 2));
    CHECK(matches(ran.err, "nothing to resume|no run to resume|resume.*(no|nothing)"));
  }
}

TEST_CASE("training cases: a model folder that moved", "[case_training_runs][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("moved-model", one) {
    const json& entry = one.entry();
    const fs::path encoder = one.at("encoder");
    fs::copy(training_cases() / "encoder", encoder, fs::copy_options::recursive);
    const fs::path weights = encoder / entry["name"].get<std::string>();
    if (weights.filename() != "model.safetensors") fs::rename(encoder / "model.safetensors", weights);
    const Ran trained =
        one.train(one.data(), one.at("trained"), {"encoder.weights=" + weights.string(), "loss.distill=0"});
    INFO("train: " << trained.err);
    REQUIRE(trained.code == 0);
    const std::string clip = one.data() + "/videos/video5.mp4";
    const Ran before = one.caption(one.at("trained"), clip);
    REQUIRE(before.code == 0);
    const fs::path moved = one.at("moved");
    fs::rename(one.at("trained"), moved);
    if (entry.value("inside", false)) fs::rename(weights, moved / weights.filename());
    fs::remove_all(encoder);
    fs::remove_all(one.at("cache"));
    const Ran after = one.caption(moved, clip);
    INFO("caption: " << after.err);
    if (entry.value("inside", false)) {
      CHECK(after.code == 0);
      CHECK(after.out == before.out);
    } else {
      CHECK(after.code == 2);
      CHECK(matches(last_line(after.err), "encoder"));
      CHECK(last_line(after.err).find(weights.string()) != std::string::npos);
    }
  }
}

}  // namespace clipcap::testing
