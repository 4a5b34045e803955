#include "clipcap/training/trainer.h"

#include <algorithm>
#include <cmath>

#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/training/data_digest.h"
#include "tensor/parallel.h"

namespace clipcap {
namespace {

// Stream of the seed that dropout draws from.
constexpr uint64_t kDropoutStream = 1ULL << 36;

// Frames that are in the encoder at once while it is trained.
constexpr int64_t kFramesAtOnce = 4;

// Decay and moments for what is trained; an encoder that is trained too has a rate of its own.
nn::AdamW make_optimizer(CaptionModel& model, const TrainConfig& config) {
  nn::set_requires_grad(*model.encoder, config.train_encoder);
  nn::AdamW optimizer(nn::parameters(model), nn::AdamwOptions{.weight_decay = config.weight_decay});
  optimizer.set_lr_scale("encoder.", config.encoder_lr_scale);
  return optimizer;
}

}  // namespace

Trainer::Trainer(const Config& config, TrainingSet& set, bool cache)
    : config_(config),
      set_(set),
      cache_(cache),
      model_(make_model(config, set.vocabularies(), set.ready_features())),
      extractor_(*model_->encoder, config, cache && !config.train.train_encoder ? encoder_name(config) : ""),
      dropout_(static_cast<uint64_t>(config.train.seed), kDropoutStream),
      optimizer_(make_optimizer(*model_, config.train)) {}

void Trainer::load_data(const TrainingSet::Progress& progress) {
  set_.load(config_, extractor_, cache_, progress);
  source_ = std::make_unique<BatchSource>(
      set_, config_, [this](const std::filesystem::path& clip) { return extractor_.frames(clip); });
  data_ = data_digest(set_);
}

StepReport Trainer::step(int64_t step) {
  CHECK(source_, "Trainer: a step before load_data");
  const TrainConfig& t = config_.train;
  const uint64_t dropout_before = dropout_.position();
  StepReport report;
  report.step = step + 1;
  optimizer_.zero_grad();
  try {
    for (int64_t share = 0; share < t.accumulate; ++share) {
      check_interrupted();
      Batch batch = source_->batch(step, share, t.accumulate);
      if (batch.frames.defined())
        batch.encoded = Variable(model_->encoder->encode(batch.frames), true);  // without history
      const Losses losses = model_->losses(batch, nn::Run{true, &dropout_});
      const double loss = losses.total.value().item();
      if (!std::isfinite(loss)) fail_diverged(step + 1, concat_text("the loss is ", loss));
      report.loss += loss;
      report.caption += losses.caption.value().item();
      if (losses.distill.defined()) report.distill += losses.distill.value().item();
      report.tokens = batch.denominators.caption;
      for (size_t k = 0; k < kAspects; ++k) {
        if (!losses.aspects[k].defined()) continue;
        report.aspects[k] += losses.aspects[k].value().item();
        report.tokens += batch.denominators.aspects[k];
      }
      losses.total.backward();
      if (batch.frames.defined()) encoder_backward(batch);
    }
    report.grad_norm = optimizer_.grad_norm();
    if (!std::isfinite(report.grad_norm))
      fail_diverged(step + 1, concat_text("the norm of the gradient is ", report.grad_norm));
  } catch (const Error&) {
    dropout_ = Generator(dropout_.seed(), dropout_before);
    throw;
  }
  report.lr = nn::warmup_cosine(step, t.steps, t.warmup, t.lr, t.lr_floor);
  optimizer_.step(report.lr, nn::clip_factor(report.grad_norm, t.clip_norm));
  return report;
}

// A ViT keeps 120 MB of activations a frame, so the frames go through it a few at a time: once for their
// features, and again for the gradient with what has come back to those (Chen et al. 2016, "Training Deep Nets
// with Sublinear Memory Cost"). The encoder has no dropout, so both times are alike.
void Trainer::encoder_backward(const Batch& batch) const {
  const Tensor& gradient = batch.encoded.grad();
  if (!gradient.defined()) return;
  const int64_t count = batch.frames.dim(0);
  for (int64_t start = 0; start < count; start += kFramesAtOnce) {
    check_interrupted();
    const int64_t now = std::min(kFramesAtOnce, count - start);
    model_->encoder->forward(Variable(batch.frames.slice(0, start, now)), nn::Run{})
        .backward(gradient.slice(0, start, now).contiguous());
  }
}

void Trainer::fail_diverged(int64_t step, const std::string& what) const {
  constexpr size_t kMostNames = 10;
  std::vector<std::string> names;
  for (int64_t i = 0; i < config_.train.batch && source_; ++i) {
    const size_t clip = source_->draw((step - 1) * config_.train.batch + i).clip;
    const std::string& name = set_.training().clips()[clip].video_id;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::string list;
  for (size_t i = 0; i < std::min(kMostNames, names.size()); ++i) list += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kMostNames) list += concat_text(" and ", names.size() - kMostNames, " more");
  fail("step ", step, ": ", what, "; clips of its batch: ", list,
       "; last good checkpoint: ", last_good_.empty() ? "none" : last_good_,
       " (a lower train.lr may help, or train.clip_norm)");
}

void Trainer::check_good(int64_t step) {
  nn::StateDict state = optimizer_.state();
  state.merge(nn::state_dict(*model_, encoder_is_apart(config_) ? "encoder" : ""));
  const std::string place = nonfinite_place(state);
  if (!place.empty()) fail_diverged(step, place);
  if (!source_) return;
  const NoGrad guard;
  const Losses losses = model_->losses(source_->batch(step, 0, config_.train.accumulate), nn::Run{});
  const double loss = losses.total.value().item();
  if (!std::isfinite(loss))
    fail_diverged(step, concat_text("after it, the loss on the next batch is ", loss));
}

Evaluation Trainer::evaluate(const std::function<void(size_t done)>& progress) const {
  const CaptionedClips& clips = set_.evaluation();
  const auto features = [&](size_t clip) {
    return config_.train.train_encoder ? extractor_.features(clips.clips()[clip].file)
                                       : set_.evaluation_features(clip);
  };
  return clipcap::evaluate(*model_, set_.vocabularies(), clips, features, progress);
}

void Trainer::save(const std::filesystem::path& directory, int64_t step) {
  const InterruptHold finish;
  std::filesystem::create_directories(directory);
  if (step > 0) {
    check_good(step);
    save_model(directory, *model_, set_.vocabularies(), {{"step", std::to_string(step)}});
  }
  save_checkpoint(directory, *model_, set_.vocabularies(), optimizer_,
                  {step, dropout_.position(), thread_count(), data_});
  last_good_ = concat_text(checkpoint_path(directory).string(), ", step ", step);
}

void Trainer::save_best(const std::filesystem::path& directory,
                        const std::map<std::string, std::string>& notes) {
  const InterruptHold finish;
  std::filesystem::create_directories(directory);
  save_model(directory, *model_, set_.vocabularies(), notes);
}

void Trainer::resume(const std::filesystem::path& directory, const TrainingState& state) {
  load_checkpoint(directory, *model_, optimizer_);
  dropout_ = Generator(dropout_.seed(), state.dropout_position);
  last_good_ = concat_text(checkpoint_path(directory).string(), ", step ", state.step);
}

}  // namespace clipcap
