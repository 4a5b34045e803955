#include "clipcap/model_directory.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "clipcap/encoders/encoder_file.h"
#include "nn/init.h"
#include "tensor/io/json_text.h"
#include "tensor/io/safetensors.h"

namespace clipcap {
namespace {

using nlohmann::json;

SpecialTokens special_tokens(const Vocabulary& vocabulary) {
  return {vocabulary.pad(), vocabulary.sos(), vocabulary.eos()};
}

uint64_t metadata_number(const TensorFile& file, const std::string& name, const std::string& key) {
  const auto found = file.metadata.find(key);
  CHECK_INPUT(found != file.metadata.end(), name, ": metadata \"", key, "\" is missing");
  uint64_t value = 0;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  CHECK_INPUT(error == std::errc() && end == text.data() + text.size(), name, ": metadata \"", key,
              "\" is \"", text, "\", expected a number");
  return value;
}

std::unique_ptr<CaptionModel> make_captioner(const Config& config, const Vocabularies& vocabularies,
                                             std::unique_ptr<ImageEncoder> encoder, Generator& generator) {
  auto model = std::make_unique<CaptionModel>(config, std::move(encoder), vocabularies.caption.size(),
                                              vocabularies.commonsense.size(), generator);
  model->caption_tokens = special_tokens(vocabularies.caption);
  model->commonsense_tokens = special_tokens(vocabularies.commonsense);
  return model;
}

// An encoder that has a file of its own is neither saved nor loaded with the model.
const char* apart(const CaptionModel& model) { return encoder_is_apart(model.config()) ? "encoder" : ""; }

nn::StateDict saved_state(CaptionModel& model) { return nn::state_dict(model, apart(model)); }

void load_saved_state(CaptionModel& model, nn::StateDict state, const std::string& source, bool share) {
  if (encoder_is_apart(model.config()))
    std::erase_if(state, [](const auto& entry) { return entry.first.starts_with("encoder."); });
  nn::load_state_dict(model, state, source, {.share = share, .except = apart(model)});
}

}  // namespace

std::unique_ptr<CaptionModel> make_model(const Config& config, const Vocabularies& vocabularies) {
  Generator generator(static_cast<uint64_t>(config.train.seed));
  std::unique_ptr<ImageEncoder> encoder = make_image_encoder(config, generator, encoder_is_apart(config));
  return make_captioner(config, vocabularies, std::move(encoder), generator);
}

void save_model(const std::filesystem::path& directory, CaptionModel& model,
                const Vocabularies& vocabularies) {
  write_text_file(directory / "config.json", config_to_json(model.config()).dump(2) + "\n");
  const json vocab{{"caption", vocabularies.caption.to_json()},
                   {"commonsense", vocabularies.commonsense.to_json()}};
  write_text_file(directory / "vocab.json", vocab.dump(1) + "\n");
  write_safetensors(directory / "model.safetensors", saved_state(model), {{"format", "clipcap"}});
}

LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options) {
  CHECK_INPUT(std::filesystem::is_directory(directory), directory.string(), ": no such model directory");
  const std::string config_name = (directory / "config.json").string();
  LoadedModel loaded;
  loaded.config = parse_config(read_text_file(config_name, 1 << 20), config_name);
  const std::filesystem::path vocab_path = directory / "vocab.json";
  const json vocab = parse_json(read_text_file(vocab_path, 256U << 20U), vocab_path.string());
  for (const char* name : {"caption", "commonsense"}) {
    CHECK_INPUT(vocab.is_object() && vocab.contains(name), vocab_path.string(), ": \"", name,
                "\" is missing");
  }
  loaded.vocabularies.caption = Vocabulary::from_json(vocab["caption"], vocab_path.string() + ": caption");
  loaded.vocabularies.commonsense =
      Vocabulary::from_json(vocab["commonsense"], vocab_path.string() + ": commonsense");
  if (!options.encoder_weights.empty()) {
    CHECK_INPUT(!loaded.config.encoder.weights.empty(), config_name,
                ": the model has an image encoder of its own; no other file can stand in for it");
    loaded.config.encoder.weights = options.encoder_weights;
  }
  const bool apart = encoder_is_apart(loaded.config);
  if (apart) {
    // A model that travels takes the checkpoint along in its directory.
    const std::filesystem::path weights_path = loaded.config.encoder.weights;
    std::error_code error;
    if (!std::filesystem::exists(weights_path, error) &&
        std::filesystem::exists(directory / weights_path.filename(), error))
      loaded.config.encoder.weights = (directory / weights_path.filename()).string();
    adopt_encoder_file(loaded.config, config_name);
  }
  {
    Generator unused(0);
    std::unique_ptr<ImageEncoder> encoder = apart ? make_image_encoder(loaded.config, unused, options.pack)
                                                  : make_empty_image_encoder(loaded.config);
    const nn::SkipInitialisation skip;
    loaded.model = make_captioner(loaded.config, loaded.vocabularies, std::move(encoder), unused);
  }
  const std::filesystem::path weights = directory / "model.safetensors";
  {
    const TensorFile file = read_safetensors(weights);
    load_saved_state(*loaded.model, file.tensors, weights.string(), options.pack);
    if (options.pack) nn::pack_for_inference(*loaded.model, *file.file);
  }
  nn::set_requires_grad(*loaded.model, false);
  return loaded;
}

std::filesystem::path checkpoint_path(const std::filesystem::path& directory) {
  return directory / "last" / "checkpoint.safetensors";
}

void save_checkpoint(const std::filesystem::path& directory, CaptionModel& model, const nn::AdamW& optimizer,
                     const TrainingState& state) {
  nn::StateDict tensors = optimizer.state();
  for (const auto& [name, value] : saved_state(model)) tensors["model." + name] = value;
  std::filesystem::create_directories(directory / "last");
  write_safetensors(checkpoint_path(directory), tensors,
                    {{"step", std::to_string(state.step)},
                     {"dropout_position", std::to_string(state.dropout_position)},
                     {"config", config_to_json(model.config()).dump()}});
}

void check_resumable(const std::filesystem::path& directory, const Config& config) {
  const std::string name = checkpoint_path(directory).string();
  const TensorFile file = read_safetensors(name);
  const auto saved = file.metadata.find("config");
  const json before = saved != file.metadata.end() ? parse_json(saved->second, name) : json();
  if (!before.is_object() || !before.contains("encoder") || !before["encoder"].is_object()) return;
  const json& hash = before["encoder"].contains("sha256") ? before["encoder"]["sha256"] : json("");
  CHECK_INPUT(hash == json(config.encoder.sha256), name,
              ": the run began with another encoder.weights (SHA-256 ", shown(hash), ", now \"",
              config.encoder.sha256, "\")");
}

TrainingState load_checkpoint(const std::filesystem::path& directory, CaptionModel& model,
                              nn::AdamW& optimizer) {
  const std::string name = checkpoint_path(directory).string();
  const TensorFile file = read_safetensors(name);
  TrainingState state;
  state.step = static_cast<int64_t>(metadata_number(file, name, "step"));
  state.dropout_position = metadata_number(file, name, "dropout_position");
  nn::StateDict parameters;
  nn::StateDict moments;
  for (const auto& [key, value] : file.tensors) {
    if (key.starts_with("model.")) {
      parameters[key.substr(6)] = value;
    } else {
      moments[key] = value;
    }
  }
  load_saved_state(model, parameters, name, false);
  optimizer.load_state(moments, name);
  optimizer.set_steps(state.step);
  return state;
}

}  // namespace clipcap
