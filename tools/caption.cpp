// clipcap caption
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/decoding/describe.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/model_directory.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

using nlohmann::json;

struct Options {
  CommonOptions common;
  std::string model;
  std::string encoder;
  std::vector<std::string> inputs;
  SearchOptions search;
  bool as_json = false;
  bool no_cache = false;
};

// Inputs are decoded a few at a time: one long list of videos neither waits for its last nor
// fills the memory.
constexpr size_t kClipsAtOnce = 16;

int run(const Options& options) {
  options.common.apply();
  LoadedModel loaded = load_model(options.model, {.encoder_weights = options.encoder});
  const bool cached = !options.no_cache && !loaded.config.train.train_encoder;
  const FeatureExtractor extractor(*loaded.model->encoder, loaded.config,
                                   cached ? encoder_name(loaded.config) : "");
  json results = json::array();
  for (size_t start = 0; start < options.inputs.size(); start += kClipsAtOnce) {
    const size_t end = std::min(options.inputs.size(), start + kClipsAtOnce);
    std::vector<Tensor> features;
    for (size_t i = start; i < end; ++i) features.push_back(extractor.features(options.inputs[i]));
    const FeatureBatch batch = stack_features(features);
    const std::vector<ClipTexts> texts =
        describe_clips(*loaded.model, batch.features, batch.lengths, options.search);
    for (size_t i = start; i < end; ++i) {
      const ClipTexts& text = texts[i - start];
      json entry{{"input", options.inputs[i]},
                 {"caption", loaded.vocabularies.caption.decode(text.caption.ids)},
                 {"score", text.caption.score}};
      for (size_t k = 0; k < kAspects; ++k) {
        entry[kAspectNames[k]] = loaded.model->has_aspect(static_cast<int>(k))
                                     ? json(loaded.vocabularies.commonsense.decode(text.aspects[k].ids))
                                     : json(nullptr);
      }
      if (!options.as_json) {
        std::printf("%s\n  %s\n", options.inputs[i].c_str(), entry["caption"].get<std::string>().c_str());
        for (const char* name : kAspectNames) {
          if (entry[name].is_string())
            std::printf("  %-9s  %s\n", name, entry[name].get<std::string>().c_str());
        }
        std::fflush(stdout);
      }
      results.push_back(std::move(entry));
    }
  }
  if (options.as_json)
    std::printf("%s\n", results.dump(2, ' ', false, json::error_handler_t::replace).c_str());
  return 0;
}

}  // namespace

void add_caption(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("caption", "Caption videos, folders of frames or pictures");
  command->add_option("--model", options->model, "model directory")->required();
  command->add_option("--encoder", options->encoder,
                      "where the encoder's checkpoint is now, if not where the model was trained");
  command->add_option("input", options->inputs, "video file, folder of frames, or picture")->required();
  command->add_option("--beam", options->search.beam, "beam width; 1 = greedy")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command
      ->add_option("--length-penalty", options->search.length_penalty,
                   "exponent of the beams' length penalty")
      ->capture_default_str();
  command->add_flag("--sample", options->search.sample, "draw words instead of taking the likeliest");
  command->add_option("--temperature", options->search.temperature, "of --sample")
      ->check(CLI::Range(0.01, 100.0));
  command->add_option("--top-k", options->search.top_k, "sample among the k likeliest words; 0 = all")
      ->check(CLI::Range(0, 1 << 20));
  command->add_option("--top-p", options->search.top_p, "sample among the likeliest words reaching p")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", options->search.seed, "of --sample");
  command->add_flag("--json", options->as_json, "print one JSON document");
  command->add_flag("--no-cache", options->no_cache, "neither read nor write the feature cache");
  options->common.add_to(*command);
  command->footer("Example: clipcap caption --model my-model holiday.mp4");
  command->callback([options, &chosen] {
    chosen = [options] {
      if (options->search.sample && options->search.beam > 1)
        throw CLI::ValidationError("--sample", "excludes --beam above 1");
      return run(*options);
    };
  });
}

}  // namespace clipcap::tools
