// CLIP checkpoints of three libraries against what those libraries compute
// with them (tools/fixtures/make_clip_golden.py).
#include <cmath>

#include "clipcap/encoders/clip_checkpoint.h"
#include "tensor/io/safetensors.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

const std::filesystem::path kFolder = testing::golden_path("clip");

struct Case {
  const char* file;
  const char* expected;  // prefix in expected.safetensors
  ClipLayout layout;
  Activation activation;
  const char* activation_source;
};

const Case kCases[] = {
    {"hf/model.safetensors", "hf", ClipLayout::hugging_face, Activation::quick_gelu, "config.json"},
    {"hf/pytorch_model.bin", "hf", ClipLayout::hugging_face, Activation::quick_gelu, "config.json"},
    {"open_clip/epoch_2.pt", "open_clip", ClipLayout::open_clip, Activation::gelu, "open_clip_config.json"},
    {"open_clip/open_clip_model.safetensors", "custom", ClipLayout::open_clip, Activation::gelu,
     "open_clip_config.json"},
    {"openai.pt", "openai", ClipLayout::openai, Activation::quick_gelu,
     "by the family of the names (OpenAI)"},
};

double relative_error(const Tensor& found, const Tensor& expected) {
  const std::vector<float> a = found.to_vector<float>();
  const std::vector<float> b = expected.to_vector<float>();
  REQUIRE(a.size() == b.size());
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

std::vector<int32_t> end_positions(const Tensor& ids) {
  std::vector<int32_t> ends;
  const std::vector<int32_t> all = ids.to_vector<int32_t>();
  for (int64_t b = 0; b < ids.dim(0); ++b) {
    const auto row = all.begin() + b * ids.dim(1);
    ends.push_back(static_cast<int32_t>(std::max_element(row, row + ids.dim(1)) - row));
  }
  return ends;
}

}  // namespace

TEST_CASE("CLIP checkpoints: features as the original libraries compute them", "[clip_checkpoint]") {
  const auto expected = read_safetensors(kFolder / "expected.safetensors").tensors;
  for (const Case& one : kCases) {
    for (const bool pack : {false, true}) {
      INFO(one.file << " packed " << pack);
      const ClipCheckpoint checkpoint = read_clip_checkpoint(kFolder / one.file);
      INFO(checkpoint.describe());
      CHECK(checkpoint.layout == one.layout);
      CHECK(checkpoint.activation == one.activation);
      CHECK(checkpoint.activation_source.find(one.activation_source) != std::string::npos);
      REQUIRE(checkpoint.vision);
      REQUIRE(checkpoint.text);
      CHECK(checkpoint.vision->resolution == 24);
      CHECK(checkpoint.vision->patch == 8);
      CHECK(checkpoint.vision->layers == 2);
      CHECK(checkpoint.vision->mlp_width() == 64);
      CHECK(checkpoint.vision->embed == 12);
      CHECK(checkpoint.text->vocab == 60);
      CHECK(checkpoint.text->context == 10);
      const Clip clip = load_clip(checkpoint, {.pack = pack});
      const NoGrad guard;
      const std::string prefix = one.expected;
      const Tensor ids = expected.at("ids");
      const Tensor image = clip.vision->forward(Variable(expected.at("pixels")), nn::Run{}).value();
      const Tensor text = clip.text->forward(ids, end_positions(ids), nn::Run{}).value();
      CHECK(relative_error(image, expected.at(prefix + ".image")) < 2e-6);
      CHECK(relative_error(text, expected.at(prefix + ".text")) < 2e-6);
      CHECK(clip.logit_scale == Approx(std::exp(4.0)));
    }
  }
}

TEST_CASE("CLIP checkpoints: the other activation when asked, and by the family without a configuration",
          "[clip_checkpoint]") {
  const TemporaryFolder folder("clip_activation");
  const auto alone = folder.write("weights.pt", file_bytes(kFolder / "open_clip/epoch_2.pt"));
  const ClipCheckpoint by_names = read_clip_checkpoint(alone);
  CHECK(by_names.activation == Activation::quick_gelu);
  CHECK(by_names.layout == ClipLayout::openai);
  CHECK(read_clip_checkpoint(alone, {.activation = Activation::gelu}).activation == Activation::gelu);
  // Where no file says otherwise, heads are 64 wide; this width has only one.
  CHECK(by_names.vision->heads == 1);
  const auto named =
      folder.write("open_clip_pytorch_model.bin", file_bytes(kFolder / "open_clip/epoch_2.pt"));
  CHECK(read_clip_checkpoint(named).activation == Activation::gelu);
  folder.write("config.json", R"({"vision_config": {"hidden_act": "swish"}})");
  CHECK(message_of<InputError>([&] {
          static_cast<void>(read_clip_checkpoint(alone));
        }).find("config.json: vision_config.hidden_act") != std::string::npos);
  folder.write("config.json", R"({"vision_config": {"hidden_act": )" + std::string(500'000, '[') +
                                  std::string(500'000, ']') + "}}");
  CHECK(message_of<InputError>([&] {
          static_cast<void>(read_clip_checkpoint(alone));
        }).find("nested deeper") != std::string::npos);
  folder.write("config.json", R"({"model": {"frames": 3}})");  // somebody else's
  CHECK(read_clip_checkpoint(alone).activation == Activation::quick_gelu);
  // Both libraries' files can say either, and how many heads there are.
  folder.write("config.json", R"({"vision_config": {"hidden_act": "gelu", "num_attention_heads": 8}})");
  CHECK(read_clip_checkpoint(alone).activation == Activation::gelu);
  CHECK(read_clip_checkpoint(alone).vision->heads == 8);
  CHECK(read_clip_checkpoint(alone).text->heads == 1);
  folder.write("open_clip_config.json", R"({"model_cfg": {"quick_gelu": true, "vision_cfg": {"head_width": 8},
    "text_cfg": {"heads": 2}}})");
  CHECK(read_clip_checkpoint(alone).activation == Activation::quick_gelu);
  CHECK(read_clip_checkpoint(alone).vision->heads == 4);
  CHECK(read_clip_checkpoint(alone).text->heads == 2);
  CHECK(read_clip_checkpoint(alone).layout == ClipLayout::open_clip);
  folder.write("open_clip_config.json",
               R"({"model_cfg": {"quick_gelu": false, "vision_cfg": {"head_width": 8}}})");
  CHECK(read_clip_checkpoint(alone).activation == Activation::gelu);
}

TEST_CASE("CLIP checkpoints: where nothing is said, heads are 64 wide but in open_clip's three largest",
          "[clip_checkpoint]") {
  const TemporaryFolder folder("clip_heads");
  for (const auto& [width, heads] :
       {std::pair{64, 1}, {128, 2}, {192, 3}, {1280, 16}, {1408, 16}, {1664, 16}}) {
    INFO(width);
    Generator generator(1);
    ClipCheckpoint checkpoint;
    checkpoint.vision = VitGeometry{16, 8, width, 0, 1, 12};
    VisionTower tower(*checkpoint.vision, Activation::quick_gelu, generator);
    checkpoint.vision_weights = nn::state_dict(tower);
    const std::filesystem::path path = folder.path() / "clip.safetensors";
    write_safetensors(path, rename_clip(checkpoint, ClipLayout::openai), {});
    CHECK(read_clip_checkpoint(path).vision->heads == heads);
  }
}

TEST_CASE("CLIP checkpoints: names change between layouts and back without loss", "[clip_checkpoint]") {
  const TemporaryFolder folder("clip_rename");
  for (const Case& one : kCases) {
    const ClipCheckpoint checkpoint = read_clip_checkpoint(kFolder / one.file);
    for (const ClipLayout layout : {ClipLayout::openai, ClipLayout::hugging_face, ClipLayout::open_clip}) {
      INFO(one.file << " to " << name_of(layout));
      const auto path = folder.path() / "x.safetensors";
      write_safetensors(path, rename_clip(checkpoint, layout));
      const ClipCheckpoint again = read_clip_checkpoint(path);
      CHECK((again.layout == ClipLayout::hugging_face) == (layout == ClipLayout::hugging_face));
      const auto same = [](const nn::StateDict& a, const nn::StateDict& b) {
        REQUIRE(a.size() == b.size());
        for (const auto& [name, tensor] : a) {
          INFO(name);
          CHECK(b.at(name).dtype() == tensor.dtype());
          CHECK(b.at(name).shape() == tensor.shape());
          CHECK(b.at(name).to(DType::f64).to_vector<double>() == tensor.to(DType::f64).to_vector<double>());
        }
      };
      same(checkpoint.vision_weights, again.vision_weights);
      same(checkpoint.text_weights, again.text_weights);
      CHECK(*again.logit_scale == Approx(*checkpoint.logit_scale));
    }
  }
  // Names and shapes as Hugging Face's own file has them.
  const auto theirs = read_tensor_file(kFolder / "hf/model.safetensors").tensors;
  const auto ours =
      rename_clip(read_clip_checkpoint(kFolder / "hf/pytorch_model.bin"), ClipLayout::hugging_face);
  REQUIRE(ours.size() == theirs.size());
  for (const auto& [name, tensor] : theirs) CHECK(ours.at(name).shape() == tensor.shape());
}

TEST_CASE("CLIP checkpoints: one tower alone", "[clip_checkpoint]") {
  const TemporaryFolder folder("clip_tower");
  auto tensors = read_tensor_file(kFolder / "hf/model.safetensors").tensors;
  std::erase_if(tensors, [](const auto& entry) { return entry.first.starts_with("text_"); });
  const auto path = folder.path() / "vision.safetensors";
  write_safetensors(path, tensors);
  const ClipCheckpoint checkpoint = read_clip_checkpoint(path);
  CHECK(checkpoint.vision);
  CHECK_FALSE(checkpoint.text);
  CHECK(load_clip(checkpoint).text == nullptr);
}

TEST_CASE("CLIP checkpoints: what is missing, surplus or misshapen is listed", "[clip_checkpoint]") {
  const TemporaryFolder folder("clip_broken");
  const auto good = read_tensor_file(kFolder / "openai.pt").tensors;
  const auto refused = [&](const std::function<void(std::map<std::string, Tensor>&)>& change) {
    auto tensors = good;
    change(tensors);
    const auto path = folder.path() / "broken.safetensors";
    write_safetensors(path, tensors);
    const std::string message =
        message_of<InputError>([&] { static_cast<void>(read_clip_checkpoint(path)); });
    INFO(message);
    CHECK(message.find("broken.safetensors: ") != std::string::npos);
    return message;
  };
  const auto has = [](const std::string& message, const std::string& part) {
    INFO(message);
    CHECK(message.find(part) != std::string::npos);
  };
  has(refused([](auto& t) { t.erase("visual.ln_post.bias"); }), "missing visual.ln_post.bias [32]");
  has(refused([](auto& t) { t["visual.extra"] = Tensor::zeros({3}); }), "surplus visual.extra [3]");
  has(refused([](auto& t) { t["ln_final.weight"] = Tensor::zeros({7}); }),
      "shape of ln_final.weight is [7], expected [16]");
  has(refused([](auto& t) { t["ln_final.weight"] = Tensor::zeros({16}, DType::i32); }), "holds i32");
  has(refused([](auto& t) { t["visual.positional_embedding"] = Tensor::zeros({11, 32}); }), "no square grid");
  has(refused([](auto& t) { t["visual.transformer.resblocks.999.ln_1.bias"] = Tensor::zeros({32}); }),
      "at most 256 layers");
  has(refused([](auto& t) {
        for (auto it = t.begin(); it != t.end();)
          it = it->first.find("resblocks.1.") != std::string::npos ? t.erase(it) : std::next(it);
        t["visual.transformer.resblocks.200.ln_1.bias"] = Tensor::zeros({32});
      }),
      "more");
  has(refused([](auto& t) {
        t.clear();
        t["weight"] = Tensor::zeros({2});
      }),
      "no CLIP tower");
  has(refused([](auto& t) {
        t.clear();
        t["visual.trunk.blocks.0.weight"] = Tensor::zeros({2});
      }),
      "timm");
}

}  // namespace clipcap
