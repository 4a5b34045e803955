#include "clipcap/training/trainer.h"

#include "clipcap/encoders/encoder_file.h"

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "clipcap/decoding/describe.h"
#include "clipcap/training/training_data.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t interrupted = 0;

// Ctrl-C asks the loop to save and end; a second one ends at once.
class InterruptGuard {
 public:
  InterruptGuard() {
    interrupted = 0;
    before_ = std::signal(SIGINT, [](int) {
      interrupted = 1;
      std::signal(SIGINT, SIG_DFL);
    });
  }
  ~InterruptGuard() { std::signal(SIGINT, before_); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  void (*before_)(int) = SIG_DFL;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Reports of steps that a resumed run will do again are dropped.
void truncate_metrics(const std::filesystem::path& path, int64_t step) {
  std::ifstream in(path);
  std::string kept;
  for (std::string line; std::getline(in, line);) {
    const json parsed = json::parse(line, nullptr, false);
    if (parsed.is_object() && parsed.contains("step") && parsed["step"].is_number_integer() &&
        parsed["step"] <= step) {
      kept += line + "\n";
    }
  }
  write_text_file(path, kept);
}

class Trainer {
 public:
  Trainer(const Config& config, const TrainOptions& options, ClipFeatures ready)
      : config_(config),
        ready_(std::move(ready)),
        options_(options),
        dataset_(read_dataset(options.data, DatasetOptions{.v2c_splits = config.data.v2c_splits})),
        vocabularies_(make_vocabularies(dataset_, config)),
        teacher_(config.loss.distill > 0 ? std::make_unique<Teacher>(config, vocabularies_) : nullptr),
        model_(make_model(config, vocabularies_)),
        extractor_(*model_->encoder, config,
                   options.cache_features && !config.train.train_encoder ? encoder_name(config) : ""),
        clips_(load_clips(dataset_, config.data.split, config, vocabularies_, extractor_, ready_,
                          progress("encoding"))),
        dropout_(static_cast<uint64_t>(config.train.seed), 1ULL << 36) {
    nn::set_requires_grad(*model_->encoder, config.train.train_encoder);
    optimizer_ = std::make_unique<nn::AdamW>(nn::parameters(*model_),
                                             nn::AdamwOptions{.weight_decay = config.train.weight_decay});
    optimizer_->set_lr_scale("encoder.", config.train.encoder_lr_scale);
    source_ = std::make_unique<BatchSource>(clips_, config_, *model_, teacher_.get(), extractor_);
  }

  int run() {
    std::filesystem::create_directories(options_.out);
    const std::filesystem::path metrics_path = options_.out / "metrics.jsonl";
    TrainingState state;
    if (options_.resume && std::filesystem::exists(checkpoint_path(options_.out))) {
      state = load_checkpoint(options_.out, *model_, *optimizer_);
      dropout_ = Generator(dropout_.seed(), state.dropout_position);
      truncate_metrics(metrics_path, state.step);
      std::fprintf(stderr, "resuming at step %lld\n", static_cast<long long>(state.step));
    } else {
      write_text_file(metrics_path, "");
    }
    std::ofstream metrics(metrics_path, std::ios::app);
    std::fprintf(stderr, "%zu clips, %lld caption words, %lld commonsense words, %lld parameters\n",
                 clips_.size(), static_cast<long long>(vocabularies_.caption.size()),
                 static_cast<long long>(vocabularies_.commonsense.size()),
                 static_cast<long long>(nn::parameter_count(*model_)));
    const InterruptGuard guard;
    const auto begin = Clock::now();
    const int64_t first = state.step;
    auto report_begin = begin;
    int64_t report_tokens = 0;
    while (state.step < config_.train.steps) {
      const json report = one_step(state.step);
      ++state.step;
      report_tokens += source_->tokens();
      const bool last = state.step == config_.train.steps;
      if (state.step % config_.train.log_every == 0 || last || state.step == first + 1) {
        json line = report;
        line["step"] = state.step;
        line["tokens_per_second"] =
            static_cast<double>(report_tokens) / std::max(1e-9, seconds_since(report_begin));
        metrics << line.dump() << '\n' << std::flush;
        const double left = seconds_since(begin) / static_cast<double>(state.step - first) *
                            static_cast<double>(config_.train.steps - state.step);
        print_report(line, left);
        report_begin = Clock::now();
        report_tokens = 0;
      }
      if (config_.train.eval_every > 0 && (state.step % config_.train.eval_every == 0 || last)) {
        metrics << evaluate(state.step).dump() << '\n' << std::flush;
      }
      state.dropout_position = dropout_.position();
      const bool due = config_.train.checkpoint_every > 0 && state.step % config_.train.checkpoint_every == 0;
      if (due || last || interrupted != 0) save_checkpoint(options_.out, *model_, *optimizer_, state);
      if (due || last || interrupted != 0) save_model(options_.out, *model_, vocabularies_);
      if (interrupted != 0 && !last) {
        std::fprintf(stderr, "interrupted: saved at step %lld; go on with --resume\n",
                     static_cast<long long>(state.step));
        return 130;
      }
    }
    save_model(options_.out, *model_, vocabularies_);
    std::fprintf(stderr, "trained %lld steps in %.0f s: %s\n", static_cast<long long>(state.step - first),
                 seconds_since(begin), options_.out.c_str());
    return 0;
  }

 private:
  static std::function<void(size_t, size_t)> progress(const char* what) {
    return [what](size_t done, size_t all) {
      if (done == all || done % 50 == 0) std::fprintf(stderr, "%s clips: %zu of %zu\n", what, done, all);
    };
  }

  json one_step(int64_t step) {
    const Batch batch = source_->batch(step);
    const nn::Run run{true, &dropout_};
    optimizer_->zero_grad();
    const Losses losses = model_->losses(batch, run);
    const double total = losses.total.value().item();
    CHECK(std::isfinite(total), "training: the loss is ", total, " at step ", step);
    json report{{"loss", total}, {"caption", losses.caption.value().item()}};
    if (losses.distill.defined()) report["distill"] = losses.distill.value().item();
    for (size_t k = 0; k < kAspects; ++k) {
      if (losses.aspects[k].defined()) report[kAspectNames[k]] = losses.aspects[k].value().item();
    }
    losses.total.backward();
    const double norm = optimizer_->grad_norm();
    const TrainConfig& t = config_.train;
    const double lr = nn::warmup_cosine(step, t.steps, t.warmup, t.lr, t.lr_floor);
    optimizer_->step(lr, nn::clip_factor(norm, t.clip_norm));
    report["grad_norm"] = norm;
    report["lr"] = lr;
    return report;
  }

  static void print_report(const json& line, double seconds_left) {
    std::string parts;
    for (const char* name : {"distill", "caption", "intention", "effect", "attribute"}) {
      if (!line.contains(name)) continue;
      char text[64];
      std::snprintf(text, sizeof text, "  %s %.3f", name, line[name].get<double>());
      parts += text;
    }
    const auto left = static_cast<long long>(seconds_left);
    std::fprintf(stderr, "step %6lld  loss %.3f%s  %.0f tokens/s  ETA %lld:%02lld\n",
                 static_cast<long long>(line["step"].get<int64_t>()), line["loss"].get<double>(),
                 parts.c_str(), line["tokens_per_second"].get<double>(), left / 60, left % 60);
  }

  // Greedy captions of the evaluation split: how many equal a reference, and a few to read.
  json evaluate(int64_t step) {
    if (!evaluation_loaded_) {
      evaluation_loaded_ = true;
      if (config_.data.eval_split == config_.data.split) {
        evaluation_ = clips_;
      } else {
        Config frozen = config_;
        frozen.train.train_encoder = false;
        evaluation_ = load_clips(dataset_, config_.data.eval_split, frozen, vocabularies_, extractor_, ready_,
                                 progress("encoding"));
      }
    }
    json report{{"step", step}, {"eval_split", config_.data.eval_split}, {"clips", evaluation_.size()}};
    constexpr size_t kClipsAtOnce = 32;
    constexpr size_t kSamples = 3;
    size_t equal = 0;
    for (size_t start = 0; start < evaluation_.size(); start += kClipsAtOnce) {
      const size_t end = std::min(evaluation_.size(), start + kClipsAtOnce);
      std::vector<Tensor> features;
      for (size_t i = start; i < end; ++i) {
        features.push_back(config_.train.train_encoder ? extractor_.features(evaluation_[i].file)
                                                       : evaluation_[i].features);
      }
      const FeatureBatch batch = stack_features(features);
      const std::vector<ClipTexts> texts =
          describe_clips(*model_, batch.features, batch.lengths, SearchOptions{});
      for (size_t i = start; i < end; ++i) {
        const std::string text = vocabularies_.caption.decode(texts[i - start].caption.ids);
        for (const TrainingClip::Caption& caption : evaluation_[i].captions) {
          if (vocabularies_.caption.decode(caption.ids) == text) {
            ++equal;
            break;
          }
        }
        if (i < kSamples) {
          std::fprintf(stderr, "  %s: %s\n", evaluation_[i].video_id.c_str(), text.c_str());
          report["samples"][evaluation_[i].video_id] = text;
        }
      }
    }
    std::fprintf(stderr, "  %zu of %zu captions equal a reference (%s)\n", equal, evaluation_.size(),
                 config_.data.eval_split.c_str());
    report["equal_to_reference"] = equal;
    return report;
  }

  Config config_;
  ClipFeatures ready_;  // of data.features
  TrainOptions options_;
  Dataset dataset_;
  Vocabularies vocabularies_;
  std::unique_ptr<Teacher> teacher_;  // null without distillation
  std::unique_ptr<CaptionModel> model_;
  FeatureExtractor extractor_;
  std::vector<TrainingClip> clips_;
  Generator dropout_;
  std::unique_ptr<nn::AdamW> optimizer_;
  std::unique_ptr<BatchSource> source_;
  std::vector<TrainingClip> evaluation_;
  bool evaluation_loaded_ = false;
};

}  // namespace

int train(const Config& config, const TrainOptions& options) {
  Config adopted = config;
  ClipFeatures ready = adopt_feature_files(adopted);
  const std::string encoder = adopt_encoder_file(adopted, "train");
  if (options.resume && std::filesystem::exists(checkpoint_path(options.out)))
    check_resumable(options.out, adopted);
  Trainer trainer(adopted, options, std::move(ready));
  if (!encoder.empty()) std::fprintf(stderr, "%s\n", encoder.c_str());
  return trainer.run();
}

}  // namespace clipcap
