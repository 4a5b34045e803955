#include "clipcap/training/training_run.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/process/output_folder.h"
#include "clipcap/terminal/printable.h"
#include "clipcap/terminal/progress.h"
#include "clipcap/training/checkpoint_policy.h"
#include "clipcap/training/data_check.h"
#include "clipcap/training/data_digest.h"
#include "clipcap/training/metrics_file.h"
#include "clipcap/training/run_contract.h"
#include "tensor/io/safetensors.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
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
  char text[96];
  std::snprintf(text, sizeof text, "step %6lld  loss %.3f",
                static_cast<long long>(line["step"].get<int64_t>()), line["loss"].get<double>());
  std::string report = text;
  for (const char* name : {"distill", "caption", "intention", "effect", "attribute"}) {
    if (!line.contains(name)) continue;
    std::snprintf(text, sizeof text, "  %s %.3f", name, line[name].get<double>());
    report += text;
  }
  std::snprintf(text, sizeof text, "  %.0f tokens/s  ETA ", line["tokens_per_second"].get<double>());
  log_line(report, text, clock_text(seconds_left));
}

// What the best model is chosen by: CIDEr; where that is equal (one clip has none), the captions that are, word
// for word, a reference of their clip.
constexpr const char* kCider = "CIDEr";
constexpr const char* kEqual = "equal_to_reference";
using Score = std::pair<double, size_t>;

// Says how the evaluation went; a few captions to read are part of it.
json evaluation_line(const Evaluation& evaluation, int64_t step, const std::string& split) {
  constexpr size_t kSamples = 3;
  json line{{"step", step},
            {"eval_split", split},
            {"clips", evaluation.predictions.size()},
            {kCider, evaluation.cider},
            {kEqual, evaluation.equal}};
  for (size_t i = 0; i < std::min(kSamples, evaluation.predictions.size()); ++i) {
    const Prediction& prediction = evaluation.predictions[i];
    log_line("  ", prediction.video_id, ": ", prediction.caption);
    line["samples"][prediction.video_id] = prediction.caption;
  }
  char cider[24];
  std::snprintf(cider, sizeof cider, "%.3f", evaluation.cider);
  log_line("  CIDEr ", cider, ", ", evaluation.equal, " of ", evaluation.predictions.size(),
           " captions equal a reference (", split, ")");
  return line;
}

// The score that best/ was chosen for, on the same evaluation split; nothing when there is none to keep.
std::optional<Score> best_score(const fs::path& best, const std::string& evaluation_data) {
  std::error_code error;
  const fs::path file = best / "model.safetensors";
  if (!fs::exists(file, error)) return {};
  try {
    const std::map<std::string, std::string> notes = read_safetensors(file).metadata;
    if (notes.at("evaluation_data") != evaluation_data) return {};
    return Score{json::parse(notes.at(kCider)).get<double>(), json::parse(notes.at(kEqual)).get<size_t>()};
  } catch (const std::exception& damaged) {
    log_warning(file.string(), " is not looked at: ", damaged.what());
  }
  return {};
}

class TrainingRun {
 public:
  TrainingRun(const Config& config, const TrainOptions& options) : config_(config), options_(options) {}

  int run() {
    try {
      prepare();
      return loop();
    } catch (const Interrupted& interrupted) {
      return stopped(interrupted.signal());
    }
  }

 private:
  // Everything that can be refused is, before the first encoded clip.
  void prepare() {
    check_may_run(options_.out, options_.resume, options_.overwrite);
    check_losses(config_);
    ClipFeatures ready = adopt_feature_files(config_);
    const std::string encoder = adopt_encoder_file(config_, "train");
    check_encoder_is_safe(config_, options_.out);
    std::optional<SavedRun> saved;
    std::vector<std::string> lines;
    if (options_.resume && fs::exists(checkpoint_path(options_.out))) {
      saved = read_saved_run(options_.out);
    } else if (options_.resume) {
      lines.push_back(options_.out.string() + ": nothing to resume; the run begins at step 0");
    }
    set_ = std::make_unique<TrainingSet>(config_, options_.data, std::move(ready),
                                         saved ? &saved->vocabularies : nullptr);
    config_ = set_->config();
    check_losses(config_);
    if (saved) lines = check_resumable(options_.out, saved->config, config_);
    trainer_ = std::make_unique<Trainer>(config_, *set_, options_.cache_features);
    if (saved) {
      trainer_->resume(options_.out, saved->state);
      saved_at_ = first_ = saved->state.step;
    }
    bool told = false;
    const auto tell = [&] {  // when the work begins: what is refused before that is refused in one line
      if (told) return;
      told = true;
      if (!encoder.empty()) log_line(encoder);
      for (const std::string& line : set_->report()) log_line(line);
      for (const std::string& line : lines) log_line(line);
      if (saved) log_line("resuming at step ", first_);
    };
    std::optional<Progress> progress;
    std::string shown;
    trainer_->load_data([&](const char* what, size_t done, size_t all) {
      const bool reading = std::string_view(what) == "features";  // they may yet be refused
      if (!reading) tell();
      if (const std::string name = concat_text(what, ' ', all); name != shown) {
        progress.emplace(concat_text(reading ? "reading " : "encoding ", what), static_cast<int64_t>(all),
                         ProgressOptions{.unit = what, .plain_lines = !reading});
        shown = name;
      }
      progress->update(static_cast<int64_t>(done));
    });
    tell();
    if (saved) tell_changes(saved->state);
    log_line(set_->training().size(), " clips, ", set_->vocabularies().caption.size(), " caption words, ",
             set_->vocabularies().commonsense.size(), " commonsense words, ",
             nn::parameter_count(trainer_->model()), " parameters");
    if (options_.overwrite) remove_run(options_.out);
    if (!saved) save(0);  // the disk is found to be full now, and not after the first hours
  }

  void tell_changes(const TrainingState& before) const {
    if (before.threads > 0 && before.threads != thread_count()) {
      log_line("threads: ", before.threads, " until now, ", thread_count(),
               " from here on; the last bits of what is computed may differ");
    }
    const std::string changed = changed_parts(before.data, trainer_->data());
    if (changed.empty()) return;
    size_t words = 0;
    size_t unknown = 0;
    const Vocabulary& vocabulary = set_->vocabularies().caption;
    for (size_t c = 0; c < set_->training().captions(); ++c) {
      const std::span<const int32_t> ids = set_->training().ids(c);
      words += ids.size() - 2;  // without sos and eos
      unknown += static_cast<size_t>(std::count(ids.begin(), ids.end(), vocabulary.unk()));
    }
    log_warning("the data changed since the run began: ", changed,
                ". The run keeps its vocabulary: ", unknown, " of ", words,
                " words in the captions are unknown to it (<UNK>)");
  }

  int loop() {
    MetricsFile metrics(options_.out / "metrics.jsonl", first_);
    const CheckpointPolicy policy(config_.train, first_);
    int64_t step = first_;
    if (step >= config_.train.steps) {
      log_line("step ", step, " of ", config_.train.steps, " is reached already");
      save(step);
    }
    // A run that was stopped between a checkpoint and the evaluation of its step.
    if (step > 0 && policy.after(step, false).evaluate && !metrics.evaluated()) evaluate(step, metrics);
    const auto begin = Clock::now();
    auto reported = begin;
    double tokens = 0;
    Progress progress("training", config_.train.steps,
                      {.unit = "steps", .done = first_, .plain_lines = false});
    while (step < config_.train.steps) {
      step_ = step;
      const StepReport report = trainer_->step(step);
      step_ = ++step;
      tokens += report.tokens;
      if (options_.on_step) options_.on_step(report);
      const int signal = interrupted_by();
      const StepDuties duties = policy.after(step, signal != 0);
      if (duties.report) {
        const json line =
            metrics_line(report, trainer_->model(), tokens / std::max(1e-9, seconds_since(reported)));
        if (duties.record) metrics.append(line);
        print_report(line, seconds_since(begin) / static_cast<double>(step - first_) *
                               static_cast<double>(config_.train.steps - step));
        reported = Clock::now();
        tokens = 0;
      }
      if (duties.checkpoint) save(step);
      if (signal != 0 && (step < config_.train.steps || duties.evaluate)) return stopped(signal);
      if (duties.evaluate) evaluate(step, metrics);
      char note[32];
      std::snprintf(note, sizeof note, "loss %.3f", report.loss);
      progress.update(step, note);
    }
    log_line("trained ", config_.train.steps - std::min(first_, config_.train.steps), " steps in ",
             clock_text(seconds_since(begin)), ": ", options_.out.string());
    return 0;
  }

  void evaluate(int64_t step, MetricsFile& metrics) {
    step_ = step;
    Evaluation evaluation;
    try {
      Progress progress("evaluating", static_cast<int64_t>(set_->evaluation().size()));
      evaluation = trainer_->evaluate([&](size_t done) { progress.update(static_cast<int64_t>(done)); });
    } catch (const Interrupted&) {
      throw;
    } catch (const std::exception& error) {
      log_warning("the evaluation at step ", step, " failed, training goes on: ", error.what());
      metrics.append({{"step", step}, {"eval_split", config_.data.eval_split}, {"error", error.what()}});
      return;
    }
    const json line = evaluation_line(evaluation, step, config_.data.eval_split);
    const fs::path best = options_.out / "best";
    const Score score{evaluation.cider, evaluation.equal};
    const std::string& data = trainer_->data().at("evaluation");
    if (const std::optional<Score> before = best_score(best, data); !before || score > *before) {
      trainer_->save_best(best, {{"step", std::to_string(step)},
                                 {kCider, json(evaluation.cider).dump()},
                                 {kEqual, std::to_string(evaluation.equal)},
                                 {"evaluation_data", data}});
    }
    metrics.append(line);  // last: it says that all this is done
  }

  void save(int64_t step) {
    trainer_->save(options_.out, step);
    saved_at_ = step;
  }

  // Saves what is not yet saved, and says so in one line.
  int stopped(int signal) {
    const std::string by = "interrupted by " + interrupt_name(signal);
    if (!trainer_) {
      log_line(by, " before anything was trained");
      return 128 + signal;
    }
    if (saved_at_ < step_) save(step_);
    log_line(by, ": saved at step ", saved_at_, "; go on with --resume");
    return 128 + signal;
  }

  Config config_;
  const TrainOptions& options_;
  std::unique_ptr<TrainingSet> set_;
  std::unique_ptr<Trainer> trainer_;
  int64_t first_ = 0;
  int64_t step_ = 0;       // done
  int64_t saved_at_ = -1;  // the step of last/; -1: there is none yet
};

// Everything about the data on stdout, those clips too that a message has no room for.
int check_data(const Config& config, const TrainOptions& options) {
  check_losses(config);
  Config adopted = config;
  ClipFeatures ready = adopt_feature_files(adopted);
  adopt_encoder_file(adopted, "train");
  try {
    TrainingSet set(adopted, options.data, std::move(ready));
    check_losses(set.config());
    // Their size is all that is needed of an encoder, and only a ResNet's is not in the configuration.
    const Config& settled = set.config();
    Generator unused(0);
    const std::unique_ptr<ImageEncoder> encoder =
        set.ready_features() > 0 ? std::make_unique<FeaturesOnly>(set.ready_features())
        : settled.model.encoder == "resnet152" && !settled.encoder.weights.empty()
            ? make_image_encoder(settled, unused, true)
            : make_features_only(settled);
    set.check_features(FeatureExtractor(*encoder, settled, ""), {});
    for (const std::string& line : set.report()) std::printf("%s\n", printable(line).c_str());
    std::printf("%lld caption words, %lld commonsense words; nothing was trained\n",
                static_cast<long long>(set.vocabularies().caption.size()),
                static_cast<long long>(set.vocabularies().commonsense.size()));
  } catch (const MissingClips& missing) {
    for (const std::string& id : missing.ids()) std::printf("missing: %s\n", printable(id).c_str());
    throw;
  }
  return 0;
}

}  // namespace

int train(const Config& config, const TrainOptions& options) {
  const InterruptGuard guard;
  if (options.check) return check_data(config, options);
  const OutputFolder folder(options.out);
  if (!cache_folder().empty()) remove_dead_leftovers(cache_folder());
  return TrainingRun(config, options).run();
}

}  // namespace clipcap
