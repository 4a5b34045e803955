// Configurations beside a CLIP's weights: what they change against what transformers and open_clip compute then
// (tools/fixtures/make_clip_settings_golden.py), and what is refused by its name.
#include "clipcap/encoders/clip_settings.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "clipcap/encoders/encoder_file.h"
#include "tensor/io/safetensors.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using nlohmann::json;

const std::filesystem::path kFolder = testing::golden_path("clip");

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

std::string config_name(const std::string& weights) {
  return weights.starts_with("hf") ? "config.json" : "open_clip_config.json";
}

// Weights and configuration in a folder of their own.
class Beside {
 public:
  explicit Beside(const std::string& weights) : folder_("clip_settings"), weights_(weights) {
    path_ = folder_.write("weights.safetensors", file_bytes(kFolder / weights));
  }
  const std::filesystem::path& with(const json& config) {
    folder_.write(config_name(weights_), config.dump());
    return path_;
  }
  json usual() const {
    return json::parse(file_bytes((kFolder / weights_).parent_path() / config_name(weights_)));
  }
  const TemporaryFolder& folder() const { return folder_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::string weights_;
  std::filesystem::path path_;
};

const char* const kHuggingFace = "hf/model.safetensors";
const char* const kOpenClip = "open_clip/open_clip_model.safetensors";

std::string refusal(const std::filesystem::path& path, const ClipReadOptions& options = {}) {
  return message_of<InputError>([&] { static_cast<void>(read_clip_checkpoint(path, options)); });
}

bool has(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("clip settings: what a configuration changes is what its library computes", "[clip_settings]") {
  const auto expected = read_safetensors(kFolder / "settings.safetensors").tensors;
  const auto inputs = read_safetensors(kFolder / "expected.safetensors").tensors;
  const json cases = json::parse(file_bytes(kFolder / "settings.json"));
  REQUIRE(cases.size() == 14);
  const Tensor ids = inputs.at("ids");
  const std::vector<int32_t> all = ids.to_vector<int32_t>();
  const NoGrad guard;
  for (const json& one : cases) {
    const std::string name = one["name"];
    INFO(name);
    Beside beside(one["weights"].get<std::string>());
    const ClipCheckpoint checkpoint = read_clip_checkpoint(beside.with(one["config"]));
    INFO(checkpoint.describe());
    const auto check = [&](const ClipCheckpoint& read) {
      const Clip clip = load_clip(read);
      const Tensor image = clip.vision->forward(Variable(inputs.at("pixels")), nn::Run{}).value();
      CHECK(relative_error(image, expected.at(name + ".image")) < 3e-6);
      for (int64_t b = 0; b < ids.dim(0); ++b) {
        const auto row = all.begin() + b * ids.dim(1);
        const auto end = static_cast<int32_t>(std::max_element(row, row + ids.dim(1)) - row);
        const TextTower::Reading reading = clip.text->reading(ids.dim(1), end);
        const Tensor text = clip.text
                                ->forward(ids.slice(0, b, 1).slice(1, 0, reading.length).contiguous(),
                                          {reading.position}, nn::Run{})
                                .value();
        CHECK(relative_error(text, expected.at(name + ".text").slice(0, b, 1)) < 3e-6);
      }
    };
    check(checkpoint);
    // Recorded, the settings stand in for the configuration, also where that is gone.
    std::filesystem::remove(beside.path().parent_path() / config_name(one["weights"]));
    ClipReadOptions options;
    options.vision_record = record_settings(checkpoint.vision_settings, checkpoint.vision->heads);
    options.text_record = record_settings(checkpoint.text_settings, checkpoint.text->heads);
    check(read_clip_checkpoint(beside.path(), options));
  }
}

TEST_CASE("clip settings: a flat configuration speaks for its one tower", "[clip_settings]") {
  const TemporaryFolder folder("clip_flat");
  auto tensors = read_tensor_file(kFolder / kHuggingFace).tensors;
  const json whole = json::parse(file_bytes(kFolder / "hf/config.json"));
  std::erase_if(tensors, [](const auto& entry) {
    return entry.first.starts_with("text_") || entry.first == "logit_scale";
  });
  const auto path = folder.path() / "model.safetensors";
  write_safetensors(path, tensors);
  json flat = whole["vision_config"];
  flat["hidden_act"] = "gelu";
  flat["layer_norm_eps"] = 1e-3;
  flat["architectures"] = {"CLIPVisionModelWithProjection"};
  folder.write("config.json", flat.dump());
  const ClipCheckpoint checkpoint = read_clip_checkpoint(path);
  CHECK(checkpoint.vision_settings.activation == Activation::gelu);
  CHECK(checkpoint.vision_settings.eps == 1e-3);
  CHECK(checkpoint.vision->heads == 2);
  CHECK(checkpoint.vision_settings.projection);
  // Saved without its projection: the pooled output, unless the class is one that has a projection.
  tensors.erase("visual_projection.weight");
  write_safetensors(path, tensors);
  CHECK(has(refusal(path), "visual_projection.weight is missing"));
  flat["architectures"] = {"CLIPVisionModel"};
  folder.write("config.json", flat.dump());
  const ClipCheckpoint pooled = read_clip_checkpoint(path);
  CHECK_FALSE(pooled.vision_settings.projection);
  CHECK(pooled.vision->embed == 32);
  CHECK(has(pooled.describe(), "pooled output"));
  CHECK(load_clip(pooled).vision->feature_dim() == 32);
}

TEST_CASE("clip settings: a key that is not computed is refused by its name, in either tower alone",
          "[clip_settings]") {
  const auto refused = [](const char* weights, const char* section, const char* key, const json& value) {
    Beside beside(weights);
    json config = beside.usual();
    json& where = config.contains("model_cfg") ? config["model_cfg"] : config;
    (*section == '\0' ? where : where[section])[key] = value;
    const std::string message = refusal(beside.with(config));
    INFO(message);
    CHECK(has(message, config_name(weights)));
    CHECK(has(message, key));
    CHECK(message.size() < 400);
    // The other tower is none of its business.
    const bool image = std::string(section).starts_with("vision");
    const ClipCheckpoint other = read_clip_checkpoint(beside.path(), {.vision = !image, .text = image});
    CHECK(other.vision.has_value() == !image);
    CHECK(other.text.has_value() == image);
    CHECK(has(other.describe(), key));
  };
  for (const char* section : {"vision_config", "text_config"}) {
    refused(kHuggingFace, section, "hidden_act", "silu");
    refused(kHuggingFace, section, "use_rope", true);
    refused(kHuggingFace, section, "model_type", "siglip_vision_model");
    refused(kHuggingFace, section, "hidden_size", 64);
    refused(kHuggingFace, section, "num_hidden_layers", 1);
    refused(kHuggingFace, section, "layer_norm_eps", "small");
  }
  for (const char* section : {"vision_cfg", "text_cfg"}) {
    refused(kOpenClip, section, "pool_type", "none");
    refused(kOpenClip, section, "act_kwargs", {{"approximate", "cubic"}});
    refused(kOpenClip, section, "norm_kwargs", {{"elementwise_affine", false}});
    refused(kOpenClip, section, "qk_norm", true);
    refused(kOpenClip, section, "tomorrow", 3);
    refused(kOpenClip, section, "width", 64);
  }
  refused(kOpenClip, "vision_cfg", "attentional_pool", true);
  refused(kOpenClip, "vision_cfg", "timm_model_name", "vit_base");
  refused(kOpenClip, "text_cfg", "hf_model_name", "roberta-base");
  refused(kOpenClip, "text_cfg", "embed_cls", true);
  const auto refused_for_both = [](const char* weights, const json& config, const char* key) {
    Beside beside(weights);
    const std::string message = refusal(beside.with(config));
    INFO(message);
    CHECK(has(message, key));
  };
  json config = Beside(kHuggingFace).usual();
  config["quantization_config"] = {{"bits", 4}};
  refused_for_both(kHuggingFace, config, "quantization_config");
  for (const auto& [type, name] :
       {std::pair{"siglip", "SigLIP"}, {"blip", "BLIP"}, {"new_clip", "new_clip"}}) {
    json other = Beside(kHuggingFace).usual();
    other["model_type"] = type;
    refused_for_both(kHuggingFace, other, name);
  }
  config = Beside(kOpenClip).usual();
  config["model_cfg"]["multimodal_cfg"] = {{"width", 3}};
  refused_for_both(kOpenClip, config, "multimodal_cfg");
}

TEST_CASE("clip settings: what is switched off or known to change nothing is passed over",
          "[clip_settings]") {
  Beside beside(kHuggingFace);
  json config = beside.usual();
  config["vision_config"].update(
      {{"new_switch", false}, {"other", nullptr}, {"list", json::array()}, {"top_k", 50}});
  config["use_cache"] = true;
  CHECK(read_clip_checkpoint(beside.with(config)).vision);
  // OpenAI's names beside some other model's config.json: said, not used.
  const TemporaryFolder folder("clip_other");
  const auto path = folder.write("clip.pt", file_bytes(kFolder / "openai.pt"));
  folder.write("config.json", R"({"model_type": "bert", "hidden_size": 768})");
  const ClipCheckpoint checkpoint = read_clip_checkpoint(path);
  CHECK(checkpoint.activation == Activation::quick_gelu);
  CHECK(has(checkpoint.describe(), "config.json is another model's"));
  folder.write("config.json",
               R"({"model_type": "clip", "vision_config": {"hidden_size": 768, "hidden_act": "gelu"}})");
  CHECK(read_clip_checkpoint(path).activation == Activation::quick_gelu);
}

TEST_CASE("clip settings: preprocessing beside the weights", "[clip_settings]") {
  Beside beside(kHuggingFace);
  beside.with(beside.usual());
  const auto read = [&](const json& config) {
    beside.folder().write("preprocessor_config.json", config.dump());
    return load_clip(read_clip_checkpoint(beside.path())).vision->preprocessing();
  };
  const json usual{{"size", {{"shortest_edge", 24}}},
                   {"crop_size", {{"height", 24}, {"width", 24}}},
                   {"resample", 3},
                   {"do_resize", true},
                   {"image_mean", {0.5, 0.25, 0.125}},
                   {"image_std", {1, 2, 3}},
                   {"image_processor_type", "CLIPImageProcessor"}};
  Preprocessing p = read(usual);
  CHECK(p.resize == 24);
  CHECK(p.crop == 24);
  CHECK(p.filter == ResizeFilter::bicubic);
  CHECK(p.mean == std::array<float, 3>{0.5F, 0.25F, 0.125F});
  CHECK(p.deviation == std::array<float, 3>{1, 2, 3});
  json other = usual;
  other.update({{"size", 30}, {"resample", 2}, {"do_normalize", false}});
  p = read(other);
  CHECK(p.resize == 30);
  CHECK(p.crop == 24);
  CHECK(p.filter == ResizeFilter::bilinear);
  CHECK(p.mean == std::array<float, 3>{0, 0, 0});
  CHECK(p.deviation == std::array<float, 3>{1, 1, 1});
  for (const auto& [key, value] : {std::pair<const char*, json>{"resample", 0},
                                   {"size", {{"height", 24}, {"width", 24}}},
                                   {"do_center_crop", false},
                                   {"crop_size", 32},
                                   {"image_mean", {0.5}},
                                   {"rescale_factor", 1},
                                   {"do_pixelate", true}}) {
    json wrong = usual;
    wrong[key] = value;
    beside.folder().write("preprocessor_config.json", wrong.dump());
    const std::string message = refusal(beside.path());
    INFO(message);
    CHECK(has(message, std::string("preprocessor_config.json: ") + key));
  }
  // open_clip's.
  Beside open(kOpenClip);
  json config = open.usual();
  config["preprocess_cfg"] = {
      {"mean", {0.5, 0.5, 0.5}}, {"interpolation", "bilinear"}, {"resize_mode", "shortest"}};
  p = load_clip(read_clip_checkpoint(open.with(config))).vision->preprocessing();
  CHECK(p.mean == std::array<float, 3>{0.5F, 0.5F, 0.5F});
  CHECK(p.filter == ResizeFilter::bilinear);
  config["preprocess_cfg"]["resize_mode"] = "squash";
  CHECK(has(refusal(open.with(config)), "preprocess_cfg.resize_mode"));
}

TEST_CASE("clip settings: heads where a library's class has its own number", "[clip_settings]") {
  // A configuration leaves out what is as in the class: eight heads in a text tower.
  Beside beside(kHuggingFace);
  json config = beside.usual();
  config["text_config"].erase("num_attention_heads");
  CHECK(read_clip_checkpoint(beside.with(config)).text->heads == 8);
  // Without any, a text tower has heads of 64 at every width.
  const TemporaryFolder folder("clip_text_heads");
  for (const auto& [width, heads] : {std::pair{1280, 20}, {1664, 26}, {64, 1}}) {
    ClipCheckpoint checkpoint;
    Generator generator(1);
    checkpoint.text = TextGeometry{10, 5, width, 0, 1, 12};
    TextTower tower(*checkpoint.text, Activation::gelu, generator);
    checkpoint.text_weights = nn::state_dict(tower);
    const auto path = folder.path() / "clip.safetensors";
    write_safetensors(path, rename_clip(checkpoint, ClipLayout::openai));
    CHECK(read_clip_checkpoint(path).text->heads == heads);
  }
}

TEST_CASE("clip settings: a record holds them all and reads back equal", "[clip_settings]") {
  VisionSettings image(Activation::gelu_tanh);
  image.eps = 1e-3;
  image.pool = VisionSettings::Pool::average;
  image.norm_before = false;
  image.norm_pooled = true;
  image.projection = false;
  image.resize = 40;
  image.preprocess.filter = ResizeFilter::bilinear;
  image.preprocess.mean = {0.5F, 0.1F, 0.3F};
  image.preprocess.deviation = {0.5F, 0.6F, 0.7F};
  TextSettings text(Activation::relu);
  text.eps = 1e-6;
  text.causal = false;
  text.pool = TextSettings::Pool::last;
  text.projection_bias = true;
  text.end_token = 7;
  const auto again = [](const auto& settings, int64_t heads) {
    auto read = std::decay_t<decltype(settings)>();
    int64_t read_heads = 0;
    const std::string record = record_settings(settings, heads);
    recall_settings(record, "here", read, read_heads);
    CHECK(read_heads == heads);
    CHECK(record_settings(read, read_heads) == record);
    return record;
  };
  CHECK(again(VisionSettings(), 12) == R"({"activation":"quick_gelu","heads":12})");
  CHECK(again(TextSettings(), 8) == R"({"activation":"quick_gelu","heads":8})");
  const std::string image_record = again(image, 3);
  const std::string text_record = again(text, 5);
  for (const char* key :
       {"eps", "pool", "norm_before", "norm_pooled", "projection", "resize", "filter", "mean", "deviation"})
    CHECK(json::parse(image_record).contains(key));
  for (const char* key : {"eps", "causal", "pool", "projection_bias", "end_token"})
    CHECK(json::parse(text_record).contains(key));
  for (const char* wrong :
       {"", "[]", "{\"activation\":\"selu\"}", "{\"heads\":0}", "{\"heads\":2,\"rope\":1}",
        "{\"heads\":\"two\"}", "{\"heads\":2,\"pool\":\"max\"}"}) {
    VisionSettings settings;
    int64_t heads = 1;
    INFO(wrong);
    CHECK(
        message_of<InputError>([&] { recall_settings(wrong, "here", settings, heads); }).starts_with("here"));
  }
}

}  // namespace clipcap
