#include "clipcap/encoders/encoder_file.h"

#include <algorithm>
#include <vector>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/cache/sha256.h"
#include "clipcap/encoders/clip_checkpoint.h"
#include "clipcap/encoders/network_weights.h"
#include "clipcap/encoders/resnet.h"
#include "nn/init.h"
#include "tensor/io/checkpoint_files.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

constexpr const char* kCaptionersFiles[] = {
    "model.safetensors",          "config.json", "vocab.json", "metrics.jsonl", "best/model.safetensors",
    "last/checkpoint.safetensors"};

// Activation::none: whatever the checkpoint says.
Activation asked_activation(const std::string& text) {
  return text == "auto" || text.empty() ? Activation::none : parse_activation(text, "encoder.activation");
}

NetworkWeights open_network(const std::filesystem::path& path) {
  return find_network(read_tensor_file(path), path.string(), family_beside(path));
}

std::string describe_resnet(const Resnet& resnet, const std::string& file, const NetworkWeights& network) {
  const ResnetGeometry& g = resnet.geometry();
  int64_t layers = 2;
  for (const int64_t blocks : g.blocks) layers += 3 * blocks;
  return concat_text(file, ": ResNet-", layers, ", torchvision names, ", network.format, "; features of ",
                     resnet.feature_dim(), network.said);
}

// The settings of an encoder without a file of its own: recorded when it was tuned, or as the configuration says.
VisionSettings random_settings(const Config& config, int64_t& heads) {
  VisionSettings settings;
  const Activation activation = asked_activation(config.encoder.activation);
  if (activation != Activation::none) settings.activation = activation;
  if (!config.encoder.settings.empty())
    recall_settings(config.encoder.settings, "encoder.settings", settings, heads);
  return settings;
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
  NetworkWeights network = open_network(path);
  Encoders encoders;
  if (network.kind == NetworkWeights::Kind::resnet) {
    std::unique_ptr<Resnet> resnet = load_torchvision_resnet(network.tensors, path.string());
    encoders.description = describe_resnet(*resnet, path.string(), network);
    if (options.pack) nn::pack_for_inference(*resnet);
    if (options.image) encoders.image = std::move(resnet);
    return encoders;
  }
  const ClipCheckpoint checkpoint = read_clip_checkpoint(std::move(network), path,
                                                         {.activation = asked_activation(options.activation),
                                                          .vision = options.image,
                                                          .text = options.text,
                                                          .vision_record = options.image_record,
                                                          .text_record = options.text_record});
  encoders.description = checkpoint.describe();
  Clip clip = load_clip(checkpoint, {.vision = options.image, .text = options.text, .pack = options.pack});
  encoders.image = std::move(clip.vision);
  encoders.text = std::move(clip.text);
  encoders.logit_scale = clip.logit_scale;
  encoders.logit_bias = clip.logit_bias;
  return encoders;
}

std::string adopt_encoder_file(Config& config, const std::string& name) {
  EncoderConfig& encoder = config.encoder;
  if (encoder.weights.empty()) return {};
  std::error_code error;
  CHECK_INPUT(
      std::filesystem::exists(encoder.weights, error), name, ": encoder.weights: ", encoder.weights,
      ": no such file",
      encoder.sha256.empty() ? "" : " (the model was trained on it; --encoder FILE names another place)");
  encoder.weights = std::filesystem::absolute(encoder.weights).lexically_normal().string();
  const std::string hash = checkpoint_sha256(encoder.weights);
  CHECK_INPUT(encoder.sha256.empty() || encoder.sha256 == hash, name, ": encoder.weights: ", encoder.weights,
              " is another file than the one the model was trained on: its SHA-256 is ", hash, ", expected ",
              encoder.sha256);
  encoder.sha256 = hash;
  ModelConfig& m = config.model;
  std::string line;
  const auto adopt_text = [&](const ClipCheckpoint& clip) {
    m.text = *clip.text;
    encoder.text_settings = record_settings(clip.text_settings, clip.text->heads);
    if (m.text.mlp_width() == 4 * m.text.width) m.text.hidden = 0;
  };
  NetworkWeights network = open_network(encoder.weights);
  if (network.kind == NetworkWeights::Kind::resnet) {
    CHECK_INPUT(!config.train.train_encoder, name,
                ": train.train_encoder: a ResNet is for frozen features only");
    m.encoder = "resnet152";
    line = encoder.weights + ": ResNet, torchvision names, " + network.format + network.said;
  } else {
    const bool own_text = encoder.text_weights.empty();
    const ClipCheckpoint clip = read_clip_checkpoint(std::move(network), encoder.weights,
                                                     {.activation = asked_activation(encoder.activation),
                                                      .text = false,
                                                      .vision_record = encoder.settings,
                                                      .text_record = own_text ? encoder.text_settings : ""});
    CHECK_INPUT(clip.vision, encoder.weights, ": no image tower in it");
    set_geometry(m, *clip.vision);
    encoder.activation = name_of(clip.vision_settings.activation);
    encoder.settings = record_settings(clip.vision_settings, clip.vision->heads);
    if (clip.text && own_text) adopt_text(clip);
    line = clip.describe();
  }
  if (!encoder.text_weights.empty() && std::filesystem::exists(encoder.text_weights, error)) {
    const ClipCheckpoint clip =
        read_clip_checkpoint(encoder.text_weights, {.vision = false, .text_record = encoder.text_settings});
    CHECK_INPUT(clip.text, encoder.text_weights, ": no text tower in it");
    adopt_text(clip);
  }
  return line;
}

std::string checkpoint_sha256(const std::filesystem::path& path) {
  const CheckpointFiles found = find_checkpoint_files(path);
  if (found.files.size() == 1) return remembered_sha256(found.files.front());
  Sha256 all;
  for (const std::filesystem::path& file : found.files) all.update(remembered_sha256(file) + "\n");
  return all.hex();
}

void find_moved_encoder(Config& config, const std::filesystem::path& model_directory) {
  namespace fs = std::filesystem;
  EncoderConfig& encoder = config.encoder;
  std::error_code error;
  if (encoder.sha256.empty() || fs::exists(encoder.weights, error)) return;
  const fs::path recorded(encoder.weights);
  fs::path whole = fs::absolute(model_directory, error).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  // best/ and last/ lie inside the directory that people move.
  std::vector<fs::path> folders{whole, whole.parent_path(), whole.parent_path().parent_path()};
  std::vector<fs::path> candidates;
  for (const fs::path& folder : folders) {
    // The last one, two, three parts of the path that it had.
    fs::path tail;
    fs::path rest = recorded;
    for (int parts = 0; parts < 3 && rest.has_filename(); ++parts) {
      tail = tail.empty() ? rest.filename() : rest.filename() / tail;
      candidates.push_back(folder / tail);
      rest = rest.parent_path();
    }
  }
  // Under any name in the model's own directory.
  for (const auto& entry : fs::directory_iterator(whole, error)) {
    const std::string ending = entry.path().extension().string();
    for (const char* known : {".safetensors", ".pt", ".pth", ".bin", ".ckpt"}) {
      if (ending == known) candidates.push_back(entry.path());
    }
  }
  for (const fs::path& candidate : candidates) {
    const bool captioners = candidate.parent_path() == whole ||
                            (whole.filename() == "best" && candidate.parent_path() == whole.parent_path());
    const bool own = captioners && candidate.filename() == "model.safetensors";
    if (own || !fs::exists(candidate, error)) continue;
    try {
      if (checkpoint_sha256(candidate) != encoder.sha256) continue;
    } catch (const Error&) {
      continue;  // not a checkpoint at all
    }
    encoder.weights = candidate.string();
    return;
  }
}

void check_encoder_is_safe(const Config& config, const std::filesystem::path& model_directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto own = [&](const fs::path& file) {
    return std::any_of(std::begin(kCaptionersFiles), std::end(kCaptionersFiles), [&](const char* name) {
      return fs::equivalent(file, model_directory / name, error) && !error;
    });
  };
  const std::pair<const char*, const std::string&> places[] = {
      {"encoder.weights", config.encoder.weights},
      {"encoder.text_weights", config.encoder.text_weights},
      {"encoder.tokenizer", config.encoder.tokenizer}};
  for (const auto& [key, place] : places) {
    if (place.empty() || !fs::exists(place, error)) continue;
    std::vector<fs::path> files{place};
    if (std::string(key) != "encoder.tokenizer") {
      files = find_checkpoint_files(place).files;
    } else if (fs::is_directory(place, error)) {
      files = {fs::path(place) / "vocab.json"};
    }
    for (const fs::path& file : files) {
      CHECK_INPUT(!own(file), key, ": ", file.string(), ": the model in ", model_directory.string(),
                  " would be written over it; choose another --out");
    }
    // A configuration that came with the weights, and not one of a captioner.
    const fs::path beside = model_directory / "config.json";
    if (!fs::equivalent(files.front().parent_path(), model_directory, error) || error ||
        !fs::exists(beside, error))
      continue;
    const std::string text = read_text_file(beside, 1U << 20U);
    CHECK_INPUT(text.find("\"hidden_act\"") == std::string::npos &&
                    text.find("\"architectures\"") == std::string::npos,
                key, ": ", files.front().string(), ": the model in ", model_directory.string(),
                " would be written over the config.json beside it; choose another --out");
  }
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
        load_encoders(config.encoder.weights, {.activation = config.encoder.activation,
                                               .text = false,
                                               .pack = pack,
                                               .image_record = config.encoder.settings})
            .image;
    CHECK_INPUT(encoder, config.encoder.weights, ": no image tower in it");
    return encoder;
  }
  if (config.encoder.origin == "unknown") return make_features_only(config);
  if (m.encoder == "resnet152") return std::make_unique<Resnet>(ResnetGeometry{}, generator);
  VitGeometry geometry = m.geometry;
  return std::make_unique<VisionTower>(geometry, random_settings(config, geometry.heads), generator);
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
  if (!e.weights.empty()) return concat_text("weights ", e.sha256, ' ', e.activation, ' ', e.settings);
  const VitGeometry& g = config.model.geometry;
  if (config.model.encoder == "resnet152") return concat_text("random resnet152 seed ", config.train.seed);
  int64_t heads = g.heads;
  const VisionSettings settings = random_settings(config, heads);
  return concat_text("random vit ", g.resolution, '/', g.patch, " width ", g.width, " layers ", g.layers,
                     " hidden ", g.mlp_width(), " embed ", g.embed, ' ', record_settings(settings, heads),
                     " seed ", config.train.seed);
}

}  // namespace clipcap
