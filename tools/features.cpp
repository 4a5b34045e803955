// clipcap features
#include <charconv>
#include <cstdio>
#include <memory>

#include "clipcap/cache/sha256.h"
#include "clipcap/data/annotations.h"
#include "clipcap/data/feature_extractor.h"
#include "clipcap/data/feature_file.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
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

// Clips done so far: each in a file of its own beside OUT, until all are there and OUT is written.
class Progress {
 public:
  Progress(std::filesystem::path out, FeatureOrigin origin)
      : out_(std::move(out)), origin_(std::move(origin)) {
    folder_ = out_;
    folder_ += ".partial";
    if (std::filesystem::exists(out_)) adopt(out_);
    if (std::filesystem::is_directory(folder_)) {
      for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
        if (entry.path().extension() == ".safetensors") adopt(entry.path());
      }
    }
  }
  [[nodiscard]] const ClipFeatures& done() const { return done_; }
  void add(const std::string& id, const Tensor& features) {
    std::filesystem::create_directories(folder_);
    Sha256 name;  // an id need not be a file name
    name.update(id);
    write_feature_file(folder_ / (name.hex() + ".safetensors"), {origin_, {{id, features}}});
    done_[id] = features;
  }
  void finish() {
    write_feature_file(out_, {origin_, done_});
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

 private:
  void adopt(const std::filesystem::path& path) {
    FeatureFile file = read_feature_file(path);
    CHECK_INPUT(
        file.origin.same_features(origin_), path.string(),
        ": holds features of another encoder, frame count or sampling; choose another --out or remove it");
    // Copies: OUT itself is about to be replaced.
    for (auto& [id, features] : file.clips) done_[id] = features.clone();
  }
  std::filesystem::path out_;
  std::filesystem::path folder_;
  FeatureOrigin origin_;
  ClipFeatures done_;
};

int run(const Options& options) {
  const InterruptGuard guard;
  options.common.apply();
  const Shard shard = parse_shard(options.shard);
  Config config;
  config.encoder.weights = options.clip;
  config.encoder.activation = options.activation;
  config.model.frames = options.frames;
  config.data.sampling = options.sampling;
  finish_config(config, "features");
  const std::string description = adopt_encoder_file(config, "--clip");
  const Dataset dataset = read_dataset(options.data, {});
  std::vector<const ClipEntry*> wanted;
  for (size_t i = 0; i < dataset.clips.size(); ++i) {
    if (static_cast<int64_t>(i) % shard.count == shard.index) wanted.push_back(&dataset.clips[i]);
  }
  Progress progress(options.out, feature_origin(config));
  std::fprintf(stderr, "%s\n", description.c_str());
  Generator unused(0);
  const std::unique_ptr<ImageEncoder> encoder = make_image_encoder(config, unused, true);
  const FeatureExtractor extractor(*encoder, config, "");
  size_t ready = 0;
  size_t skipped = 0;
  for (const ClipEntry* entry : wanted) {
    check_interrupted();
    if (progress.done().contains(entry->video_id)) {
      ++ready;
      continue;
    }
    try {
      CHECK_INPUT(!entry->file.empty(), options.data, ": clip ", entry->video_id,
                  ": no video, frame folder or feature file was found for it");
      progress.add(entry->video_id, extractor.features(entry->file));
    } catch (const InputError& error) {
      if (!options.keep_going) throw;
      std::fprintf(stderr, "skipped: %s\n", error.what());
      ++skipped;
      continue;
    }
    ++ready;
    if (ready % 50 == 0 || ready + skipped == wanted.size())
      std::fprintf(stderr, "encoded clips: %zu of %zu\n", ready, wanted.size());
  }
  progress.finish();
  std::fprintf(stderr, "%s: %zu clips", options.out.c_str(), ready);
  if (skipped > 0) std::fprintf(stderr, ", %zu skipped", skipped);
  std::fputc('\n', stderr);
  return 0;
}

}  // namespace

void add_features(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("features", "Encode the clips of a data set once, for training on many times");
  command->add_option("--clip", options->clip, "CLIP or ResNet checkpoint")->required();
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
  command->add_option("--activation", options->activation, "auto, quick_gelu or gelu")
      ->check(CLI::IsMember({"auto", "quick_gelu", "gelu"}))
      ->capture_default_str();
  command->add_flag("--keep-going", options->keep_going,
                    "leave out clips that are missing or cannot be decoded");
  options->common.add_to(*command);
  command->footer("Example: clipcap features --clip ViT-B-16.pt --data my-clips --out my-clips.safetensors");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
