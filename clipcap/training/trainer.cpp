#include "clipcap/training/trainer.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/training/checkpoint_policy.h"
#include "clipcap/training/metrics_file.h"

namespace clipcap {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Stream of the seed that dropout draws from.
constexpr uint64_t kDropoutStream = 1ULL << 36;

// Decay and moments for what is trained; an encoder that is trained too has a rate of its own.
nn::AdamW make_optimizer(CaptionModel& model, const TrainConfig& config) {
  nn::set_requires_grad(*model.encoder, config.train_encoder);
  nn::AdamW optimizer(nn::parameters(model), nn::AdamwOptions{.weight_decay = config.weight_decay});
  optimizer.set_lr_scale("encoder.", config.encoder_lr_scale);
  return optimizer;
}

json metrics_line(const StepReport& report, const CaptionModel& model, double tokens_per_second) {
  json line{{"step", report.step},           {"loss", report.loss}, {"caption", report.caption},
            {"grad_norm", report.grad_norm}, {"lr", report.lr},     {"tokens_per_second", tokens_per_second}};
  if (model.config().loss.distill > 0) line["distill"] = report.distill;
  for (size_t k = 0; k < kAspects; ++k) {
    if (model.has_aspect(static_cast<int>(k))) line[kAspectNames[k]] = report.aspects[k];
  }
  return line;
}

void print_report(const json& line, double seconds_left) {
  std::string parts;
  for (const char* name : {"distill", "caption", "intention", "effect", "attribute"}) {
    if (!line.contains(name)) continue;
    char text[64];
    std::snprintf(text, sizeof text, "  %s %.3f", name, line[name].get<double>());
    parts += text;
  }
  const auto left = static_cast<long long>(seconds_left);
  std::fprintf(stderr, "step %6lld  loss %.3f%s  %.0f tokens/s  ETA %lld:%02lld\n",
               static_cast<long long>(line["step"].get<int64_t>()), line["loss"].get<double>(), parts.c_str(),
               line["tokens_per_second"].get<double>(), left / 60, left % 60);
}

// Says how the evaluation went; a few captions to read are part of it.
json evaluation_line(const Evaluation& evaluation, int64_t step, const std::string& split) {
  constexpr size_t kSamples = 3;
  json line{{"step", step},
            {"eval_split", split},
            {"clips", evaluation.predictions.size()},
            {"equal_to_reference", evaluation.equal}};
  for (size_t i = 0; i < std::min(kSamples, evaluation.predictions.size()); ++i) {
    const Prediction& prediction = evaluation.predictions[i];
    std::fprintf(stderr, "  %s: %s\n", prediction.video_id.c_str(), prediction.caption.c_str());
    line["samples"][prediction.video_id] = prediction.caption;
  }
  std::fprintf(stderr, "  %zu of %zu captions equal a reference (%s)\n", evaluation.equal,
               evaluation.predictions.size(), split.c_str());
  return line;
}

void print_progress(const char* what, size_t done, size_t all) {
  const bool captions = std::string_view(what) == "captions";  // they come a thousand at a time
  if (captions || done == all || done % 50 == 0)
    std::fprintf(stderr, "encoding %s: %zu of %zu\n", what, done, all);
}

}  // namespace

Trainer::Trainer(const Config& config, TrainingSet& set, bool cache)
    : config_(config),
      set_(set),
      cache_(cache),
      model_(make_model(config, set.vocabularies())),
      extractor_(*model_->encoder, config, cache && !config.train.train_encoder ? encoder_name(config) : ""),
      dropout_(static_cast<uint64_t>(config.train.seed), kDropoutStream),
      optimizer_(make_optimizer(*model_, config.train)) {}

void Trainer::load_data(const TrainingSet::Progress& progress) {
  set_.load(config_, extractor_, cache_, progress);
  source_ = std::make_unique<BatchSource>(
      set_, config_, [this](const std::filesystem::path& clip) { return extractor_.frames(clip); });
}

StepReport Trainer::step(int64_t step) {
  CHECK(source_, "Trainer: a step before load_data");
  const Batch batch = source_->batch(step);
  optimizer_.zero_grad();
  const Losses losses = model_->losses(batch, nn::Run{true, &dropout_});
  StepReport report;
  report.step = step + 1;
  report.loss = losses.total.value().item();
  CHECK(std::isfinite(report.loss), "training: the loss is ", report.loss, " at step ", step);
  report.caption = losses.caption.value().item();
  if (losses.distill.defined()) report.distill = losses.distill.value().item();
  report.tokens = batch.denominators.caption;
  for (size_t k = 0; k < kAspects; ++k) {
    if (!losses.aspects[k].defined()) continue;
    report.aspects[k] = losses.aspects[k].value().item();
    report.tokens += batch.denominators.aspects[k];
  }
  losses.total.backward();
  const TrainConfig& t = config_.train;
  report.grad_norm = optimizer_.grad_norm();
  report.lr = nn::warmup_cosine(step, t.steps, t.warmup, t.lr, t.lr_floor);
  optimizer_.step(report.lr, nn::clip_factor(report.grad_norm, t.clip_norm));
  return report;
}

Evaluation Trainer::evaluate() const {
  const CaptionedClips& clips = set_.evaluation();
  return clipcap::evaluate(*model_, set_.vocabularies(), clips, [&](size_t clip) {
    return config_.train.train_encoder ? extractor_.features(clips.clips()[clip].file)
                                       : set_.evaluation_features(clip);
  });
}

void Trainer::save(const std::filesystem::path& directory, int64_t step) {
  save_checkpoint(directory, *model_, optimizer_, {step, dropout_.position()});
  save_model(directory, *model_, set_.vocabularies());
}

int64_t Trainer::resume(const std::filesystem::path& directory) {
  const TrainingState state = load_checkpoint(directory, *model_, optimizer_);
  dropout_ = Generator(dropout_.seed(), state.dropout_position);
  return state.step;
}

int train(const Config& config, const TrainOptions& options) {
  const InterruptGuard guard;
  Config adopted = config;
  ClipFeatures ready = adopt_feature_files(adopted);
  const std::string encoder = adopt_encoder_file(adopted, "train");
  const bool resumed = options.resume && std::filesystem::exists(checkpoint_path(options.out));
  if (resumed) check_resumable(options.out, adopted);
  TrainingSet set(adopted, options.data, std::move(ready));
  Trainer trainer(adopted, set, options.cache_features);
  // Said when the work begins: what is refused before that is refused in one line.
  bool told = encoder.empty();
  const auto tell_encoder = [&] {
    if (!told) std::fprintf(stderr, "%s\n", encoder.c_str());
    told = true;
  };
  trainer.load_data([&](const char* what, size_t done, size_t all) {
    tell_encoder();
    print_progress(what, done, all);
  });
  tell_encoder();

  std::filesystem::create_directories(options.out);
  const int64_t first = resumed ? trainer.resume(options.out) : 0;
  if (resumed) std::fprintf(stderr, "resuming at step %lld\n", static_cast<long long>(first));
  std::fprintf(stderr, "%zu clips, %lld caption words, %lld commonsense words, %lld parameters\n",
               set.training().size(), static_cast<long long>(set.vocabularies().caption.size()),
               static_cast<long long>(set.vocabularies().commonsense.size()),
               static_cast<long long>(nn::parameter_count(trainer.model())));
  MetricsFile metrics(options.out / "metrics.jsonl", first);
  const CheckpointPolicy policy(adopted.train, first);
  const auto begin = Clock::now();
  auto reported = begin;
  double tokens = 0;
  if (first >= adopted.train.steps) trainer.save(options.out, first);
  for (int64_t step = first; step < adopted.train.steps;) {
    const StepReport report = trainer.step(step++);
    tokens += report.tokens;
    if (options.on_step) options.on_step(report);
    const StepDuties duties = policy.after(step, interrupted_by() != 0);
    if (duties.report) {
      const json line =
          metrics_line(report, trainer.model(), tokens / std::max(1e-9, seconds_since(reported)));
      metrics.append(line);
      print_report(line, seconds_since(begin) / static_cast<double>(step - first) *
                             static_cast<double>(adopted.train.steps - step));
      reported = Clock::now();
      tokens = 0;
    }
    if (duties.evaluate) metrics.append(evaluation_line(trainer.evaluate(), step, adopted.data.eval_split));
    if (duties.checkpoint) trainer.save(options.out, step);
    if (duties.stop && step < adopted.train.steps) {
      const int signal = interrupted_by();
      std::fprintf(stderr, "interrupted by %s: saved at step %lld; go on with --resume\n",
                   interrupt_name(signal).c_str(), static_cast<long long>(step));
      return 128 + signal;
    }
  }
  std::fprintf(stderr, "trained %lld steps in %.0f s: %s\n",
               static_cast<long long>(adopted.train.steps - first), seconds_since(begin),
               options.out.c_str());
  return 0;
}

}  // namespace clipcap
