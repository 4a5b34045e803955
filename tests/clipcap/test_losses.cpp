// The training loss (eq. 3-8) against PyTorch, term by term and with every gradient: ragged clips and texts,
// absent annotations, weights all different. The reference runs every clip alone and without padding
// (tests/golden/losses.safetensors, made by tools/fixtures/make_losses_golden.py).
#include <map>

#include "clipcap/encoders/towers.h"
#include "clipcap/model.h"
#include "tests/golden_file.h"

using namespace clipcap;
using testing::difference;

namespace {

const testing::GoldenFile& golden() {
  static const testing::GoldenFile file("losses");
  return file;
}

// Names in the golden file's part "model" that are no parameters.
const std::set<std::string> kInputs{"features", "lengths", "intention", "effect", "attribute"};

Config small_config() {
  Config config = parse_config(R"({"model": {
      "encoder": {"resolution": 16, "patch": 8, "width": 8, "layers": 1, "heads": 2, "embed": 6},
      "text": {"width": 8, "layers": 1, "heads": 2}, "frames": 5, "dim": 8, "heads": 2, "hidden": 12,
      "fusion": {"scales": 2}, "decoder": {"layers": 2}, "subdecoder": {"layers": 1}}})",
                               "test");
  ModelConfig& m = config.model;
  m.text.embed = 5;
  m.caption_length = 7;
  m.intention_length = 6;
  m.effect_length = 5;
  m.attribute_length = 4;
  return config;
}

// The model of the golden file; the image encoder, which the reference does not have, is random.
std::unique_ptr<CaptionModel> golden_model(const Config& config) {
  Generator generator(1);
  auto encoder = std::make_unique<VisionTower>(config.model.geometry, Activation::quick_gelu, generator);
  auto model = std::make_unique<CaptionModel>(config, std::move(encoder), 11, 9, generator);
  nn::StateDict state;
  for (const auto& [name, value] : golden().weights("model", kInputs)) {
    const std::string part = name.substr(0, name.find('.'));
    bool off = part == "commonsense_table" && config.model.subdecoders.empty();
    for (int k = 0; k < kAspects; ++k) {
      off = off || (part == kAspectNames[static_cast<size_t>(k)] && !model->has_aspect(k));
    }
    if (!off) state[name] = value;
  }
  for (const auto& [name, value] : nn::state_dict(*model->encoder)) state["encoder." + name] = value;
  nn::load_state_dict(*model, state, "golden");
  return model;
}

Batch golden_batch(const std::string& part, const CaptionModel& model) {
  Batch batch;
  batch.features = golden().at("model.features").clone();
  batch.lengths = golden().at("model.lengths").to_vector<int32_t>();
  // What stands past a clip's last frame is never looked at.
  for (int64_t b = 0; b < batch.features.dim(0); ++b) {
    const int64_t length = batch.lengths[static_cast<size_t>(b)];
    batch.features.slice(0, b, 1)
        .slice(1, length, batch.features.dim(1) - length)
        .copy_from(Tensor::full({1, batch.features.dim(1) - length, batch.features.dim(2)}, 1e3));
  }
  batch.caption = golden().at(part + ".caption");
  for (int k = 0; k < kAspects; ++k) {
    const auto at = static_cast<size_t>(k);
    if (model.has_aspect(k)) batch.aspects[at] = golden().at(std::string("model.") + kAspectNames[at]);
  }
  if (model.config().loss.distill > 0) batch.teacher = golden().at(part + ".teacher");
  return batch;
}

void check_loss(const Variable& loss, const std::string& name) {
  INFO(name);
  REQUIRE(loss.defined());
  CHECK(loss.value().item() == Approx(golden().at(name).item()).epsilon(1e-5));
}

// Every term, the total and the gradient of every parameter.
void check_part(const std::string& part, CaptionModel& model) {
  const Losses losses = model.losses(golden_batch(part, model), {});
  check_loss(losses.total, part + ".total");
  check_loss(losses.caption, part + ".loss_caption");
  CHECK(losses.distill.defined() == (model.config().loss.distill > 0));
  if (losses.distill.defined()) check_loss(losses.distill, part + ".loss_distill");
  for (int k = 0; k < kAspects; ++k) {
    const auto at = static_cast<size_t>(k);
    CHECK(losses.aspects[at].defined() == model.has_aspect(k));
    if (model.has_aspect(k)) check_loss(losses.aspects[at], part + ".loss_" + kAspectNames[at]);
  }
  losses.total.backward();
  int compared = 0;
  for (const nn::NamedParameter& parameter : nn::parameters(model)) {
    if (parameter.name.starts_with("encoder.")) continue;
    INFO(parameter.name);
    REQUIRE(parameter.variable.grad().defined());
    CHECK(difference(parameter.variable.grad(), golden().at(part + ".d_" + parameter.name)) < 2e-5);
    ++compared;
  }
  CHECK(compared > 60);
}

}  // namespace

TEST_CASE("losses: every term and every gradient is PyTorch's", "[losses]") {
  Config config = small_config();
  config.loss.distill = 3.0;
  config.loss.alpha = {1.0, 0.7, 0.4, 1.9};
  config.loss.label_smoothing = 0.2;
  check_part("all", *golden_model(config));
}

TEST_CASE("losses: a teacher row a frame, signed Vis2Text, one sub-decoder, V2C's older dictionary",
          "[losses]") {
  Config config = small_config();
  config.model.subdecoders = {"effect"};
  config.model.vis2text_activation = "none";
  config.loss.distill = 0.25;
  config.loss.alpha = {0.5, 9.0, 2.0, 9.0};
  config.loss.label_smoothing = 0.0;
  const auto model = golden_model(config);
  model->caption_tokens = {.pad = 0, .sos = 1, .eos = 0};
  check_part("effect", *model);
}

TEST_CASE("losses: the caption alone", "[losses]") {
  Config config = small_config();
  config.model.subdecoders = {};
  config.loss.distill = 0.0;
  config.loss.alpha = {1.5, 9.0, 9.0, 9.0};
  config.loss.label_smoothing = 0.1;
  const auto model = golden_model(config);
  const Losses losses = model->losses(golden_batch("alone", *model), {});
  check_loss(losses.total, "alone.total");
  check_loss(losses.caption, "alone.loss_caption");
  CHECK_FALSE(losses.distill.defined());
  for (const Variable& aspect : losses.aspects) CHECK_FALSE(aspect.defined());
}

TEST_CASE("losses: what is weighted with 0 is left out, and lambda scales the distillation only",
          "[losses]") {
  Config config = small_config();
  config.loss.distill = 3.0;
  config.loss.alpha = {1.0, 0.0, 0.4, 0.0};
  config.loss.label_smoothing = 0.2;
  const auto model = golden_model(config);
  const Losses losses = model->losses(golden_batch("all", *model), {});
  const auto at = [](const char* name) { return golden().at(std::string("all.loss_") + name).item(); };
  CHECK(losses.total.value().item() ==
        Approx(3.0 * at("distill") + at("caption") + 0.4 * at("effect")).epsilon(1e-5));
  // Still told, though not trained on.
  check_loss(losses.aspects[0], "all.loss_intention");
}

TEST_CASE("losses: shares of a batch, divided by the counts of the whole, add up to the whole", "[losses]") {
  Config config = small_config();
  config.loss.distill = 3.0;
  config.loss.alpha = {1.0, 0.7, 0.4, 1.9};
  config.loss.label_smoothing = 0.2;
  const auto model = golden_model(config);
  const Batch whole = golden_batch("all", *model);
  // Counted by hand in the rows of make_losses_golden.py: words and end tokens of the texts that are there.
  const Denominators counts{
      .caption = 4 + 6 + 1 + 3, .aspects = {3 + 5 + 2 + 2, 2 + 4 + 3, 2 + 3}, .distill = 13};
  std::map<std::string, double> sums;
  for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 1}, {1, 2}, {3, 1}}) {
    Batch share;
    share.features = whole.features.slice(0, begin, count).contiguous();
    share.lengths.assign(whole.lengths.begin() + begin, whole.lengths.begin() + begin + count);
    share.teacher = whole.teacher.slice(0, begin, count).contiguous();
    share.caption = whole.caption.slice(0, begin, count).clone();
    for (size_t k = 0; k < kAspects; ++k) share.aspects[k] = whole.aspects[k].slice(0, begin, count).clone();
    share.denominators = counts;
    const std::vector<int32_t> tokens = share.caption.to_vector<int32_t>();
    const Losses losses = model->losses(share, {});
    CHECK(share.caption.to_vector<int32_t>() == tokens);  // a batch of one row was once written to
    losses.total.backward();
    sums["total"] += losses.total.value().item();
    sums["loss_caption"] += losses.caption.value().item();
    sums["loss_distill"] += losses.distill.value().item();
    for (size_t k = 0; k < kAspects; ++k)
      sums[std::string("loss_") + kAspectNames[k]] += losses.aspects[k].value().item();
  }
  for (const auto& [name, sum] : sums) {
    INFO(name);
    CHECK(sum == Approx(golden().at("all." + name).item()).epsilon(1e-5));
  }
  for (const nn::NamedParameter& parameter : nn::parameters(*model)) {
    if (parameter.name.starts_with("encoder.")) continue;
    INFO(parameter.name);
    CHECK(difference(parameter.variable.grad(), golden().at("all.d_" + parameter.name)) < 2e-5);
  }
}

TEST_CASE("text decoder: hidden states, logits and every gradient are PyTorch's", "[losses]") {
  Generator generator(1);
  TextDecoder decoder({8, 2, 2, 12, 0.0, 6}, generator);
  nn::load_state_dict(
      decoder, golden().weights("decoder", {"table", "ids", "memory", "rows", "states", "logits", "weights"}),
      "golden");
  const Variable table(golden().at("decoder.table").clone(), true);
  const Variable memory(golden().at("decoder.memory").clone(), true);
  const Tensor valid = valid_mask(golden().at("decoder.rows").to_vector<int32_t>(), memory.dim(1));
  const Variable states = decoder.forward(table, golden().at("decoder.ids"), memory, valid, {});
  const Variable logits = decoder.logits(states, table);
  CHECK(difference(states.value(), golden().at("decoder.states")) < 1e-5);
  CHECK(difference(logits.value(), golden().at("decoder.logits")) < 1e-5);
  logits.backward(golden().at("decoder.weights"));
  CHECK(difference(table.grad(), golden().at("decoder.d_table")) < 1e-4);
  CHECK(difference(memory.grad(), golden().at("decoder.d_memory")) < 1e-4);
  for (const nn::NamedParameter& parameter : nn::parameters(decoder)) {
    INFO(parameter.name);
    CHECK(difference(parameter.variable.grad(), golden().at("decoder.d_" + parameter.name)) < 1e-4);
  }
  // One token at a time, from the caches: the same states.
  const NoGrad guard;
  TextDecoder::State state = decoder.start(memory, valid, 1);
  const Tensor& ids = golden().at("decoder.ids");
  for (int64_t t = 0; t < ids.dim(1); ++t) {
    const Variable row = decoder.step(state, table, ids.slice(1, t, 1).contiguous().reshape({2}));
    CHECK(difference(row.value(), golden().at("decoder.states").slice(1, t, 1).reshape({2, 8})) < 1e-5);
  }
}
