// What ../shared/cases/training says of stopping: signals, kill -9, a stdout that is full; and of draws.
#include <csignal>
#include <map>
#include <thread>

#include "tests/catch.h"
#include "tests/tools/training_case.h"

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_there() { return fs::exists(training_cases() / "expected.json"); }

const std::vector<std::string> kLonger{"train.steps=1500", "train.checkpoint_every=500"};

int signal_number(const std::string& name) {
  static const std::map<std::string, int> numbers{
      {"INT", SIGINT}, {"TERM", SIGTERM}, {"HUP", SIGHUP}, {"USR1", SIGUSR1}};
  return numbers.at(name);
}

}  // namespace

TEST_CASE("training cases: signals save", "[case_training_stopping][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("signal", one) {
    const json& entry = one.entry();
    const int number = signal_number(entry["signal"]);
    const fs::path whole = one.at("whole"), out = one.at("out");
    REQUIRE(one.train(one.data(), whole, kLonger).code == 0);
    for (int i = 0; i < entry.value("times", 1); ++i) {
      Program run(one.arguments(one.data(), out, kLonger,
                                i == 0 ? std::vector<std::string>{} : std::vector<std::string>{"--resume"}),
                  one.options());
      while (run.running() && !matches(run.err_so_far(), "step +[0-9]+")) std::this_thread::yield();
      run.signal(number);
      const Ran ran = run.wait();
      INFO("stderr: " << ran.err);
      REQUIRE(ran.code == 128 + number);
      CHECK(matches(last_line(ran.err), "saved at step [0-9]+"));
    }
    const Ran rest = one.train(one.data(), out, kLonger, {"--resume"});
    INFO("stderr: " << rest.err);
    REQUIRE(rest.code == 0);
    CHECK(same_bytes(out / "model.safetensors", whole / "model.safetensors"));
    CHECK(files_below(out) == files_below(whole));
  }
}

TEST_CASE("training cases: kill -9 loses nothing and leaves nothing",
          "[case_training_stopping][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("killed", one) {
    const std::vector<std::string> set{
        "train.steps=150", "train.checkpoint_every=" + std::to_string(one.entry()["every"].get<int>())};
    const fs::path whole = one.at("whole"), out = one.at("out");
    REQUIRE(one.train(one.data(), whole, set).code == 0);
    for (int i = 0; i < 12; ++i) {
      Program run(
          one.arguments(one.data(), out, set, {fs::exists(out / "last") ? "--resume" : "--overwrite"}),
          one.options());
      std::this_thread::sleep_for(std::chrono::milliseconds(60 + 37 * (i % 5)));
      run.signal(SIGKILL);
      run.wait();
    }
    const Ran rest = one.train(one.data(), out, set, {"--resume"});
    INFO("stderr: " << rest.err);
    REQUIRE(rest.code == 0);
    CHECK(same_bytes(out / "model.safetensors", whole / "model.safetensors"));
    CHECK(files_below(out) == files_below(whole));
  }
}

TEST_CASE("training cases: a stdout that is full is an error", "[case_training_stopping][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("full-stdout", one) {
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(), out).code == 0);
    std::vector<std::string> words;
    for (const json& word : one.entry()["args"]) {
      std::string text = word;
      if (text == "MODEL") text = out.string();
      if (text == "NPY") text = one.data() + "/features/video0.npy";
      if (text.rfind("ROOT/", 0) == 0) text = (training_cases() / text.substr(5)).string();
      words.push_back(text);
    }
    RunOptions full = one.options();
    CHECK(run_program(words, full).code == 0);
    full.out_file = "/dev/full";
    const Ran ran = run_program(words, full);
    INFO("stderr: " << ran.err);
    CHECK(ran.code == 1);
    CHECK(matches(last_line(ran.err), "stdout|standard output"));
  }
}

TEST_CASE("training cases: a drawn text does not depend on its neighbours",
          "[case_training_stopping][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("sample-company", one) {
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(), out).code == 0);
    std::map<int, json> texts;
    for (const json& order : one.entry()["orders"]) {
      std::vector<std::string> words{"caption", "--model", out.string(), "--sample", "--json"};
      for (const json& word : one.entry()["args"]) words.push_back(word);
      for (const json& clip : order) words.push_back(one.data() + "/features/video" + clip.dump() + ".npy");
      const Ran ran = run_program(words, one.options());
      INFO("stderr: " << ran.err);
      REQUIRE(ran.code == 0);
      const json found = json::parse(ran.out);
      REQUIRE(found.size() == order.size());
      for (size_t i = 0; i < order.size(); ++i) {
        const auto [first, added] = texts.emplace(order[i].get<int>(), found[i]);
        if (!added) CHECK(first->second["caption"] == found[i]["caption"]);
      }
    }
    CHECK(texts.size() == 6);
  }
}

}  // namespace clipcap::testing
