// The trainer: schedule and clipping reach the weights, what is to change changes and nothing else, a few
// clips are learnt by heart, Ctrl-C and resuming give the run that was never interrupted.
#include "clipcap/training/training_run.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "clipcap/process/interrupt.h"
#include "tensor/io/safetensors.h"
#include "tests/clipcap/training/small_data.h"
#include "tests/source_dir.h"

namespace clipcap {
namespace {

using nlohmann::json;
using testing::numbered_clips;

Config config_with(const std::vector<std::string>& settings) {
  Config config = testing::small_training_config();
  for (const std::string& setting : settings) set_config_key(config, setting);
  return config;
}

// A trainer over a folder, with copies of its weights to compare with.
struct Fixture {
  const TemporaryFolder& folder;
  Config config;
  std::unique_ptr<TrainingSet> set;
  std::unique_ptr<Trainer> trainer;

  Fixture(const TemporaryFolder& data, const std::vector<std::string>& settings)
      : folder(data), config(config_with(settings)) {
    set = std::make_unique<TrainingSet>(config, folder.path());
    trainer = std::make_unique<Trainer>(config, *set, false);
    trainer->load_data({});
  }
  [[nodiscard]] std::map<std::string, Tensor> weights() const {
    std::map<std::string, Tensor> copy;
    for (const auto& [name, value] : nn::state_dict(trainer->model())) copy[name] = value.clone();
    return copy;
  }
  // The largest change of any weight whose name begins with `prefix` since `before`.
  [[nodiscard]] double change(const std::map<std::string, Tensor>& before,
                              const std::string& prefix = "") const {
    double largest = 0;
    for (const auto& [name, value] : nn::state_dict(trainer->model())) {
      if (!name.starts_with(prefix)) continue;
      largest = std::max<double>(
          largest, testing::max_error(value.to_vector<float>(), before.at(name).to_vector<float>()));
    }
    return largest;
  }
  [[nodiscard]] std::set<std::string> unchanged(const std::map<std::string, Tensor>& before) const {
    std::set<std::string> names;
    for (const auto& [name, value] : nn::state_dict(trainer->model())) {
      if (value.to_vector<float>() == before.at(name).to_vector<float>()) names.insert(name);
    }
    return names;
  }
};

double norm_of_moments(const std::filesystem::path& directory) {
  double squares = 0;
  for (const auto& [name, value] : read_safetensors(checkpoint_path(directory)).tensors) {
    if (!name.starts_with("m.")) continue;
    for (const float x : value.to_vector<float>()) squares += static_cast<double>(x) * x;
  }
  return std::sqrt(squares);
}

std::vector<json> metrics_of(const std::filesystem::path& directory) {
  std::vector<json> lines;
  std::ifstream in(directory / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    lines.push_back(json::parse(line));
    lines.back().erase("tokens_per_second");
  }
  return lines;
}

// As kill does: any thread may get it, and the watching one does.
void interrupt_this_process() {
  ::kill(::getpid(), SIGTERM);
  for (int i = 0; i < 1000 && interrupted_by() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

// Pictures as clips, for an encoder that is trained: a real picture each, one frame.
void write_picture_clips(const TemporaryFolder& folder) {
  testing::write_small_data(folder, numbered_clips(3), false);
  const char* pictures[] = {"0-rgb.png", "0-grey.png", "0-palette.png"};
  for (int i = 0; i < 3; ++i) {
    std::filesystem::create_directories(folder.path() / "videos");
    std::filesystem::copy_file(testing::golden_path("pictures") / pictures[i],
                               folder.path() / "videos" / ("clip" + std::to_string(i) + ".png"));
  }
}

}  // namespace

TEST_CASE("the learning rate of the schedule is the one that moves the weights", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  Fixture f(folder, {"train.steps=30", "train.warmup=10", "train.lr=0.01", "train.weight_decay=0",
                     "train.clip_norm=0", "train.lr_floor=0.01"});
  for (int64_t step = 0; step < 30; ++step) {
    const auto before = f.weights();
    const StepReport report = f.trainer->step(step);
    const double expected = nn::warmup_cosine(step, 30, 10, 0.01, 0.01);
    CHECK(report.step == step + 1);
    CHECK(report.lr == Approx(expected));
    const double change = f.change(before);
    INFO("step " << step << ", lr " << expected << ", change " << change);
    // AdamW's first step moves a weight by the rate itself; later ones by no more than a few rates, and the
    // most moved weight by a good part of it.
    if (step == 0) CHECK(change == Approx(expected).epsilon(0.01));
    CHECK(change < 4 * expected);
    CHECK(change > 0.3 * expected);
  }
}

TEST_CASE("gradients are clipped to train.clip_norm before the optimizer sees them", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  for (const double limit : {0.0, 0.01, 1e6}) {
    INFO("limit " << limit);
    Fixture f(folder, {concat_text("train.clip_norm=", limit)});
    const StepReport report = f.trainer->step(0);
    CHECK(report.grad_norm > 0.1);  // before clipping
    f.trainer->save(folder.path() / "out", 1);
    const double seen = limit > 0 ? std::min(limit, report.grad_norm) : report.grad_norm;
    CHECK(norm_of_moments(folder.path() / "out") == Approx(0.1 * seen).epsilon(1e-4));  // (1 - beta1) g
  }
}

TEST_CASE("train.weight_decay pulls matrices to zero, and vectors not", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  Fixture without(folder, {"train.weight_decay=0"});
  Fixture with(folder, {"train.weight_decay=0.5"});
  const auto before = with.weights();
  const StepReport report = without.trainer->step(0);
  CHECK(with.trainer->step(0).loss == report.loss);
  for (const auto& [name, value] : with.weights()) {
    INFO(name);
    const double decay = name.starts_with("encoder.") || value.rank() < 2 ? 0.0 : report.lr * 0.5;
    std::vector<float> expected = nn::state_dict(without.trainer->model()).at(name).to_vector<float>();
    const std::vector<float> old = before.at(name).to_vector<float>();
    for (size_t i = 0; i < old.size(); ++i) expected[i] -= static_cast<float>(decay * old[i]);
    CHECK(testing::max_error(value.to_vector<float>(), expected) < 1e-6);
  }
}

TEST_CASE("the evaluation split is decoded from its own features", "[trainer]") {
  const TemporaryFolder folder("trainer");
  auto clips = numbered_clips(6);
  clips[1].split = clips[4].split = "validate";
  testing::write_small_data(folder, clips);
  Fixture f(folder, {"data.eval_split=validate", "train.eval_every=1"});
  const Evaluation evaluation = f.trainer->evaluate();
  REQUIRE(evaluation.predictions.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const testing::SmallClip& clip = clips[i == 0 ? 1 : 4];
    CHECK(evaluation.predictions[i].video_id == clip.id);
    const Tensor features =
        Tensor::from(testing::small_features(clip), {1, clip.frames, testing::kSmallFeatures});
    const ClipTexts texts =
        describe_clips(f.trainer->model(), features, {static_cast<int32_t>(clip.frames)}, {})[0];
    CHECK(evaluation.predictions[i].log_probability == Approx(texts.caption.log_probability).epsilon(1e-5));
  }
}

TEST_CASE("the total is the weighted sum of the parts (eq. 7 and 8)", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  Fixture f(folder, {"loss.distill=3", "loss.alpha=[0.5,2,5,11]"});
  const StepReport r = f.trainer->step(0);
  CHECK(r.loss ==
        Approx(3 * r.distill + 0.5 * r.caption + 2 * r.aspects[0] + 5 * r.aspects[1] + 11 * r.aspects[2]));
  for (const double part : {r.distill, r.caption, r.aspects[0], r.aspects[1], r.aspects[2]})
    CHECK(part > 0.01);
}

TEST_CASE("one step changes every trained parameter and no other", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  const std::vector<std::string> still{"train.weight_decay=0", "train.batch=6"};
  const auto unchanged = [&](std::vector<std::string> settings) {
    settings.insert(settings.end(), still.begin(), still.end());
    Fixture f(folder, settings);
    const auto before = f.weights();
    static_cast<void>(f.trainer->step(0));
    std::set<std::string> modules;
    for (const std::string& name : f.unchanged(before)) modules.insert(name.substr(0, name.find('.')));
    return modules;
  };
  using Names = std::set<std::string>;
  for (const char* kind : {"lstm", "transformer", "conv1d"}) {
    INFO(kind);
    CHECK(unchanged({std::string("model.fusion.kind=") + kind}) == Names{"encoder"});
  }
  // The caption's loss alone reaches the sub-decoders through their hidden states, and Vis2Text through m.
  CHECK(unchanged({"loss.distill=0", "loss.alpha=[1,0,0,0]"}) == Names{"encoder"});
  // Distillation alone reaches what makes vt, and nothing behind it.
  CHECK(unchanged({"loss.alpha=[0,0,0,0]"}) == Names{"encoder", "text_projection", "memory_type",
                                                     "memory_norm", "caption_table", "commonsense_table",
                                                     "intention", "effect", "attribute", "caption_decoder"});
  // An aspect's loss alone stays in its own sub-decoder (and what it reads).
  CHECK(unchanged({"loss.distill=0", "loss.alpha=[0,0,1,0]"}) ==
        Names{"encoder", "caption_table", "intention", "attribute", "caption_decoder"});
}

TEST_CASE("train_encoder changes the encoder, at its own rate; without it the encoder stays bit for bit",
          "[trainer]") {
  const TemporaryFolder folder("trainer");
  write_picture_clips(folder);
  Fixture trained(folder, {"train.train_encoder=true", "train.encoder_lr_scale=0.25", "train.weight_decay=0",
                           "train.clip_norm=0", "train.lr=0.01"});
  const auto before = trained.weights();
  const StepReport report = trained.trainer->step(0);
  for (const std::string& name : trained.unchanged(before)) {
    INFO(name);
    CHECK(!name.starts_with("encoder."));
  }
  CHECK(trained.change(before, "encoder.") == Approx(0.25 * report.lr).epsilon(0.02));
  CHECK(trained.change(before) == Approx(report.lr).epsilon(0.02));
  // The evaluation sees the encoder as it is now.
  const Evaluation now = trained.trainer->evaluate();
  CHECK(now.predictions.size() == 3);

  Fixture frozen(folder, {"train.lr=0.01"});
  const auto as_it_was = frozen.weights();
  for (int64_t step = 0; step < 3; ++step) static_cast<void>(frozen.trainer->step(step));
  CHECK(frozen.change(as_it_was, "encoder.") == 0.0);
  CHECK(frozen.change(as_it_was, "fusion.") > 0.0);
}

TEST_CASE("an encoder that is trained a few frames at a time gets the gradient of all at once", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(3), false);
  const char* pictures[] = {"0-rgb.png", "0-grey.png", "0-palette.png"};
  for (int clip = 0; clip < 3; ++clip) {
    for (int frame = 0; frame < 2 + 2 * clip; ++frame) {  // 12 in all: the last ones are of clip 2 alone
      const auto frames = folder.path() / "frames" / concat_text("clip", clip);
      std::filesystem::create_directories(frames);
      std::filesystem::copy_file(testing::golden_path("pictures") / pictures[(clip + frame) % 3],
                                 frames / concat_text(frame, ".png"));
    }
  }
  const std::vector<std::string> settings{"train.train_encoder=true", "train.batch=3", "model.frames=6",
                                          "train.weight_decay=0", "train.clip_norm=0"};
  const auto gradients = [](CaptionModel& model) {
    std::map<std::string, std::vector<float>> result;
    for (const nn::NamedParameter& parameter : nn::parameters(model)) {
      if (parameter.variable.grad().defined())
        result[parameter.name] = parameter.variable.grad().to_vector<float>();
    }
    return result;
  };
  Fixture at_once(folder, settings);
  const FeatureExtractor extractor(*at_once.trainer->model().encoder, at_once.config, "");
  BatchSource source(*at_once.set, at_once.config,
                     [&](const std::filesystem::path& clip) { return extractor.frames(clip); });
  const Batch batch = source.batch(0);
  CHECK(batch.frames.dim(0) == 12);
  at_once.trainer->model().losses(batch, {}).total.backward();
  const auto expected = gradients(at_once.trainer->model());
  for (const char* accumulate : {"train.accumulate=1", "train.accumulate=3"}) {
    INFO(accumulate);
    std::vector<std::string> own = settings;
    own.push_back(accumulate);
    Fixture in_parts(folder, own);
    static_cast<void>(in_parts.trainer->step(0));
    const auto found = gradients(in_parts.trainer->model());
    REQUIRE(found.size() == expected.size());
    size_t of_encoder = 0;
    for (const auto& [name, gradient] : expected) {
      INFO(name);
      double largest = 0;
      for (const float value : gradient) largest = std::max(largest, std::abs(static_cast<double>(value)));
      CHECK(testing::max_error(found.at(name), gradient) <= 1e-4 * largest + 1e-6);
      of_encoder += name.starts_with("encoder.") && largest > 0 ? 1 : 0;
    }
    CHECK(of_encoder > 10);
  }
}

TEST_CASE("a few clips are learnt by heart", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(
      folder,
      {{"one", 5, {{"a dog runs in the park", {{{"to play"}, {"gets tired"}, {"happy"}}}}}},
       {"two", 3, {{"a man plays the guitar on a stage", {{{"to earn money"}, {"is heard"}, {"musical"}}}}}},
       {"three", 4, {{"the cat sleeps", {{{"to rest"}, {"feels better"}, {"calm"}}}}}},
       {"four", 1, {{"two people dance", {{{"to celebrate"}, {"get closer"}, {"joyful"}}}}}}});
  Fixture f(folder, {"train.steps=150", "train.warmup=10", "train.lr=5e-3", "loss.label_smoothing=0",
                     "loss.distill=1"});
  const StepReport first = f.trainer->step(0);
  CHECK(f.trainer->evaluate().equal < 4);
  StepReport last;
  for (int64_t step = 1; step < 150; ++step) last = f.trainer->step(step);
  CHECK(last.caption < 0.05);
  for (const double aspect : last.aspects) CHECK(aspect < 0.05);
  CHECK(last.distill < 0.7 * first.distill);
  size_t told = 0;
  const Evaluation evaluation = f.trainer->evaluate([&](size_t done) { CHECK(done == ++told); });
  CHECK(told == evaluation.predictions.size());
  CHECK(evaluation.equal == 4);
  const std::vector<std::vector<std::string>> texts{
      {"a dog runs in the park", "to play", "gets tired", "happy"},
      {"a man plays the guitar on a stage", "to earn money", "is heard", "musical"},
      {"the cat sleeps", "to rest", "feels better", "calm"},
      {"two people dance", "to celebrate", "get closer", "joyful"}};
  for (size_t i = 0; i < 4; ++i) {
    CHECK(evaluation.predictions[i].caption == texts[i][0]);
    for (size_t k = 0; k < kAspects; ++k) CHECK(evaluation.predictions[i].aspects[k] == texts[i][k + 1]);
  }
}

TEST_CASE("shares of a batch add up to its loss and gradients", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(9));
  for (const char* target : {"pooled", "tokens"}) {
    INFO(target);
    Fixture f(folder,
              {"train.batch=7", "loss.alpha=[1,2,0.5,3]", std::string("loss.distill_target=") + target});
    const CaptionModel& model = f.trainer->model();
    const auto gradients = [&](int64_t ranks, double& total) {
      const auto parameters = nn::parameters(f.trainer->model());
      for (const nn::NamedParameter& parameter : parameters) parameter.variable.zero_grad();
      total = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        BatchSource source(*f.set, f.config);
        const Losses losses = model.losses(source.batch(3, rank, ranks), {});
        total += losses.total.value().item();
        losses.total.backward();
      }
      std::map<std::string, std::vector<float>> result;
      for (const nn::NamedParameter& parameter : parameters) {
        if (parameter.variable.grad().defined())
          result[parameter.name] = parameter.variable.grad().to_vector<float>();
      }
      return result;
    };
    double whole_loss = 0;
    const auto whole = gradients(1, whole_loss);
    {
      BatchSource source(*f.set, f.config);  // the counts are those that the losses find by themselves
      Batch batch = source.batch(3);
      batch.denominators = {};
      CHECK(model.losses(batch, {}).total.value().item() == Approx(whole_loss).epsilon(1e-6));
    }
    CHECK(whole.size() > 40);
    for (const int64_t ranks : {2, 3, 7}) {
      INFO(ranks << " ranks");
      double loss = 0;
      const auto summed = gradients(ranks, loss);
      CHECK(loss == Approx(whole_loss).epsilon(1e-5));
      REQUIRE(summed.size() == whole.size());
      for (const auto& [name, gradient] : whole) {
        INFO(name);
        double largest = 0;
        for (const float value : gradient) largest = std::max(largest, std::abs(static_cast<double>(value)));
        CHECK(testing::max_error(summed.at(name), gradient) <= 1e-4 * largest + 1e-6);
      }
    }
  }
}

TEST_CASE("a signal saves and ends with 128 + n; resumed, the run is the one that was never interrupted",
          "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  const Config config = config_with({"train.steps=12", "model.dropout=0.2", "train.eval_every=5"});
  TrainOptions options;
  options.data = folder.path();
  options.cache_features = false;
  options.out = folder.path() / "whole";
  CHECK(train(config, options) == 0);
  CHECK(metrics_of(options.out).size() == 12 + 3);

  options.out = folder.path() / "interrupted";
  int64_t last_step = 0;
  options.on_step = [&](const StepReport& report) {
    last_step = report.step;
    if (report.step == 7) interrupt_this_process();
  };
  CHECK(train(config, options) == 128 + SIGTERM);
  CHECK(last_step == 7);
  CHECK(metrics_of(options.out).back()["step"] == 7);
  const LoadedModel saved = load_model(options.out);  // it can be used as it is
  CHECK(saved.model != nullptr);

  options.on_step = {};
  options.resume = true;
  CHECK(train(config, options) == 0);
  for (const char* file : {"model.safetensors", "config.json", "vocab.json", "last/checkpoint.safetensors"}) {
    INFO(file);
    CHECK(file_bytes(folder.path() / "whole" / file) == file_bytes(folder.path() / "interrupted" / file));
  }
  // The first step of a resumed run is reported too; here every step is.
  CHECK(metrics_of(folder.path() / "whole") == metrics_of(folder.path() / "interrupted"));
}

TEST_CASE("metrics.jsonl holds what the steps reported", "[trainer]") {
  const TemporaryFolder folder("trainer");
  testing::write_small_data(folder, numbered_clips(6));
  const Config config = config_with({"train.steps=6", "train.warmup=3", "train.eval_every=6"});
  std::vector<StepReport> reports;
  TrainOptions options;
  options.data = folder.path();
  options.out = folder.path() / "out";
  options.cache_features = false;
  options.on_step = [&](const StepReport& report) { reports.push_back(report); };
  CHECK(train(config, options) == 0);
  const std::vector<json> lines = metrics_of(options.out);
  REQUIRE(lines.size() == 7);
  REQUIRE(reports.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(lines[i]["step"] == static_cast<int64_t>(i) + 1);
    CHECK(lines[i]["loss"] == reports[i].loss);
    CHECK(lines[i]["distill"] == reports[i].distill);
    CHECK(lines[i]["caption"] == reports[i].caption);
    CHECK(lines[i]["intention"] == reports[i].aspects[0]);
    CHECK(lines[i]["effect"] == reports[i].aspects[1]);
    CHECK(lines[i]["attribute"] == reports[i].aspects[2]);
    CHECK(lines[i]["grad_norm"] == reports[i].grad_norm);
    CHECK(lines[i]["lr"] == reports[i].lr);
    CHECK(reports[i].tokens > 20);
  }
  CHECK(lines[6]["eval_split"] == "train");
  CHECK(lines[6]["clips"] == 6);
  CHECK(lines[6]["equal_to_reference"] == 0);
  CHECK(lines[6]["samples"].size() == 3);
}

}  // namespace clipcap
