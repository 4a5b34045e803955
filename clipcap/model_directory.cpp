#include "clipcap/model_directory.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "nn/init.h"
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

json parse_json_file(const std::filesystem::path& path) {
  json parsed = json::parse(read_text_file(path, 256U << 20U), nullptr, false);
  CHECK_INPUT(!parsed.is_discarded(), path.string(), ": not valid JSON");
  return parsed;
}

}  // namespace

std::unique_ptr<CaptionModel> make_model(const Config& config, const Vocabularies& vocabularies,
                                         bool uninitialised) {
  Generator generator(static_cast<uint64_t>(config.train.seed));
  std::unique_ptr<nn::SkipInitialisation> skip;
  if (uninitialised) skip = std::make_unique<nn::SkipInitialisation>();
  auto model = std::make_unique<CaptionModel>(config, vocabularies.caption.size(),
                                              vocabularies.commonsense.size(), generator);
  model->caption_tokens = special_tokens(vocabularies.caption);
  model->commonsense_tokens = special_tokens(vocabularies.commonsense);
  return model;
}

void save_model(const std::filesystem::path& directory, CaptionModel& model,
                const Vocabularies& vocabularies) {
  write_text_file(directory / "config.json", config_to_json(model.config()).dump(2) + "\n");
  const json vocab{{"caption", vocabularies.caption.to_json()},
                   {"commonsense", vocabularies.commonsense.to_json()}};
  write_text_file(directory / "vocab.json", vocab.dump(1) + "\n");
  write_safetensors(directory / "model.safetensors", nn::state_dict(model), {{"format", "clipcap"}});
}

LoadedModel load_model(const std::filesystem::path& directory, bool pack) {
  CHECK_INPUT(std::filesystem::is_directory(directory), directory.string(), ": no such model directory");
  const std::string config_name = (directory / "config.json").string();
  LoadedModel loaded;
  loaded.config = parse_config(read_text_file(config_name, 1 << 20), config_name);
  const std::filesystem::path vocab_path = directory / "vocab.json";
  const json vocab = parse_json_file(vocab_path);
  for (const char* name : {"caption", "commonsense"}) {
    CHECK_INPUT(vocab.is_object() && vocab.contains(name), vocab_path.string(), ": \"", name,
                "\" is missing");
  }
  loaded.vocabularies.caption = Vocabulary::from_json(vocab["caption"], vocab_path.string() + ": caption");
  loaded.vocabularies.commonsense =
      Vocabulary::from_json(vocab["commonsense"], vocab_path.string() + ": commonsense");
  loaded.model = make_model(loaded.config, loaded.vocabularies, true);
  const std::filesystem::path weights = directory / "model.safetensors";
  {
    const TensorFile file = read_safetensors(weights);
    nn::load_state_dict(*loaded.model, file.tensors, weights.string(), pack);
    if (pack) {
      nn::pack_for_inference(*loaded.model, [&file] { file.file->forget_pages(); });
      // What is left (tables, norms) is small: copied, so that the mapped file can go.
      for (nn::NamedParameter& parameter : nn::parameters(*loaded.model)) {
        parameter.variable.set_value(parameter.variable.value().clone());
      }
      file.file->forget_pages();
    }
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
  for (const auto& [name, value] : nn::state_dict(model)) tensors["model." + name] = value;
  std::filesystem::create_directories(directory / "last");
  write_safetensors(checkpoint_path(directory), tensors,
                    {{"step", std::to_string(state.step)},
                     {"dropout_position", std::to_string(state.dropout_position)},
                     {"config", config_to_json(model.config()).dump()}});
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
  nn::load_state_dict(model, parameters, name);
  optimizer.load_state(moments, name);
  optimizer.set_steps(state.step);
  return state;
}

}  // namespace clipcap
