// clipcap encode: a CLIP's features of pictures and texts, and how well they fit each other.
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/config/config.h"
#include "clipcap/data/feature_extractor.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/terminal/console.h"
#include "clipcap/terminal/printable.h"
#include "clipcap/text/tokenizer.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

using nlohmann::json;

struct Options {
  CommonOptions common;
  std::string clip;
  std::string tokenizer;
  std::vector<std::string> images;
  std::vector<std::string> texts;
  std::string activation = "auto";
  bool as_json = false;
};

using Rows = std::vector<std::vector<float>>;

Rows to_rows(const Tensor& features) {
  const std::vector<float> all = features.to_vector<float>();
  Rows rows;
  for (int64_t i = 0; i < features.dim(0); ++i) {
    rows.emplace_back(all.begin() + i * features.dim(1), all.begin() + (i + 1) * features.dim(1));
  }
  return rows;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

Rows normalised(Rows rows) {
  for (std::vector<float>& row : rows) {
    const double norm = std::sqrt(dot(row, row));
    if (norm == 0) continue;
    for (float& value : row) value = static_cast<float>(static_cast<double>(value) / norm);
  }
  return rows;
}

Rows image_features(const Options& options, const ImageEncoder& encoder) {
  Config config;
  config.model.frames = 1;
  config.encoder.weights = options.clip;
  const FeatureExtractor extractor(encoder, config, "");
  Rows rows;
  for (const std::string& image : options.images) rows.push_back(to_rows(extractor.features(image)).front());
  return rows;
}

Rows text_features(const Options& options, const TextTower& tower) {
  const ClipTokenizer tokenizer = ClipTokenizer::load(options.tokenizer);
  check_tokenizer(tower, tokenizer, options.tokenizer, options.clip);
  const NoGrad guard;
  Rows rows;
  for (const std::string& text : options.texts) {
    const TokenRows ids = tokenizer.encode_rows(std::span(&text, 1), {.context = tower.geometry().context});
    if (ids.lengths[0] > ids.context) {
      log_line("a text of ", ids.lengths[0], " tokens is cut to ", ids.context, ": \"", text.substr(0, 60),
               "…\"");
    }
    tower.check_ids(ids.ids, text);
    const TextTower::Reading reading = tower.reading(ids.context, ids.end_positions[0]);
    const Tensor row =
        Tensor::from(std::span(ids.ids).first(static_cast<size_t>(reading.length)), {1, reading.length});
    rows.push_back(to_rows(tower.forward(row, {reading.position}, nn::Run{}).value()).front());
  }
  return rows;
}

// Over the texts, for one picture.
std::vector<double> softmax(const std::vector<double>& logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  std::vector<double> result;
  double total = 0;
  for (const double logit : logits) total += result.emplace_back(std::exp(logit - most));
  for (double& value : result) value /= total;
  return result;
}

void print_row(const char* kind, const std::string& name, const std::vector<float>& row) {
  std::printf("%s  %s  [%zu], norm %.4f:", kind, printable(name).c_str(), row.size(),
              std::sqrt(dot(row, row)));
  for (size_t i = 0; i < std::min<size_t>(row.size(), 6); ++i)
    std::printf(" %.5f", static_cast<double>(row[i]));
  std::printf("%s\n", row.size() > 6 ? " …" : "");
}

int run(const Options& options) {
  options.common.apply();
  CHECK_INPUT(!options.images.empty() || !options.texts.empty(),
              "encode: nothing to encode; give --image or --text");
  CHECK_INPUT(options.texts.empty() || !options.tokenizer.empty(), "encode: --text needs --tokenizer");
  const Encoders encoders = load_encoders(
      options.clip,
      {.activation = options.activation, .image = !options.images.empty(), .text = !options.texts.empty()});
  CHECK_INPUT(options.images.empty() || encoders.image, options.clip, ": no image tower in it");
  CHECK_INPUT(options.texts.empty() || encoders.text, options.clip, ": no text tower in it");
  const Rows images = options.images.empty() ? Rows{} : image_features(options, *encoders.image);
  const Rows texts = options.texts.empty() ? Rows{} : text_features(options, *encoders.text);
  const Rows image_units = normalised(images);
  const Rows text_units = normalised(texts);
  std::vector<std::vector<double>> logits;
  std::vector<std::vector<double>> probabilities;
  for (const std::vector<float>& image : image_units) {
    std::vector<double> row;
    for (const std::vector<float>& text : text_units)
      row.push_back(encoders.logit_scale * dot(image, text) + encoders.logit_bias);
    if (!row.empty()) probabilities.push_back(softmax(row));
    logits.push_back(std::move(row));
  }
  log_line(encoders.description);
  if (options.as_json) {
    const json document{{"image", images},
                        {"text", texts},
                        {"image_normalised", image_units},
                        {"text_normalised", text_units},
                        {"logits_per_image", logits},
                        {"probabilities", probabilities}};
    std::printf("%s\n", document.dump().c_str());
    return 0;
  }
  for (size_t i = 0; i < images.size(); ++i) print_row("image", options.images[i], images[i]);
  for (size_t i = 0; i < texts.size(); ++i) print_row("text ", "\"" + options.texts[i] + "\"", texts[i]);
  for (size_t i = 0; i < probabilities.size(); ++i) {
    std::printf("%s\n", printable(options.images[i]).c_str());
    for (size_t j = 0; j < texts.size(); ++j)
      std::printf("  %6.2f %%  %s\n", 100 * probabilities[i][j], printable(options.texts[j]).c_str());
  }
  return 0;
}

}  // namespace

void add_encode(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("encode", "Features of pictures and texts, and how well they fit");
  command->add_option("--clip", options->clip, "CLIP checkpoint (or a ResNet's, for pictures alone)")
      ->required();
  command->add_option("--tokenizer", options->tokenizer,
                      "bpe_simple_vocab_16e6.txt.gz, vocab.json or tokenizer.json; needed for --text");
  command->add_option("--image", options->images, "pictures (of a video, its middle frame)");
  command->add_option("--text", options->texts, "texts");
  command->add_option("--activation", options->activation, "auto, quick_gelu, gelu, gelu_tanh or relu")
      ->check(CLI::IsMember({"auto", "quick_gelu", "gelu", "gelu_tanh", "relu"}))
      ->capture_default_str();
  command->add_flag("--json", options->as_json, "print one JSON document");
  options->common.add_to(*command);
  command->footer(
      "Example: clipcap encode --clip ViT-B-16.pt --tokenizer bpe_simple_vocab_16e6.txt.gz --image cat.png "
      "--text \"a cat\" \"a dog\"");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
