// A run as a whole: what it refuses, what it never writes, what resuming keeps, and that stopping it anywhere
// loses nothing.
#include "clipcap/training/training_run.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "clipcap/process/interrupt.h"
#include "clipcap/training/data_digest.h"
#include "tensor/finite.h"
#include "tensor/io/safetensors.h"
#include "tests/clipcap/training/small_data.h"
#include "tests/error_message.h"
#include "tests/source_dir.h"

namespace clipcap {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::numbered_clips;

// A data folder and a folder for runs, and the program's train() on them.
struct Scene {
  static inline int scenes = 0;
  TemporaryFolder folder{concat_text("training_run_", scenes++)};
  fs::path out = folder.path() / "out";
  TrainOptions options;

  explicit Scene(const std::vector<testing::SmallClip>& clips = numbered_clips(6)) {
    testing::write_small_data(folder, clips);
    options.cache_features = false;
  }
  int train(const std::vector<std::string>& settings = {}) { return run(settings, options.resume); }
  int resume(const std::vector<std::string>& settings = {}) { return run(settings, true); }
  int run(const std::vector<std::string>& settings, bool resume) {
    Config config = testing::small_training_config();
    for (const std::string& setting : settings) set_config_key(config, setting);
    options.data = folder.path();
    options.out = out;
    TrainOptions own = options;
    own.resume = resume;
    return clipcap::train(config, own);
  }
};

void interrupt_this_process() {
  ::kill(::getpid(), SIGTERM);
  for (int i = 0; i < 1000 && interrupted_by() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = fs::relative(entry.path(), folder).string();
    std::string bytes = file_bytes(entry.path());
    if (name == "metrics.jsonl") {  // all but the times
      std::string kept;
      std::istringstream lines(bytes);
      for (std::string line; std::getline(lines, line);) {
        json parsed = json::parse(line);
        parsed.erase("tokens_per_second");
        kept += parsed.dump() + "\n";
      }
      bytes = kept;
    }
    files[name] = bytes;
  }
  return files;
}

void check_same_files(const fs::path& a, const fs::path& b) {
  const auto first = files_of(a);
  const auto second = files_of(b);
  for (const auto& [name, bytes] : first) {
    INFO(name);
    REQUIRE(second.contains(name));
    CHECK((second.at(name) == bytes));
  }
  CHECK(first.size() == second.size());
}

void check_finite(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    for (const auto& [name, tensor] : read_safetensors(entry.path()).tensors) {
      INFO(entry.path().string() << ": " << name);
      CHECK(first_nonfinite(tensor) == -1);
    }
  }
}

void poison(const fs::path& file, const std::string& tensor, float value) {
  TensorFile read = read_safetensors(file);
  Tensor changed = read.tensors.at(tensor).clone();
  changed.host<float>()[changed.numel() - 1] = value;
  read.tensors[tensor] = changed;
  std::map<std::string, Tensor> copies;
  for (const auto& [name, values] : read.tensors) copies[name] = values.clone();
  write_safetensors(file, copies, read.metadata);
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("a run that diverges stops before the step, names it and its clips, and keeps what was good",
          "[training_run]") {
  for (const char* every :
       {"train.checkpoint_every=1", "train.checkpoint_every=0", "train.checkpoint_every=4"}) {
    INFO(every);
    Scene scene;
    int64_t steps = 0;
    scene.options.on_step = [&](const StepReport& report) { steps = report.step; };
    const std::string message = message_of([&] {
      scene.train({"train.steps=60", "train.lr=10", "train.clip_norm=0", "train.warmup=1",
                   "train.weight_decay=10", every});
    });
    check_contains(message, "step ");
    check_contains(message, "clip");
    check_contains(message, (scene.out / "last").string());
    check_finite(scene.out);
    const SavedRun saved = read_saved_run(scene.out);
    CHECK(saved.state.step <= steps);
    check_contains(message, concat_text("step ", saved.state.step, " "));
    if (saved.state.step == 0) continue;
    const LoadedModel model = load_model(scene.out);  // and it computes
    const Tensor features = Tensor::from(testing::random_values<float>(3 * testing::kSmallFeatures, 1),
                                         {1, 3, testing::kSmallFeatures});
    CHECK(std::isfinite(describe_clips(*model.model, features, {3}, {})[0].caption.log_probability));
  }
}

TEST_CASE("an optimizer step is taken only with a finite gradient, and what is in memory stays good",
          "[training_run]") {
  Scene scene;
  CHECK(scene.train({"train.steps=2"}) == 0);
  // Two matrices one after the other, huge and tiny: their product and the loss are as before, the gradient of
  // the second is beyond f32.
  const fs::path file = checkpoint_path(scene.out);
  {
    TensorFile read = read_safetensors(file);
    std::map<std::string, Tensor> copies;
    for (const auto& [name, values] : read.tensors) copies[name] = values.clone();
    for (const auto& [name, factor] : {std::pair{"model.vis2text.first.weight", 1e37F},
                                       std::pair{"model.vis2text.second.weight", 1e-37F}}) {
      Tensor& weight = copies.at(name);
      for (int64_t i = 0; i < weight.numel(); ++i) weight.host<float>()[i] *= factor;
    }
    write_safetensors(file, copies, read.metadata);
  }
  const std::string bytes = file_bytes(file);
  const std::string message = message_of([&] { scene.resume({"train.steps=3", "loss.distill=1000000"}); });
  check_contains(message, "step 3: the norm of the gradient is");
  check_contains(message, "clip");
  check_contains(message, "step 2");
  CHECK((file_bytes(file) == bytes));
}

TEST_CASE("weights that are finite and overflow what is computed from them are not written",
          "[training_run]") {
  Scene scene;
  CHECK(scene.train({"train.steps=2"}) == 0);
  const auto before = files_of(scene.out);
  poison(checkpoint_path(scene.out), "model.caption_decoder.norm.weight", std::numeric_limits<float>::max());
  const std::string message = message_of([&] { scene.resume({"train.steps=2"}); });
  check_contains(message, "step 2: after it, the loss on the next batch is");
  CHECK((files_of(scene.out).at("model.safetensors") == before.at("model.safetensors")));
}

TEST_CASE("a moment that is not finite is not gone on from", "[training_run]") {
  Scene scene;
  CHECK(scene.train({"train.steps=2"}) == 0);
  poison(checkpoint_path(scene.out), "v.memory_type", std::numeric_limits<float>::max());
  CHECK(scene.resume({"train.steps=3"}) == 0);  // finite is good
  poison(checkpoint_path(scene.out), "m.memory_type", kInfinity);
  check_contains(message_of<InputError>([&] { scene.resume({"train.steps=4"}); }), "m.memory_type");
}

TEST_CASE("evaluating stops when the program is asked to end", "[training_run]") {
  Scene scene;
  const Config config = testing::small_training_config();
  TrainingSet set(config, scene.folder.path());
  Trainer trainer(config, set, false);
  const InterruptGuard guard;
  trainer.load_data({});
  CHECK(trainer.evaluate().predictions.size() == 6);
  interrupt_this_process();
  CHECK_THROWS_AS(trainer.evaluate(), Interrupted);
  const auto before = nn::state_dict(trainer.model()).at("memory_type").to_vector<float>();
  CHECK_THROWS_AS(trainer.step(0), Interrupted);
  CHECK(nn::state_dict(trainer.model()).at("memory_type").to_vector<float>() == before);
  CHECK_NOTHROW(trainer.save(scene.out, 0));  // what has to be finished is
  TrainingSet fresh(config, scene.folder.path());
  Trainer other(config, fresh, false);
  CHECK_THROWS_AS(other.load_data({}), Interrupted);
}

TEST_CASE("an evaluation that fails is a warning", "[training_run]") {
  auto clips = numbered_clips(3);
  clips[2].split = "validate";
  Scene scene;
  testing::write_small_data(scene.folder, clips, false);
  fs::remove_all(scene.folder.path() / "features");
  fs::create_directories(scene.folder.path() / "videos");
  const auto picture = [&](int clip) {
    return scene.folder.path() / "videos" / concat_text("clip", clip, ".png");
  };
  for (int clip = 0; clip < 3; ++clip)
    fs::copy_file(testing::golden_path("pictures") / "0-rgb.png", picture(clip));
  scene.options.on_step = [&](const StepReport& report) {
    if (report.step == 2) fs::remove(picture(2));
  };
  CHECK(scene.train({"train.steps=4", "train.train_encoder=true", "train.eval_every=1",
                     "data.eval_split=validate", "train.batch=2", "train.checkpoint_every=1"}) == 0);
  CHECK(read_saved_run(scene.out).state.step == 4);
  std::ifstream lines(scene.out / "metrics.jsonl");
  int good = 0;
  int failed = 0;
  for (std::string line; std::getline(lines, line);) {
    const json parsed = json::parse(line);
    good += parsed.contains("equal_to_reference") ? 1 : 0;
    failed += parsed.contains("error") ? 1 : 0;
  }
  CHECK(good == 1);
  CHECK(failed == 3);
  CHECK(read_safetensors(scene.out / "best" / "model.safetensors").metadata.at("step") == "1");
}

TEST_CASE("what is not finite is neither loaded nor resumed", "[training_run]") {
  Scene scene;
  CHECK(scene.train({"train.steps=2"}) == 0);
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    const auto before = files_of(scene.out);
    poison(scene.out / "model.safetensors", "memory_norm.bias", bad);
    const std::string loading = message_of<InputError>([&] { static_cast<void>(load_model(scene.out)); });
    check_contains(loading, (scene.out / "model.safetensors").string());
    check_contains(loading, "memory_norm.bias[31]");
    poison(checkpoint_path(scene.out), "model.memory_norm.bias", bad);
    const std::string resuming = message_of<InputError>([&] { scene.resume({"train.steps=3"}); });
    check_contains(resuming, checkpoint_path(scene.out).string());
    check_contains(resuming, "model.memory_norm.bias[31]");
    std::ofstream(scene.out / "model.safetensors") << before.at("model.safetensors");
    std::ofstream(checkpoint_path(scene.out)) << before.at("last/checkpoint.safetensors");
  }
}

TEST_CASE("a run that is there is refused without --resume or --overwrite", "[training_run]") {
  Scene scene;
  CHECK(scene.train({"train.steps=2"}) == 0);
  const auto before = files_of(scene.out);
  const auto refused = [&] { return message_of<InputError>([&] { scene.train({"train.steps=2"}); }); };
  check_contains(refused(), "--overwrite");
  check_contains(refused(), "--resume");
  CHECK((files_of(scene.out) == before));
  for (const char* gone : {"model.safetensors", "last/checkpoint.safetensors"}) {
    INFO(gone);
    const std::string bytes = file_bytes(scene.out / gone);
    fs::remove(scene.out / gone);
    check_contains(refused(), "--overwrite");
    if (gone[0] == 'l')  // nothing to go on from, and a model that must not be lost
      check_contains(message_of<InputError>([&] { scene.resume({"train.steps=2"}); }), "nothing to resume");
    std::ofstream(scene.out / gone) << bytes;
  }
  // What refuses the new run leaves the old one as it is.
  scene.options.overwrite = true;
  CHECK_THROWS_AS(scene.train({"train.steps=2", "data.split=nowhere"}), InputError);
  CHECK((files_of(scene.out) == before));
  scene.folder.write("out/notes.txt", "mine");
  CHECK(scene.train({"train.steps=2", "train.seed=9"}) == 0);
  CHECK(file_bytes(scene.out / "notes.txt") == "mine");
  CHECK((file_bytes(scene.out / "model.safetensors") != before.at("model.safetensors")));
  scene.options.resume = true;
  CHECK_THROWS_AS(scene.train({"train.steps=2"}), InputError);
}

TEST_CASE("--resume of nothing begins a run", "[training_run]") {
  Scene scene;
  CHECK(scene.resume({"train.steps=3"}) == 0);
  const fs::path resumed = scene.out;
  scene.out = scene.folder.path() / "fresh";
  CHECK(scene.train({"train.steps=3"}) == 0);
  check_same_files(resumed, scene.out);
}

TEST_CASE("a resumed run keeps its words, whatever the captions say now", "[training_run]") {
  auto clips = numbered_clips(6);
  Scene scene(clips);
  CHECK(scene.train({"train.steps=3"}) == 0);
  const std::string words = file_bytes(scene.out / "vocab.json");
  const auto digest = read_saved_run(scene.out).state.data;
  CHECK(digest.size() == 3);
  std::reverse(clips.begin(), clips.end());
  clips[0].captions[0].text = "an entirely unheard of sentence";
  testing::write_small_data(scene.folder, clips);
  CHECK(scene.resume({"train.steps=5"}) == 0);
  CHECK(file_bytes(scene.out / "vocab.json") == words);
  const auto now = read_saved_run(scene.out).state.data;
  CHECK(now.at("captions") != digest.at("captions"));
  CHECK(now.at("features") != digest.at("features"));
  CHECK(changed_parts(digest, now) == "the captions, the evaluation split, the features");
  CHECK(changed_parts(digest, digest).empty());
  // The vocabulary beside the model is the model's.
  Scene other({{"only", 2, {{"other words", {}}}}});
  CHECK(other.train({"train.steps=1", "model.subdecoders=[]"}) == 0);
  fs::copy_file(other.out / "vocab.json", scene.out / "vocab.json", fs::copy_options::overwrite_existing);
  check_contains(message_of<InputError>([&] { static_cast<void>(load_model(scene.out)); }), "vocab.json");
}

TEST_CASE("keys that change what is computed are refused by name", "[training_run]") {
  Scene scene;
  CHECK(scene.train({"train.steps=2"}) == 0);
  const auto before = files_of(scene.out);
  for (const char* setting :
       {"model.heads=1", "model.vis2text.final_activation=none", "model.frames=3", "model.dropout=0.3",
        "model.fusion.scales=1", "train.seed=12", "data.sampling=linspace", "loss.distill_target=tokens",
        "model.length.caption=9", "model.subdecoders=[\"effect\"]", "train.train_encoder=true"}) {
    INFO(setting);
    const std::string message = message_of<InputError>([&] { scene.resume({"train.steps=3", setting}); });
    const std::string text = setting;
    check_contains(message, text.substr(0, text.find('=')));
    CHECK((files_of(scene.out) == before));
  }
  CHECK(scene.resume({"train.steps=3", "train.lr=0.001", "train.batch=2", "loss.distill=1", "train.warmup=0",
                      "train.log_every=2", "train.accumulate=2"}) == 0);
}

TEST_CASE("the model of the best evaluation is kept, the first of equals", "[training_run]") {
  Scene scene({{"one", 5, {{"a dog runs home", {}}}}, {"two", 3, {{"a man plays the guitar", {}}}}});
  const std::vector<std::string> settings{"train.steps=60", "train.warmup=5",         "train.lr=1e-2",
                                          "loss.distill=0", "model.subdecoders=[]",   "train.eval_every=5",
                                          "train.batch=2",  "loss.label_smoothing=0", "train.log_every=5"};
  CHECK(scene.train(settings) == 0);
  const LoadedModel best = load_model(scene.out / "best");
  const auto notes = read_safetensors(scene.out / "best" / "model.safetensors").metadata;
  std::pair<double, int> highest{-1, 0};
  int64_t at = 0;
  std::ifstream lines(scene.out / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const json parsed = json::parse(line);
    if (!parsed.contains("eval_split")) continue;
    const std::pair score{parsed["CIDEr"].get<double>(), parsed["equal_to_reference"].get<int>()};
    if (score <= highest) continue;
    highest = score;
    at = parsed["step"];
  }
  CHECK(highest.first == Approx(10));  // every caption is its clip's only reference
  CHECK(highest.second == 2);
  CHECK(at < 60);
  CHECK(notes.at("step") == std::to_string(at));
  CHECK(json::parse(notes.at("CIDEr")) == highest.first);
  CHECK(notes.at("equal_to_reference") == "2");
}

TEST_CASE("stopped at any step, while evaluating too, a run resumes to the bytes of one that never was",
          "[training_run]") {
  const std::vector<std::string> settings{"train.steps=9", "train.eval_every=3", "train.checkpoint_every=2",
                                          "model.dropout=0.2", "train.log_every=2"};
  Scene scene;
  CHECK(scene.train(settings) == 0);
  const fs::path whole = scene.out;
  scene.out = scene.folder.path() / "stopped";
  for (int64_t stop = 1; stop <= 9; ++stop) {
    scene.options.on_step = [&](const StepReport& report) {
      if (report.step == stop) interrupt_this_process();
    };
    INFO("step " << stop);
    CHECK((stop == 1 ? scene.train(settings) : scene.resume(settings)) == 128 + SIGTERM);
    CHECK(read_saved_run(scene.out).state.step == stop);
  }
  scene.options.on_step = {};
  CHECK(scene.resume(settings) == 0);  // the evaluation of step 9 is left to do
  check_same_files(whole, scene.out);
  CHECK(scene.resume(settings) == 0);  // and nothing more
  check_same_files(whole, scene.out);
}

TEST_CASE("the model is what its directory says after a checkpoint that was cut short", "[training_run]") {
  const std::vector<std::string> settings{"train.steps=4", "train.checkpoint_every=1", "train.eval_every=2"};
  Scene scene;
  CHECK(scene.train(settings) == 0);
  const fs::path whole = scene.out;
  // Killed between any two of the files that a checkpoint and an evaluation write.
  scene.out = scene.folder.path() / "cut";
  CHECK(scene.train({"train.steps=3", "train.checkpoint_every=1", "train.eval_every=2"}) == 0);
  const fs::path three = scene.folder.path() / "three";
  fs::copy(scene.out, three, fs::copy_options::recursive);
  for (const std::vector<std::string>& newer :
       {std::vector<std::string>{"vocab.json"},
        {"vocab.json", "config.json"},
        {"vocab.json", "config.json", "model.safetensors"},
        {"vocab.json", "config.json", "model.safetensors", "last/checkpoint.safetensors"},
        {"vocab.json", "config.json", "model.safetensors", "last/checkpoint.safetensors",
         "best/model.safetensors"}}) {
    INFO(newer.back());
    fs::remove_all(scene.out);
    fs::copy(three, scene.out, fs::copy_options::recursive);
    for (const std::string& name : newer)
      fs::copy_file(whole / name, scene.out / name, fs::copy_options::overwrite_existing);
    std::ofstream(scene.out / "last" / "checkpoint.safetensors.tmp.4711") << "half";
    std::ofstream(scene.out / "metrics.jsonl", std::ios::app) << "{\"step\":4,\"lo";
    CHECK_NOTHROW(static_cast<void>(load_model(scene.out)));
    CHECK(scene.resume(settings) == 0);
    auto cut = files_of(scene.out);
    auto straight = files_of(whole);
    for (const char* name : {"model.safetensors", "last/checkpoint.safetensors", "best/model.safetensors"})
      CHECK((cut.at(name) == straight.at(name)));
    CHECK(!cut.contains("last/checkpoint.safetensors.tmp.4711"));
  }
}

TEST_CASE("in several parts a batch gives the same steps", "[training_run]") {
  // Without dropout, whose draws the parts divide among themselves.
  Scene scene;
  const std::vector<std::string> settings{"train.steps=4", "train.batch=6", "model.dropout=0",
                                          "train.log_every=1"};
  const auto run = [&](const std::string& accumulate) {
    std::vector<StepReport> reports;
    scene.out = scene.folder.path() / accumulate;
    scene.options.on_step = [&](const StepReport& report) { reports.push_back(report); };
    std::vector<std::string> own = settings;
    own.push_back("train.accumulate=" + accumulate);
    CHECK(scene.train(own) == 0);
    return reports;
  };
  const std::vector<StepReport> whole = run("1");
  for (const char* parts : {"2", "4", "6"}) {
    INFO(parts);
    const std::vector<StepReport> divided = run(parts);
    REQUIRE(divided.size() == whole.size());
    for (size_t i = 0; i < whole.size(); ++i) {
      CHECK(divided[i].loss == Approx(whole[i].loss).epsilon(1e-4));
      CHECK(divided[i].caption == Approx(whole[i].caption).epsilon(1e-4));
      CHECK(divided[i].distill == Approx(whole[i].distill).epsilon(1e-4));
      for (size_t k = 0; k < kAspects; ++k)
        CHECK(divided[i].aspects[k] == Approx(whole[i].aspects[k]).epsilon(1e-4));
      CHECK(divided[i].grad_norm == Approx(whole[i].grad_norm).epsilon(1e-3));
      CHECK(divided[i].tokens == whole[i].tokens);
    }
  }
  CHECK_THROWS_AS(scene.train({"train.batch=4", "train.accumulate=5"}), InputError);
}

}  // namespace clipcap
