#include "clipcap/model_directory.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "clipcap/cache/sha256.h"
#include "clipcap/encoders/encoder_file.h"
#include "nn/init.h"
#include "tensor/finite.h"
#include "tensor/io/json_text.h"
#include "tensor/io/safetensors.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr const char* kVocabularyHash = "vocabulary_sha256";
// In a checkpoint: the bytes of vocab.json as a tensor, since a header has room for eight megabytes only.
constexpr const char* kVocabularyTensor = "vocab.json";
constexpr const char* kDataPrefix = "data.";

SpecialTokens special_tokens(const Vocabulary& vocabulary) {
  return {vocabulary.pad(), vocabulary.sos(), vocabulary.eos(), vocabulary.unk()};
}

json vocabularies_to_json(const Vocabularies& vocabularies) {
  return {{"caption", vocabularies.caption.to_json()}, {"commonsense", vocabularies.commonsense.to_json()}};
}

Vocabularies vocabularies_from_json(const json& value, const std::string& where) {
  for (const char* name : {"caption", "commonsense"})
    CHECK_INPUT(value.is_object() && value.contains(name), where, ": \"", name, "\" is missing");
  return {Vocabulary::from_json(value["caption"], where + ": caption"),
          Vocabulary::from_json(value["commonsense"], where + ": commonsense")};
}

Vocabularies read_vocabularies(const std::filesystem::path& path) {
  return vocabularies_from_json(parse_json(read_text_file(path, 256U << 20U), path.string()), path.string());
}

void check_finite_to_save(const std::filesystem::path& path, const nn::StateDict& state) {
  const std::string place = nonfinite_place(state);
  CHECK(place.empty(), path.string(), ": not written: ", place);
}

void check_finite_as_read(const std::string& name, const nn::StateDict& state) {
  const std::string place = nonfinite_place(state);
  CHECK_INPUT(place.empty(), name, ": ", place,
              ": the file is of no use (its training diverged, or it is damaged)");
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

std::unique_ptr<CaptionModel> make_model(const Config& config, const Vocabularies& vocabularies,
                                         int64_t ready_features) {
  Generator generator(static_cast<uint64_t>(config.train.seed));
  const bool apart = encoder_is_apart(config);
  std::unique_ptr<ImageEncoder> encoder;
  if (ready_features > 0 && apart) {
    encoder = std::make_unique<FeaturesOnly>(ready_features);
  } else {
    encoder = make_image_encoder(config, generator, apart);
  }
  return make_captioner(config, vocabularies, std::move(encoder), generator);
}

std::string nonfinite_place(const nn::StateDict& state) {
  for (const auto& [name, tensor] : state) {
    int64_t at = first_nonfinite(tensor);
    if (at < 0) continue;
    std::string place;
    for (int d = tensor.rank() - 1; d >= 0; --d) {
      place = std::to_string(at % tensor.dim(d)) + (place.empty() ? "" : ", ") + place;
      at /= tensor.dim(d);
    }
    return name + "[" + place + "] is not a finite number";
  }
  return {};
}

std::string vocabulary_hash(const Vocabularies& vocabularies) {
  Sha256 hash;
  hash.update(vocabularies_to_json(vocabularies).dump());
  return hash.hex();
}

void save_model(const std::filesystem::path& directory, CaptionModel& model, const Vocabularies& vocabularies,
                const std::map<std::string, std::string>& notes) {
  const nn::StateDict state = saved_state(model);
  check_finite_to_save(directory / "model.safetensors", state);
  write_text_file(directory / "vocab.json", vocabularies_to_json(vocabularies).dump(1) + "\n");
  write_text_file(directory / "config.json", config_to_json(model.config()).dump(2) + "\n");
  std::map<std::string, std::string> metadata = notes;
  metadata["format"] = "clipcap";
  metadata[kVocabularyHash] = vocabulary_hash(vocabularies);
  write_safetensors(directory / "model.safetensors", state, metadata);
}

LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options) {
  CHECK_INPUT(std::filesystem::is_directory(directory), directory.string(), ": no such model directory");
  const std::filesystem::path weights = directory / "model.safetensors";
  std::error_code ignored;
  CHECK_INPUT(
      std::filesystem::exists(weights, ignored) || !std::filesystem::exists(directory / "last", ignored),
      weights.string(),
      ": not there yet: the training in this directory has not reached its first "
      "checkpoint (train --resume goes on)");
  const std::string config_name = (directory / "config.json").string();
  LoadedModel loaded;
  loaded.config = parse_config(read_text_file(config_name, 1 << 20), config_name);
  const std::filesystem::path vocab_path = directory / "vocab.json";
  loaded.vocabularies = read_vocabularies(vocab_path);
  // Features of an unknown encoder, and now the user says which it was.
  const bool named_now = !options.encoder_weights.empty() && loaded.config.encoder.origin == "unknown";
  const Config learnt_from = loaded.config;
  if (named_now) loaded.config.encoder = {};
  if (!options.encoder_weights.empty()) {
    CHECK_INPUT(named_now || !loaded.config.encoder.weights.empty(), config_name,
                ": the model has an image encoder of its own; no other file can stand in for it");
    loaded.config.encoder.weights = options.encoder_weights;
  }
  const bool apart = encoder_is_apart(loaded.config);
  if (apart && !loaded.config.encoder.weights.empty()) {
    find_moved_encoder(loaded.config, directory);  // a model that travels may take the checkpoint along
    adopt_encoder_file(loaded.config, config_name);
  }
  if (named_now) loaded.config.model.text = learnt_from.model.text;  // the captioner's sizes stay
  {
    Generator unused(0);
    std::unique_ptr<ImageEncoder> encoder = apart ? make_image_encoder(loaded.config, unused, options.pack)
                                                  : make_empty_image_encoder(loaded.config);
    if (named_now) {
      const int64_t dim = make_features_only(learnt_from)->feature_dim();
      CHECK_INPUT(encoder->feature_dim() == dim, "--encoder ", options.encoder_weights,
                  ": its features have ", encoder->feature_dim(),
                  " numbers, those that the model learnt from ", dim);
    }
    const nn::SkipInitialisation skip;
    loaded.model = make_captioner(loaded.config, loaded.vocabularies, std::move(encoder), unused);
  }
  {
    const TensorFile file = read_safetensors(weights);
    const auto hash = file.metadata.find(kVocabularyHash);
    CHECK_INPUT(hash == file.metadata.end() || hash->second == vocabulary_hash(loaded.vocabularies),
                vocab_path.string(), ": is not the vocabulary that ", weights.string(), " was trained with");
    check_finite_as_read(weights.string(), file.tensors);
    load_saved_state(*loaded.model, file.tensors, weights.string(), options.pack);
    if (options.pack) nn::pack_for_inference(*loaded.model, *file.file);
  }
  nn::set_requires_grad(*loaded.model, false);
  return loaded;
}

std::filesystem::path checkpoint_path(const std::filesystem::path& directory) {
  return directory / "last" / "checkpoint.safetensors";
}

void save_checkpoint(const std::filesystem::path& directory, CaptionModel& model,
                     const Vocabularies& vocabularies, const nn::AdamW& optimizer,
                     const TrainingState& state) {
  nn::StateDict tensors = optimizer.state();
  for (const auto& [name, value] : saved_state(model)) tensors["model." + name] = value;
  check_finite_to_save(checkpoint_path(directory), tensors);
  const std::string words = vocabularies_to_json(vocabularies).dump();
  Tensor bytes = Tensor::empty({static_cast<int64_t>(words.size())}, DType::u8);
  std::copy(words.begin(), words.end(), bytes.host<uint8_t>());
  tensors[kVocabularyTensor] = bytes;
  std::map<std::string, std::string> metadata{{"step", std::to_string(state.step)},
                                              {"dropout_position", std::to_string(state.dropout_position)},
                                              {"threads", std::to_string(state.threads)},
                                              {"config", config_to_json(model.config()).dump()}};
  for (const auto& [part, hash] : state.data) metadata[kDataPrefix + part] = hash;
  std::filesystem::create_directories(directory / "last");
  write_safetensors(checkpoint_path(directory), tensors, metadata);
}

SavedRun read_saved_run(const std::filesystem::path& directory) {
  const std::string name = checkpoint_path(directory).string();
  const TensorFile file = read_safetensors(name);
  SavedRun run;
  run.state.step = static_cast<int64_t>(metadata_number(file, name, "step"));
  run.state.dropout_position = metadata_number(file, name, "dropout_position");
  if (file.metadata.contains("threads"))
    run.state.threads = static_cast<int>(metadata_number(file, name, "threads"));
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(kDataPrefix)) run.state.data[key.substr(std::string(kDataPrefix).size())] = value;
  }
  const auto config = file.metadata.find("config");
  CHECK_INPUT(config != file.metadata.end(), name, ": metadata \"config\" is missing");
  run.config = parse_config(config->second, name + ": config");
  const auto words = file.tensors.find(kVocabularyTensor);
  if (words == file.tensors.end()) {  // checkpoints of older versions have it in the model directory only
    run.vocabularies = read_vocabularies(directory / "vocab.json");
  } else {
    CHECK_INPUT(words->second.dtype() == DType::u8, name, ": ", kVocabularyTensor, " is ",
                words->second.dtype(), ", expected u8");
    const auto* bytes = reinterpret_cast<const char*>(words->second.host<uint8_t>());
    const std::string text(bytes, static_cast<size_t>(words->second.numel()));
    run.vocabularies = vocabularies_from_json(parse_json(text, name + ": vocabulary"), name + ": vocabulary");
  }
  return run;
}

void load_checkpoint(const std::filesystem::path& directory, CaptionModel& model, nn::AdamW& optimizer) {
  const std::string name = checkpoint_path(directory).string();
  const TensorFile file = read_safetensors(name);
  check_finite_as_read(name, file.tensors);
  nn::StateDict parameters;
  nn::StateDict moments;
  for (const auto& [key, value] : file.tensors) {
    if (key == kVocabularyTensor) continue;
    if (key.starts_with("model.")) {
      parameters[key.substr(6)] = value;
    } else {
      moments[key] = value;
    }
  }
  load_saved_state(model, parameters, name, false);
  optimizer.load_state(moments, name);
  optimizer.set_steps(static_cast<int64_t>(metadata_number(file, name, "step")));
}

}  // namespace clipcap
