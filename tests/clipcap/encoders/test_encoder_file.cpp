// Encoders' files with a configuration: what is recorded of them, what identifies their features, and where a file is
// found that moved.
#include "clipcap/encoders/encoder_file.h"

#include <set>

#include "clipcap/config/config.h"
#include "tensor/io/safetensors.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

const std::filesystem::path kFolder = testing::golden_path("clip");
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Config with_weights(const std::filesystem::path& weights) {
  Config config;
  config.encoder.weights = weights.string();
  return config;
}

}  // namespace

TEST_CASE("encoder file: everything that changes a random encoder's features is in its name",
          "[encoder_file]") {
  Config config;
  config.model.encoder = "custom";
  config.model.geometry = {32, 8, 64, 2, 2, 16};
  std::set<std::string> names{encoder_name(config)};
  const auto changes = [&](const std::function<void(Config&)>& change) {
    Config other = config;
    change(other);
    CHECK(names.insert(encoder_name(other)).second);
  };
  changes([](Config& c) { c.model.geometry.resolution = 48; });
  changes([](Config& c) { c.model.geometry.patch = 16; });
  changes([](Config& c) { c.model.geometry.width = 96; });
  changes([](Config& c) { c.model.geometry.layers = 3; });
  changes([](Config& c) { c.model.geometry.heads = 4; });
  changes([](Config& c) { c.model.geometry.embed = 24; });
  changes([](Config& c) { c.model.geometry.hidden = 100; });
  changes([](Config& c) { c.encoder.activation = "gelu"; });
  changes([](Config& c) { c.encoder.activation = "gelu_tanh"; });
  changes([](Config& c) { c.encoder.settings = R"({"activation":"quick_gelu","eps":0.001,"heads":2})"; });
  changes([](Config& c) { c.train.seed = 5; });
  Config same = config;
  same.model.geometry.hidden = 4 * 64;  // as 0 says
  CHECK(encoder_name(same) == encoder_name(config));
}

TEST_CASE("encoder file: settings of weights are recorded, and what is recorded is what is used",
          "[encoder_file]") {
  const TemporaryFolder folder("encoder_settings");
  const auto weights = folder.write("model.safetensors", file_bytes(kFolder / "hf/model.safetensors"));
  std::string json = file_bytes(kFolder / "hf/config.json");
  const std::string usual = json;
  for (size_t at = json.find("1e-05"); at != std::string::npos; at = json.find("1e-05", at))
    json.replace(at, 5, "0.01");
  folder.write("config.json", json);
  Config config = with_weights(weights);
  adopt_encoder_file(config, "test");
  CHECK(config.encoder.settings == R"({"activation":"quick_gelu","eps":0.01,"heads":2})");
  CHECK(has(config.encoder.text_settings, "\"eps\":0.01"));
  CHECK(config.encoder.activation == "quick_gelu");
  const std::string name = encoder_name(config);
  const Tensor frames = Tensor::full({1, 3, 24, 24}, 0.25);
  Generator unused(0);
  const auto features = [&](const Config& c) {
    return make_image_encoder(c, unused, true)->encode(frames).to_vector<float>();
  };
  const std::vector<float> before = features(config);
  // The configuration beside the file changes or goes: the record stands.
  folder.write("config.json", usual);
  Config again = config;
  adopt_encoder_file(again, "test");
  CHECK(encoder_name(again) == name);
  CHECK(features(again) == before);
  // A run that begins now records what it finds, and its features have another name.
  Config fresh = with_weights(weights);
  adopt_encoder_file(fresh, "test");
  CHECK(encoder_name(fresh) != name);
  CHECK(features(fresh) != before);
  // A tuned encoder without a file of its own is computed in the same way.
  Config tuned = config;
  tuned.train.train_encoder = true;
  const auto empty = make_empty_image_encoder(tuned);
  nn::load_state_dict(*empty, nn::state_dict(*make_image_encoder(config, unused, false)), "test");
  CHECK(empty->encode(frames).to_vector<float>() ==
        make_image_encoder(config, unused, false)->encode(frames).to_vector<float>());
}

TEST_CASE("encoder file: a folder, its file and its shards have the hashes that tell them apart",
          "[encoder_file]") {
  const TemporaryFolder folder("encoder_hash");
  const auto file = folder.write("one/model.safetensors", file_bytes(kFolder / "hf/model.safetensors"));
  CHECK(checkpoint_sha256(folder.path() / "one") == checkpoint_sha256(file));
  auto tensors = read_tensor_file(file).tensors;
  std::filesystem::create_directories(folder.path() / "two");
  std::map<std::string, Tensor> first;
  for (const auto& name : {"logit_scale", "visual_projection.weight"}) {
    first[name] = tensors.at(name);
    tensors.erase(name);
  }
  const auto part = [&](int number) {
    return folder.path() / "two" / ("model-0000" + std::to_string(number) + "-of-00002.safetensors");
  };
  write_safetensors(part(1), first);
  write_safetensors(part(2), tensors);
  const std::string shards = checkpoint_sha256(folder.path() / "two");
  CHECK(shards == checkpoint_sha256(part(2)));
  CHECK(shards != checkpoint_sha256(file));
  Config config = with_weights(folder.path() / "two");
  CHECK(has(adopt_encoder_file(config, "test"), "2 files"));
  CHECK(config.encoder.sha256 == shards);
}

TEST_CASE("encoder file: one that moved is found by its content, and never the captioner's own",
          "[encoder_file]") {
  const TemporaryFolder folder("encoder_moved");
  const std::string bytes = file_bytes(kFolder / "hf/model.safetensors");
  const auto original = folder.write("there/enc/model.safetensors", bytes);
  Config config = with_weights(original);
  adopt_encoder_file(config, "test");
  std::filesystem::remove_all(folder.path() / "there");
  const auto search = [&](const std::string& directory) {
    Config moved = config;
    find_moved_encoder(moved, folder.path() / directory);
    return std::filesystem::path(moved.encoder.weights);
  };
  std::filesystem::create_directories(folder.path() / "run/best");
  CHECK(search("run") ==
        original);  // nowhere: it stays as it was, and adopt_encoder_file says that it is gone
  // The captioner's own file has the encoder's name, and even, to be nasty, its content.
  folder.write("run/model.safetensors", bytes);
  CHECK(search("run") == original);
  Config gone = config;
  find_moved_encoder(gone, folder.path() / "run");
  CHECK(has(message_of<InputError>([&] { adopt_encoder_file(gone, "config.json"); }), "no such file"));
  // Another file of that name is not it.
  folder.write("run/enc/model.safetensors", "something else");
  CHECK(search("run") == original);
  const auto inside = folder.write("run/clip.safetensors", bytes);  // under another name
  CHECK(search("run") == inside);
  std::filesystem::remove(inside);
  const auto tail = folder.write("run/enc/model.safetensors", bytes);
  CHECK(search("run") == tail);
  CHECK(search("run/best") == tail);  // best/ lies inside
  std::filesystem::remove(tail);
  const auto beside = folder.write("enc/model.safetensors", bytes);
  CHECK(search("run") == beside);
  // What is still there is not looked for.
  folder.write("there/enc/model.safetensors", "changed");
  CHECK(search("run") == original);
}

TEST_CASE("encoder file: no model is written over its encoder", "[encoder_file]") {
  const TemporaryFolder folder("encoder_safe");
  const std::string bytes = file_bytes(kFolder / "hf/model.safetensors");
  const auto refused = [&](const std::function<void(Config&)>& set, const std::string& out) {
    Config config;
    set(config);
    return message_of<InputError>([&] { check_encoder_is_safe(config, folder.path() / out); });
  };
  const auto weights = folder.write("out/model.safetensors", bytes).string();
  const auto here = [&](Config& c) { c.encoder.weights = weights; };
  const auto whole = [&](Config& c) { c.encoder.text_weights = (folder.path() / "out").string(); };
  const auto other = folder.write("clip/clip.safetensors", bytes).string();
  const auto there = [&](Config& c) { c.encoder.weights = other; };
  CHECK(has(refused(here, "out"), "encoder.weights: " + weights));
  CHECK(has(refused(whole, "out"), "encoder.text_weights"));
  CHECK(refused(here, "elsewhere").empty());
  CHECK(refused(there, "out").empty());
  CHECK(refused(there, "clip").empty());  // a model may stand beside its encoder
  folder.write("clip/config.json", R"({"model": {"frames": 3}})");
  CHECK(refused(there, "clip").empty());
  folder.write("clip/config.json", R"({"architectures": ["CLIPModel"]})");
  CHECK(has(refused(there, "clip"), "config.json beside it"));
  folder.write("bpe/vocab.json", "{}");
  const auto vocabulary = [&](Config& c) { c.encoder.tokenizer = (folder.path() / "bpe").string(); };
  CHECK(has(refused(vocabulary, "bpe"), "encoder.tokenizer"));
  CHECK(refused(vocabulary, "out").empty());
}

}  // namespace clipcap
