// Every key of the configuration by itself: it is read, kept within its bounds, printed and read back.
#include "clipcap/config/config.h"

#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

using namespace clipcap;
using nlohmann::json;

namespace {

// All keys with their values, "model.fusion.scales" and so on.
void flatten(const json& object, const std::string& prefix, std::map<std::string, json>& out) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      flatten(value, prefix + key + ".", out);
    } else {
      out[prefix + key] = value;
    }
  }
}

std::map<std::string, json> flat(const Config& config) {
  std::map<std::string, json> out;
  flatten(config_to_json(config), "", out);
  return out;
}

std::string error_of(const std::string& assignment) {
  Config config = load_config("clips");
  return message_of<InputError>([&] { set_config_key(config, assignment); });
}

}  // namespace

TEST_CASE("config: every key that is set is the one that changes, and survives printing", "[config]") {
  const Config before = load_config("clips");
  const std::map<std::string, json> keys = flat(before);
  CHECK(keys.size() > 40);
  int changed = 0;
  for (const auto& [key, value] : keys) {
    INFO(key);
    json other;
    if (key == "model.text.embed") continue;  // a ViT's own, whatever is written there
    if (value.is_boolean()) {
      other = !value.get<bool>();
    } else if (value.is_number_integer()) {
      other = value.get<int64_t>() == 1 ? 2 : 1;
    } else if (value.is_number_float()) {
      other = value.get<double>() == 0.25 ? 0.5 : 0.25;
    } else if (key == "loss.alpha") {
      other = {0.5, 0.25, 2.0, 3.0};
    } else if (key == "model.subdecoders") {
      other = {"effect", "attribute"};
    } else if (key.starts_with("data.") && key != "data.sampling") {
      other = "elsewhere";
    } else {
      continue;  // words from a list: below
    }
    Config config = before;
    const std::string text =
        message_of<InputError>([&] { set_config_key(config, key + "=" + other.dump()); });
    if (!text.empty()) {  // refused for its bounds or another key: it must say so by name
      CHECK(text.find("--set") == 0);
      CHECK(flat(before) == keys);
      continue;
    }
    const std::map<std::string, json> after = flat(config);
    CHECK(after.at(key) == other);
    for (const auto& [name, unchanged] : keys) {
      // CLIP's joint space is as wide as the image tower's end.
      if (name != key && name != "model.text.embed") {
        INFO(name);
        CHECK(after.at(name) == unchanged);
      }
    }
    CHECK(flat(parse_config(print_config(config), "printed")) == after);
    ++changed;
  }
  CHECK(changed > 30);
}

TEST_CASE("config: what is printed holds every value", "[config]") {
  Config config = load_config("clips");
  for (const char* assignment :
       {"train.seed=77", "train.steps=12", "train.lr=0.125", "train.train_encoder=true", "loss.distill=3.5",
        "loss.alpha=[1,2,3,4]", "loss.label_smoothing=0.25", "model.vis2text.final_activation=none",
        "model.length.effect=11", "model.fusion.kind=conv1d", "data.split=mine",
        "model.subdecoders=[\"effect\"]"})
    set_config_key(config, assignment);
  const Config read = parse_config(print_config(config), "printed");
  CHECK(read.train.seed == 77);
  CHECK(read.train.steps == 12);
  CHECK(read.train.lr == 0.125);
  CHECK(read.train.train_encoder);
  CHECK(read.loss.distill == 3.5);
  CHECK(read.loss.alpha == std::vector<double>{1, 2, 3, 4});
  CHECK(read.loss.label_smoothing == 0.25);
  CHECK(read.model.vis2text_activation == "none");
  CHECK(read.model.effect_length == 11);
  CHECK(read.model.fusion_kind == "conv1d");
  CHECK(read.data.split == "mine");
  CHECK(read.model.subdecoders == std::vector<std::string>{"effect"});
}

TEST_CASE("config: bounds are inclusive and errors name key, value and bound", "[config]") {
  CHECK(error_of("model.fusion.scales=3").empty());
  CHECK(error_of("model.fusion.scales=1").empty());
  check_contains(error_of("model.fusion.scales=4"), "model.fusion.scales: 4 is above 3");
  check_contains(error_of("model.fusion.scales=0"), "model.fusion.scales: 0 is below 1");
  check_contains(error_of("model.fusion.scales=-9223372036854775808"), "is below 1");
  check_contains(error_of("model.fusion.scales=18446744073709551615"), "is above 3");
  check_contains(error_of("model.fusion.scales=1.5"), "expected an integer");
  check_contains(error_of("model.fusion.scales=true"), "expected an integer");
  CHECK(error_of("model.dropout=0").empty());
  CHECK(error_of("model.dropout=0.95").empty());
  check_contains(error_of("model.dropout=0.96"), "model.dropout: 0.96 is outside [0, 0.95]");
  check_contains(error_of("model.dropout=-0.01"), "is outside [0, 0.95]");
  check_contains(error_of("train.train_encoder=1"), "expected true or false");
  check_contains(error_of("model.fusion.kind=rnn"), "\"rnn\"; expected one of lstm, transformer, conv1d");
  check_contains(error_of("loss.alpha=[1,1,1,-1]"), "four numbers from 0 on");
  check_contains(error_of("loss.alpha=[1,1,1]"), "four numbers from 0 on");
  check_contains(error_of("model.subdecoders=[\"effect\",\"effect\"]"), "each once");
  check_contains(error_of("model.subdecoders=[\"cause\"]"), "each once");
  check_contains(error_of("model.fusion=3"), "model.fusion: expected an object");
  check_contains(error_of("model.fusoin.kind=lstm"), "did you mean \"model.fusion.kind\"?");
  check_contains(error_of("train.lr"), "expected key=value");
  check_contains(error_of("=1"), "expected key=value");
}

TEST_CASE("config: keys that must fit each other", "[config]") {
  check_contains(error_of("model.heads=7"), "model.heads: 7 do not divide model.dim");
  Config config = load_config("msrvtt");
  CHECK(config.model.geometry.patch == 16);
  CHECK(config.model.text.embed == 512);
  set_config_key(config, "model.encoder=vit-l-14");
  CHECK(config.model.geometry.patch == 14);
  CHECK(config.model.geometry.width == 1024);
  CHECK(config.model.text.embed == 768);  // CLIP's joint space is as wide as the image tower's end
  set_config_key(config, "model.encoder=vit-b-32");
  CHECK(config.model.geometry.patch == 32);
  CHECK(config.model.text.embed == 512);
  const std::string odd = message_of<InputError>(
      [] { (void)parse_config(R"({"model": {"encoder": {"resolution": 30, "patch": 16}}})", "file"); });
  check_contains(odd, "model.encoder.resolution: 30 is not a multiple of the patch 16");
  const std::string trained = message_of<InputError>([] {
    (void)parse_config(R"({"model": {"encoder": "resnet152"}, "train": {"train_encoder": true}})", "file");
  });
  check_contains(trained, "train.train_encoder");
  const std::string none = message_of<InputError>([] { (void)load_config("nowhere.json"); });
  check_contains(none, "clips, msrvtt");
}

TEST_CASE("config: sub-decoders are kept in the model's order", "[config]") {
  Config config = load_config("clips");
  set_config_key(config, R"(model.subdecoders=["attribute","intention"])");
  CHECK(config.model.subdecoders == std::vector<std::string>{"intention", "attribute"});
}

TEST_CASE("config: assignments are checked together, whatever their order", "[config]") {
  const std::vector<std::string> in_order{"model.encoder.patch=20", "model.encoder.resolution=100"};
  const std::vector<std::string> reversed{"model.encoder.resolution=100", "model.encoder.patch=20"};
  CHECK(config_to_json(load_config("clips", in_order)) == config_to_json(load_config("clips", reversed)));
  CHECK(load_config("clips", in_order).model.geometry.patch == 20);
  CHECK(load_config("msrvtt", std::vector<std::string>{"model.encoder.width=64", "model.encoder=custom",
                                                       "model.encoder.heads=4"})
            .model.geometry.width == 64);
  check_contains(
      message_of<InputError>([] { (void)load_config("clips", std::vector<std::string>{"model.heads=7"}); }),
      "clips with --set: model.heads: 7 do not divide");
  // A file that needs them.
  const TemporaryFolder folder("config_order");
  const std::string file = folder.write("mine.json", R"({"model": {"dim": 100}})").string();
  CHECK(load_config(file, std::vector<std::string>{"model.heads=4", "model.fusion.heads=4",
                                                   "model.fusion.kind=transformer"})
            .model.dim == 100);
  CHECK(!message_of<InputError>([&] { (void)load_config(file); }).empty());
}

TEST_CASE("config: a key without effect is an error that says why", "[config]") {
  const auto refused = [](const std::string& source, const std::vector<std::string>& assignments) {
    return message_of<InputError>([&] { (void)load_config(source, assignments); });
  };
  check_contains(refused("msrvtt", {"model.encoder.resolution=64"}),
                 "--set model.encoder.resolution has no effect: model.encoder is vit-b-16");
  check_contains(refused("msrvtt", {"model.encoder.resolution=224"}), "has no effect");
  check_contains(refused("clips", {"encoder.weights=clip.pt", "loss.distill=0", "model.encoder.width=64"}),
                 "--set model.encoder.width has no effect: the file of encoder.weights");
  check_contains(refused("clips", {"model.text.embed=64"}), "--set model.text.embed has no effect");
  check_contains(refused("clips", {"model.text.width=64", "loss.distill=0"}), "loss.distill is 0");
  check_contains(refused("clips", {"loss.distill=0", "loss.distill_target=tokens"}), "loss.distill is 0");
  check_contains(refused("clips", {"loss.distill=0", "encoder.tokenizer=t"}), "loss.distill is 0");
  check_contains(refused("clips", {"encoder.tokenizer=t"}), "--set encoder.tokenizer has no effect");
  check_contains(refused("clips", {"model.fusion.heads=4"}), "not transformer");
  check_contains(refused("clips", {"model.fusion.kind=conv1d", "model.fusion.bidirectional=true"}),
                 "not lstm");
  check_contains(refused("clips", {"model.subdecoders=[]", "model.subdecoder.layers=1"}), "is empty");
  check_contains(refused("clips", {R"(model.subdecoders=["effect"])", "model.length.intention=9"}),
                 "intention is not among model.subdecoders");
  check_contains(refused("clips", {"train.encoder_lr_scale=1"}), "train.train_encoder is false");
  // Keys that others make effective, and keys of the file that --set took their effect from.
  for (const std::vector<std::string>& good : std::vector<std::vector<std::string>>{
           {"model.fusion.kind=transformer", "model.fusion.heads=4"},
           {"train.train_encoder=true", "train.encoder_lr_scale=1"},
           {"encoder.weights=clip.pt", "encoder.tokenizer=t"},
           {"loss.distill=0"},
           {"model.subdecoders=[]"},
           {"model.encoder=vit-b-32"},
           {"model.encoder=resnet152", "model.text.embed=64"},
           {R"(model.subdecoders=["intention"])", "model.length.intention=9"}}) {
    INFO(good[0]);
    CHECK(refused("clips", good).empty());
  }
  const TemporaryFolder folder("config_effect");
  const auto file = [&](const std::string& text) { return folder.write("mine.json", text).string(); };
  check_contains(refused(file(R"({"model": {"fusion": {"heads": 4}}})"), {}),
                 "mine.json: model.fusion.heads has no effect: model.fusion.kind is lstm");
  CHECK(refused(file(R"({"model": {"fusion": {"heads": 4}}})"), {"model.fusion.kind=transformer"}).empty());
  CHECK(refused(file(R"({"model": {"fusion": {"heads": 8}}})"), {}).empty());  // what it is anyway
  check_contains(refused(file(R"({"model.encoder": "vit-b-16", "model.encoder.patch": 32})"), {}),
                 "model.encoder.patch has no effect");
  CHECK(refused(file(R"({"model.encoder": "vit-b-32", "model.encoder.patch": 32})"), {}).empty());
  // A configuration that lists every key, as the program writes them.
  const Config plain =
      load_config("clips", std::vector<std::string>{"model.fusion.kind=transformer", "model.fusion.heads=4"});
  std::string printed = print_config(plain);
  CHECK(refused(file(printed), {}).empty());
  printed.replace(printed.find("\"transformer\""), 13, "\"lstm\"");
  CHECK(refused(file(printed), {}).empty());
}

TEST_CASE("config: the key that was meant, without its group too", "[config]") {
  check_contains(error_of("lr=1"), "did you mean \"train.lr\"?");
  check_contains(error_of("stpes=1"), "did you mean \"train.steps\"?");
  check_contains(error_of("train.Batch=1"), "did you mean \"train.batch\"?");
  check_contains(error_of("model.encoder.rseolution=1"), "did you mean \"model.encoder.resolution\"?");
  check_contains(message_of<InputError>([] { (void)load_config("msrvt"); }), "did you mean \"msrvtt\"?");
}
