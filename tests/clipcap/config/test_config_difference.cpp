// Which keys differ between two configurations, and which of them a run may change on its way.
#include "clipcap/config/config_difference.h"

#include <nlohmann/json.hpp>

#include "tests/catch.h"

namespace clipcap {
namespace {

std::vector<ChangedKey> after(const Config& before, const std::vector<std::string>& assignments) {
  Config now = before;
  for (const std::string& assignment : assignments) set_config_key(now, assignment);
  return changed_keys(before, now);
}

}  // namespace

TEST_CASE("changed keys with both values", "[config_difference]") {
  const Config config = load_config("msrvtt");
  CHECK(after(config, {}).empty());
  const auto changed = after(config, {"train.lr=0.5", "model.heads=4", "loss.alpha=[1,1,1,0]"});
  REQUIRE(changed.size() == 3);
  CHECK(changed[0].key == "loss.alpha");
  CHECK(changed[0].now == "[1.0,1.0,1.0,0.0]");
  CHECK(changed[1].key == "model.heads");
  CHECK(changed[1].before == "8");
  CHECK(changed[1].now == "4");
  CHECK(changed[2].key == "train.lr");
  CHECK(changed[0].may_change);
  CHECK(!changed[1].may_change);
  CHECK(changed[2].may_change);
}

TEST_CASE("everything of the model, the sampling, the seed and the encoder stays", "[config_difference]") {
  const Config config = load_config("msrvtt");
  for (const char* assignment :
       {"model.frames=7", "model.vis2text.final_activation=none", "model.dropout=0.5",
        "data.sampling=linspace", "train.seed=5", "train.train_encoder=true", "encoder.activation=gelu",
        "encoder.sha256=abc", "loss.distill_target=tokens", "model.encoder=vit-b-32",
        "model.length.effect=5"}) {
    INFO(assignment);
    const auto changed = after(config, {assignment});
    REQUIRE(!changed.empty());
    CHECK(!changed[0].may_change);
  }
  for (const char* assignment : {"train.steps=7", "train.batch=7", "train.warmup=1", "train.accumulate=2",
                                 "data.features=x", "encoder.weights=y", "data.split=test"}) {
    INFO(assignment);
    const auto changed = after(config, {assignment});
    REQUIRE(changed.size() == 1);
    CHECK(changed[0].may_change);
  }
}

TEST_CASE("an encoder of another kind shows in all its keys", "[config_difference]") {
  Config custom = load_config("msrvtt");
  set_config_key(custom, "model.encoder={\"resolution\":32,\"patch\":16}");
  const auto changed = changed_keys(load_config("msrvtt"), custom);
  CHECK(changed.size() > 3);
  for (const ChangedKey& key : changed) {
    INFO(key.key);
    CHECK(key.key.rfind("model.", 0) == 0);
    CHECK(!key.may_change);
  }
}

}  // namespace clipcap
