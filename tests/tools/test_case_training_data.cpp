// What ../shared/cases/training says of data: features, annotations, splits, clips that are not there.
#include "tests/catch.h"
#include "tests/tools/training_case.h"

namespace clipcap::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_there() { return fs::exists(training_cases() / "expected.json"); }

json only_caption(const Ran& ran) {
  INFO("stderr: " << ran.err);
  REQUIRE(ran.code == 0);
  const json found = json::parse(ran.out);
  REQUIRE(found.size() == 1);
  return found[0];
}

}  // namespace

TEST_CASE("training cases: ordinary data trains, captions, goes on", "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("ordinary", one) {
    const json& entry = one.entry();
    const fs::path out = one.at("out");
    if (entry.value("out_exists", false)) fs::create_directories(out);
    Ran ran = one.train(one.data(), out);
    INFO("stderr: " << ran.err);
    REQUIRE(ran.code == 0);
    const std::string data = one.data();
    const std::string input = entry.contains("input") ? (training_cases() / entry["input"]).string()
                                                      : data + "/features/video0.npy";
    CHECK(only_caption(one.caption(out, input))["caption"].is_string());
    if (entry.value("resume", false)) {
      const std::string before = file_bytes(out / "model.safetensors");
      ran = one.train(data, out, {"train.steps=30"}, {"--resume"});
      REQUIRE(ran.code == 0);
      CHECK((file_bytes(out / "model.safetensors") != before));
    }
  }
}

TEST_CASE("training cases: features that are not finite", "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("nonfinite-feature", one) {
    const Ran ran = one.train(one.data(), one.at("out"));
    check_refused(ran, one.entry());
    CHECK(matches(last_line(ran.err), "row"));
    CHECK(!fs::exists(one.at("out") / "model.safetensors"));
  }
}

TEST_CASE("training cases: more rows than frames", "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("feature-rows", one) {
    std::vector<std::string> models;
    for (const json& name : one.entry()["data"]) {
      const fs::path out = one.at("out-" + name.get<std::string>());
      const Ran ran = one.train(one.data(name), out);
      INFO("stderr: " << ran.err);
      if (ran.code == 2) {
        CHECK(matches(ran.err, "rows|frames"));
        return;
      }
      REQUIRE(ran.code == 0);
      models.push_back(file_bytes(out / "model.safetensors"));
    }
    // They differ behind the first rows only: equal models would say that the first rows were taken.
    CHECK((models.at(0) != models.at(1)));
  }
}

TEST_CASE("training cases: features of an unknown encoder, then pictures",
          "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("foreign-features", one) {
    const fs::path out = one.at("out");
    REQUIRE(one.train(one.data(), out).code == 0);
    const Ran ran = one.caption(out, (training_cases() / one.entry()["input"]).string());
    INFO("stderr: " << ran.err);
    CHECK(ran.code == 2);
    CHECK(ran.out.empty());
    CHECK(matches(last_line(ran.err), "--encoder"));
  }
}

TEST_CASE("training cases: commonsense without annotations", "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("no-commonsense", one) {
    const json& entry = one.entry();
    const fs::path out = one.at("out");
    const Ran ran = one.train(one.data(), out);
    INFO("stderr: " << ran.err);
    if (ran.code == 2) {
      check_refused(ran, entry);
      return;
    }
    REQUIRE(ran.code == 0);
    for (const json& name : entry["names"]) CHECK(matches(ran.err, name.get<std::string>()));
    const json found = only_caption(one.caption(out, one.data() + "/features/video0.npy"));
    for (const json& aspect : entry["untrained"]) {
      const json& text = found[aspect.get<std::string>()];
      const bool read = text.is_string() && entry.contains("or_read") &&
                        matches(text.get<std::string>(), "play|win|seen|quick");
      INFO(aspect << ": " << text);
      CHECK((text.is_null() || read));
    }
  }
}

TEST_CASE("training cases: no words, no captions", "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("no-words", one) { check_refused(one.train(one.data(), one.at("out")), one.entry()); }
  FOR_EACH_CASE("empty-captions", one) {
    const Ran ran = one.train(one.data(), one.at("out"));
    INFO("stderr: " << ran.err);
    if (one.entry().value("all", false) || ran.code == 2) {
      check_refused(ran, one.entry());
      return;
    }
    CHECK(ran.code == 0);
    CHECK(matches(ran.err, "empty|without words"));
  }
}

TEST_CASE("training cases: splits", "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  FOR_EACH_CASE("eval-split", one) {
    const json& entry = one.entry();
    const std::string split = entry["split"];
    const Ran ran = one.train(one.data(), one.at("out"), {"data.eval_split=" + split, "train.eval_every=10"});
    INFO("stderr: " << ran.err);
    if (entry.contains("clips")) {
      CHECK(ran.code == 0);
      CHECK(matches(ran.err, "of " + std::to_string(entry["clips"].get<int>()) + " captions"));
    } else {
      CHECK(ran.code == 2);
      CHECK(matches(last_line(ran.err), split));
      CHECK(matches(last_line(ran.err), "\\btrain\\b"));
    }
  }
}

TEST_CASE("training cases: clips without a file are all named before step 1",
          "[case_training_data][needs_shared]") {
  if (!is_there()) SKIP_TEST("no ../shared/cases/training");
  for (const char* kind : {"eval-clip-missing", "missing-clips"}) {
    FOR_EACH_CASE(kind, one) {
      const Ran ran = one.train(one.data(), one.at("out"));
      check_refused(ran, one.entry());
      CHECK(!matches(ran.err, "step +[0-9]"));
    }
  }
}

}  // namespace clipcap::testing
