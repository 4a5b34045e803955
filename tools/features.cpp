// clipcap features
#include <algorithm>
#include <charconv>
#include <memory>

#include "clipcap/data/annotations.h"
#include "clipcap/data/feature_array.h"
#include "clipcap/data/feature_extractor.h"
#include "clipcap/data/feature_writer.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/terminal/progress.h"
#include "tensor/io/npy.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string clip;
  std::string data;
  std::string out;
  std::string shard;
  std::string activation = "auto";
  int64_t frames = 40;
  std::string sampling = "middles";
  bool keep_going = false;
};

struct Shard {
  int64_t index = 0;
  int64_t count = 1;
};

// "i/n"; counted from 0 or from 1, n/n being 0/n.
Shard parse_shard(const std::string& text) {
  if (text.empty()) return {};
  Shard shard{-1, -1};
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, shard.index);
  const bool slash = first.ec == std::errc() && first.ptr != end && *first.ptr == '/';
  const auto second = slash ? std::from_chars(first.ptr + 1, end, shard.count) : first;
  CHECK_INPUT(slash && second.ec == std::errc() && second.ptr == end && shard.count > 0 && shard.index >= 0 &&
                  shard.index <= shard.count,
              "--shard ", text, ": expected i/n with i from 0 to n");
  shard.index %= shard.count;
  return shard;
}

// A message names the first few.
std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kMostNames = 10;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kMostNames) text += concat_text(" and ", names.size() - kMostNames, " more");
  return text;
}

// The configuration that the clips are encoded by. Without --clip they are .npy files already, of an unknown
// encoder, whose size the first of them shows.
Config configured(const Options& options) {
  Config config;
  config.encoder.weights = options.clip;
  config.encoder.activation = options.activation;
  config.model.frames = options.frames;
  config.data.sampling = options.sampling;
  finish_config(config, "features");
  return config;
}

int run(const Options& options) {
  const InterruptGuard guard;
  options.common.apply();
  const Shard shard = parse_shard(options.shard);
  Config config = configured(options);
  const std::string description = adopt_encoder_file(config, "--clip");
  std::string places;
  const Dataset dataset = read_dataset(options.data, {}, &places);
  std::vector<const Dataset::Clip*> wanted;
  std::vector<std::string> missing;
  std::string array;
  std::string medium;
  for (size_t i = 0; i < dataset.clips.size(); ++i) {
    const Dataset::Clip& clip = dataset.clips[i];
    if (static_cast<int64_t>(i) % shard.count != shard.index) continue;
    wanted.push_back(&clip);
    if (clip.folder == Dataset::kNowhere) {
      missing.push_back(clip.video_id);
    } else {
      (is_feature_array(clip.file) ? array : medium) = dataset.file(clip).string();
    }
  }
  CHECK_INPUT(missing.empty() || options.keep_going, options.data, ": no video, frame folder or .npy of ",
              missing.size(), " clips: ", some_of(missing), " (looked in ", places, ")");
  CHECK_INPUT(
      array.empty() || options.clip.empty(), array,
      ": features already, of an encoder that it does not name; leave out --clip to pack such files, or "
      "train on them as they are");
  CHECK_INPUT(medium.empty() || !options.clip.empty(), medium,
              ": --clip is missing: the checkpoint to encode it with");
  CHECK_INPUT(!array.empty() || !medium.empty(), options.data, ": none of the ", wanted.size(),
              " clips has a file");
  Generator unused(0);
  const std::unique_ptr<ImageEncoder> encoder =
      array.empty()
          ? make_image_encoder(config, unused, true)
          : std::make_unique<FeaturesOnly>(read_npy(array).rank() == 2 ? read_npy(array).dim(1) : 1);
  FeatureWriter writer(options.out, feature_origin(config), encoder->feature_dim());
  log_line(description.empty() ? "packing .npy features of an unknown encoder" : description);
  const FeatureExtractor extractor(*encoder, config, "");
  std::vector<const Dataset::Clip*> left;
  for (const Dataset::Clip* clip : wanted) {
    if (!writer.contains(clip->video_id)) left.push_back(clip);
  }
  size_t skipped = 0;
  const auto before = static_cast<int64_t>(wanted.size() - left.size());
  Progress progress("encoding clips", static_cast<int64_t>(wanted.size()), {.done = before});
  extractor.features_in_order(
      left.size(),
      [&](size_t i) {
        CHECK_INPUT(left[i]->folder != Dataset::kNowhere, options.data, ": clip ", left[i]->video_id,
                    ": no video, frame folder or .npy was found for it");
        return dataset.file(*left[i]);
      },
      [&](size_t i, Tensor&& features, const std::exception_ptr& error) {
        check_interrupted();
        try {
          if (error) std::rethrow_exception(error);
          writer.add(left[i]->video_id, features);
        } catch (const InputError& wrong) {
          if (!options.keep_going) throw;
          log_line("skipped: ", wrong.what());
          writer.skip(left[i]->video_id);
          ++skipped;
        }
        progress.update(before + static_cast<int64_t>(i) + 1);
      });
  writer.finish();
  log_line(options.out, ": ", wanted.size() - skipped, " clips",
           skipped > 0 ? concat_text(", ", skipped, " skipped") : "");
  return 0;
}

}  // namespace

void add_features(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("features", "Encode the clips of a data set once, for training on many times");
  command->add_option("--clip", options->clip,
                      "CLIP or ResNet checkpoint; left out: the clips are .npy files");
  command->add_option("--data", options->data, "folder with videos, videodatainfo.json, V2C JSON")
      ->required();
  command->add_option("--out", options->out, "feature file to write; clips that it holds already are kept")
      ->required();
  command->add_option("--shard", options->shard, "i/n: every n-th clip only, from the i-th on");
  command->add_option("--frames", options->frames, "frames taken from a clip")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--sampling", options->sampling, "middles or linspace")
      ->check(CLI::IsMember({"middles", "linspace"}))
      ->capture_default_str();
  command->add_option("--activation", options->activation, "auto, quick_gelu, gelu, gelu_tanh or relu")
      ->check(CLI::IsMember({"auto", "quick_gelu", "gelu", "gelu_tanh", "relu"}))
      ->capture_default_str();
  command->add_flag("--keep-going", options->keep_going,
                    "leave out clips that are missing or cannot be decoded");
  options->common.add_to(*command);
  command->footer("Example: clipcap features --clip ViT-B-16.pt --data my-clips --out my-clips.safetensors");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
