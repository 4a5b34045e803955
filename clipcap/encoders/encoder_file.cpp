#include "clipcap/encoders/encoder_file.h"

#include "clipcap/cache/cache_folder.h"
#include "clipcap/encoders/clip_checkpoint.h"
#include "clipcap/encoders/resnet.h"
#include "nn/init.h"

namespace clipcap {
namespace {

Activation parse_activation(const std::string& text) {
  if (text == "quick_gelu") return Activation::quick_gelu;
  if (text == "gelu") return Activation::gelu;
  CHECK_INPUT(text == "auto" || text.empty(), "activation \"", text, "\": expected auto, quick_gelu or gelu");
  return Activation::none;
}

bool is_resnet(const std::map<std::string, Tensor>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with("layer1.0.conv1.weight") && name.find("visual.") == std::string::npos) return true;
  }
  return false;
}

// The names under which a training checkpoint or DataParallel hides a network.
TensorFile open_weights(const std::filesystem::path& path) {
  TensorFile file = read_tensor_file(path);
  static_cast<void>(unwrap_state_dict(file.tensors));
  return file;
}

std::string describe_resnet(const Resnet& resnet, const std::string& file, const std::string& format) {
  const ResnetGeometry& g = resnet.geometry();
  int64_t layers = 2;
  for (const int64_t blocks : g.blocks) layers += 3 * blocks;
  return concat_text(file, ": ResNet-", layers, ", torchvision names, ", format, "; features of ",
                     resnet.feature_dim());
}

// A configuration names the geometries that have names.
void set_geometry(ModelConfig& model, const VitGeometry& geometry) {
  model.geometry = geometry;
  if (geometry.mlp_width() == 4 * geometry.width) model.geometry.hidden = 0;
  model.encoder = "custom";
  for (const char* name : {"vit-b-16", "vit-b-32", "vit-l-14"}) {
    const VitGeometry named = named_geometry(name);
    const VitGeometry& g = model.geometry;
    if (named.resolution == g.resolution && named.patch == g.patch && named.width == g.width &&
        named.layers == g.layers && named.heads == g.heads && named.embed == g.embed && g.hidden == 0) {
      model.encoder = name;
    }
  }
}

}  // namespace

Encoders load_encoders(const std::filesystem::path& path, const EncoderLoadOptions& options) {
  TensorFile file = open_weights(path);
  Encoders encoders;
  if (is_resnet(file.tensors)) {
    std::unique_ptr<Resnet> resnet = load_torchvision_resnet(file.tensors, path.string());
    encoders.description = describe_resnet(*resnet, path.string(), file.format);
    if (options.pack) nn::pack_for_inference(*resnet);
    if (options.image) encoders.image = std::move(resnet);
    return encoders;
  }
  const ClipCheckpoint checkpoint =
      read_clip_checkpoint(std::move(file), path, {.activation = parse_activation(options.activation)});
  encoders.description = checkpoint.describe();
  Clip clip = load_clip(checkpoint, {.vision = options.image, .text = options.text, .pack = options.pack});
  encoders.image = std::move(clip.vision);
  encoders.text = std::move(clip.text);
  encoders.logit_scale = clip.logit_scale;
  return encoders;
}

std::string adopt_encoder_file(Config& config, const std::string& name) {
  EncoderConfig& encoder = config.encoder;
  if (encoder.weights.empty()) return {};
  std::error_code error;
  CHECK_INPUT(
      std::filesystem::is_regular_file(encoder.weights, error), name, ": encoder.weights: ", encoder.weights,
      ": no such file",
      encoder.sha256.empty() ? "" : " (the model was trained on it; --encoder FILE names another place)");
  encoder.weights = std::filesystem::absolute(encoder.weights).lexically_normal().string();
  const std::string hash = remembered_sha256(encoder.weights);
  CHECK_INPUT(encoder.sha256.empty() || encoder.sha256 == hash, name, ": encoder.weights: ", encoder.weights,
              " is another file than the one the model was trained on: its SHA-256 is ", hash, ", expected ",
              encoder.sha256);
  encoder.sha256 = hash;
  ModelConfig& m = config.model;
  std::string line;
  const auto adopt_text = [&](const ClipCheckpoint& clip) {
    m.text = *clip.text;
    if (m.text.mlp_width() == 4 * m.text.width) m.text.hidden = 0;
  };
  TensorFile file = open_weights(encoder.weights);
  if (is_resnet(file.tensors)) {
    CHECK_INPUT(!config.train.train_encoder, name,
                ": train.train_encoder: a ResNet is for frozen features only");
    m.encoder = "resnet152";
    line = encoder.weights + ": ResNet, torchvision names, " + file.format;
  } else {
    const ClipCheckpoint clip = read_clip_checkpoint(std::move(file), encoder.weights,
                                                     {.activation = parse_activation(encoder.activation)});
    CHECK_INPUT(clip.vision, encoder.weights, ": no image tower in it");
    set_geometry(m, *clip.vision);
    encoder.activation = clip.activation == Activation::gelu ? "gelu" : "quick_gelu";
    if (clip.text && encoder.text_weights.empty()) adopt_text(clip);
    line = clip.describe();
  }
  if (!encoder.text_weights.empty() && std::filesystem::is_regular_file(encoder.text_weights, error)) {
    const ClipCheckpoint clip = read_clip_checkpoint(encoder.text_weights);
    CHECK_INPUT(clip.text, encoder.text_weights, ": no text tower in it");
    adopt_text(clip);
  }
  return line;
}

bool encoder_is_apart(const Config& config) {
  return (!config.encoder.weights.empty() || config.encoder.origin == "unknown") &&
         !config.train.train_encoder;
}

std::unique_ptr<ImageEncoder> make_features_only(const Config& config) {
  const ModelConfig& m = config.model;
  constexpr int64_t kResnetFeatures = 2048;
  return std::make_unique<FeaturesOnly>(m.encoder == "resnet152" ? kResnetFeatures : m.geometry.embed);
}

std::unique_ptr<ImageEncoder> make_image_encoder(const Config& config, Generator& generator, bool pack) {
  const ModelConfig& m = config.model;
  if (!config.encoder.weights.empty()) {
    std::unique_ptr<ImageEncoder> encoder =
        load_encoders(config.encoder.weights,
                      {.activation = config.encoder.activation, .text = false, .pack = pack})
            .image;
    CHECK_INPUT(encoder, config.encoder.weights, ": no image tower in it");
    return encoder;
  }
  if (config.encoder.origin == "unknown") return make_features_only(config);
  if (m.encoder == "resnet152") return std::make_unique<Resnet>(ResnetGeometry{}, generator);
  const Activation activation =
      config.encoder.activation == "gelu" ? Activation::gelu : Activation::quick_gelu;
  return std::make_unique<VisionTower>(m.geometry, activation, generator);
}

std::unique_ptr<ImageEncoder> make_empty_image_encoder(const Config& config) {
  const nn::SkipInitialisation skip;
  Config random = config;
  random.encoder.weights.clear();
  Generator unused(0);
  return make_image_encoder(random, unused, false);
}

std::string encoder_name(const Config& config) {
  const EncoderConfig& e = config.encoder;
  if (!e.weights.empty()) return concat_text("weights ", e.sha256, ' ', e.activation);
  const VitGeometry& g = config.model.geometry;
  if (config.model.encoder == "resnet152") return concat_text("random resnet152 seed ", config.train.seed);
  return concat_text("random vit ", g.resolution, '/', g.patch, " width ", g.width, " layers ", g.layers,
                     " heads ", g.heads, " embed ", g.embed, " seed ", config.train.seed);
}

}  // namespace clipcap
