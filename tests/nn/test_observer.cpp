// The observer sees every call of every module, and operations are booked to the module that asked for them,
// forward and backward.
#include <map>
#include <set>

#include "autograd/attribution.h"
#include "clipcap/decoding/describe.h"
#include "clipcap/model_directory.h"
#include "nn/optim.h"
#include "tensor/op.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

Config small_config(const std::string& fusion) {
  Config config = parse_config(
      R"({"model": {"encoder": {"resolution": 16, "patch": 8, "width": 12, "layers": 2, "heads": 3, "embed": 10},
    "text": {"embed": 10}, "frames": 4, "dim": 16, "heads": 4, "hidden": 24, "decoder": {"layers": 2},
    "subdecoder": {"layers": 1}}})",
      "test");
  config.model.fusion_kind = fusion;
  return config;
}

std::unique_ptr<CaptionModel> small_model(const std::string& fusion) {
  const Vocabulary words = Vocabulary::build({{"a", "man", "walks", "a", "dog"}, {"a", "cat", "sleeps"}}, 0);
  return make_model(small_config(fusion), {words, words});
}

Tensor random(const Shape& shape, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(shape.numel(), seed), shape);
}

Batch small_batch(bool frames) {
  Batch batch;
  batch.lengths = {3, 1};
  if (frames) {
    batch.frames = random({4, 3, 16, 16}, 1);
  } else {
    batch.features = random({2, 3, 10}, 1);
  }
  batch.teacher = random({2, 10}, 2);
  const auto tokens = [](std::vector<int32_t> ids) { return Tensor::from(ids, {2, 4}); };
  batch.caption = tokens({2, 5, 6, 3, 2, 7, 3, 0});
  batch.aspects = {tokens({2, 4, 3, 0, 2, 5, 3, 0}), tokens({2, 6, 3, 0, 0, 0, 0, 0}),
                   tokens({2, 7, 3, 0, 2, 4, 3, 0})};
  return batch;
}

class Recorder : public nn::Observer {
 public:
  using Observer::Observer;
  void enter(const nn::Module& module, const char* function, std::span<const Tensor> inputs) override {
    ++calls[path(module) + "/" + function];
    REQUIRE_FALSE(inputs.empty());
    stack.push_back(path(module));
  }
  void leave(const nn::Module& module, std::span<const Tensor> outputs) override {
    REQUIRE_FALSE(stack.empty());
    CHECK(stack.back() == path(module));
    stack.pop_back();
    last_outputs[path(module)] = outputs.empty() ? Tensor() : outputs[0];
  }
  [[nodiscard]] bool wants(std::string_view name) const override {
    return wanted.contains(std::string(name));
  }
  void note(const nn::Module& module, std::string_view name, const Tensor& value) override {
    notes[path(module) + "/" + std::string(name)] = value;
    CHECK(stack.back() == path(module));
  }

  std::map<std::string, int> calls;
  std::vector<std::string> stack;
  std::map<std::string, Tensor> last_outputs;
  std::set<std::string> wanted;
  std::map<std::string, Tensor> notes;
};

// Paths of all modules of class M.
template <class M>
std::vector<std::string> paths_of(nn::Module& root) {
  std::vector<std::string> paths;
  for (const nn::NamedModule& module : nn::modules(root)) {
    if (dynamic_cast<M*>(module.module) != nullptr) paths.push_back(module.name);
  }
  return paths;
}

// Products by "path" (forward) and "path, backward".
std::map<std::string, int> products;
const nn::Observer* namer = nullptr;

void count_product(const OpCall& call, bool begin) {
  if (!begin || std::string_view(call.op) != "matmul") return;
  const Attribution now = current_attribution();
  const std::string path = now.module == nullptr ? "(nobody)" : namer->path(now.module);
  ++products[path + (now.backward ? ", backward" : "")];
}

}  // namespace

TEST_CASE("an observer sees every layer of a training step exactly once, dropout and all", "[observer]") {
  for (const char* fusion : {"lstm", "transformer", "conv1d"}) {
    const auto model = small_model(fusion);
    Recorder recorder(*model);
    Generator dropout(3);
    const Losses losses = model->losses(small_batch(true), nn::Run{true, &dropout, &recorder});
    CHECK(recorder.stack.empty());
    const std::vector<std::string> linears = paths_of<nn::Linear>(*model);
    CHECK(linears.size() > 30);
    for (const std::string& path : linears) {
      INFO(fusion << ": " << path);
      CHECK(recorder.calls[path + "/forward"] == 1);
    }
    for (const std::string& path : paths_of<nn::LayerNorm>(*model)) {
      INFO(fusion << ": " << path);
      CHECK(recorder.calls[path + "/forward"] == 1);
    }
    for (const nn::NamedModule& module : nn::modules(*model)) {  // whatever the class
      INFO(fusion << ": " << module.name);
      CHECK(recorder.last_outputs.contains(module.name));
    }
    CHECK(recorder.calls["/losses"] == 1);
    // Watching changes nothing.
    Generator again(3);
    const Losses unseen = model->losses(small_batch(true), nn::Run{true, &again});
    CHECK(unseen.total.value().item() == losses.total.value().item());
  }
}

TEST_CASE("operations are booked to their modules, backward ones too", "[observer]") {
  const auto model = small_model("transformer");
  nn::set_requires_grad(*model->encoder, true);
  Recorder recorder(*model);
  Generator dropout(3);
  products.clear();
  namer = &recorder;
  op_hook = count_product;
  model->losses(small_batch(true), nn::Run{true, &dropout, &recorder}).total.backward();
  op_hook = nullptr;
  CHECK(current_attribution().module == nullptr);
  CHECK_FALSE(products.contains("(nobody)"));
  CHECK_FALSE(products.contains("(nobody), backward"));
  for (const std::string& path : paths_of<nn::Linear>(*model)) {
    INFO(path);
    CHECK(products[path] == 1);
    // Gradients of weight and input; pixels want none.
    CHECK(products[path + ", backward"] == (path == "encoder.patch_embedding" ? 1 : 2));
  }
  CHECK(products["caption_decoder"] == 1);  // logits
  CHECK(products["caption_decoder, backward"] == 2);
  CHECK(products["fusion"] > 0);  // squeezing and expanding
  CHECK(products["fusion, backward"] > 0);
}

TEST_CASE("without an observer nothing is booked", "[observer]") {
  const auto model = small_model("lstm");
  Recorder recorder(*model);
  products.clear();
  namer = &recorder;
  op_hook = count_product;
  model->losses(small_batch(false), {}).total.backward();
  op_hook = nullptr;
  CHECK(products.size() == 2);
  CHECK(products.contains("(nobody)"));
  CHECK(products.contains("(nobody), backward"));
  CHECK(recorder.calls.empty());
}

TEST_CASE("an observer sees every step of decoding", "[observer]") {
  const auto model = small_model("lstm");
  Recorder recorder(*model);
  SearchOptions options;
  options.observer = &recorder;
  const Batch batch = small_batch(false);
  const std::vector<ClipTexts> texts = describe_clips(*model, batch.features, batch.lengths, options);
  const std::vector<ClipTexts> unseen = describe_clips(*model, batch.features, batch.lengths, {});
  CHECK(texts[0].caption.ids == unseen[0].caption.ids);
  CHECK(recorder.stack.empty());
  for (const char* decoder : {"caption_decoder", "intention", "effect", "attribute"}) {
    const std::string name = decoder;
    const int steps = recorder.calls[name + "/step"];
    INFO(name << ": " << steps << " steps");
    CHECK(steps > 0);
    CHECK(recorder.calls[name + "/logits"] == steps);
    CHECK(recorder.calls[name + ".layers.0.cross_attention.kv_proj/forward"] == 1);
    for (const char* linear : {"self_attention.in_proj", "self_attention.out_proj", "cross_attention.query",
                               "cross_attention.out_proj", "mlp.up", "mlp.down"}) {
      CHECK(recorder.calls[name + ".layers.0." + linear + "/forward"] == steps);
    }
  }
}

TEST_CASE("attention's probabilities come when asked for", "[observer]") {
  const auto model = small_model("transformer");
  Recorder recorder(*model);
  (void)model->losses(small_batch(true), nn::Run{.observer = &recorder});
  CHECK(recorder.notes.empty());
  recorder.wanted = {"probabilities"};
  (void)model->losses(small_batch(true), nn::Run{.observer = &recorder});
  const Tensor& self = recorder.notes["caption_decoder.layers.0.self_attention/probabilities"];
  REQUIRE(self.defined());
  CHECK(self.shape() == Shape({2, 4, 3, 3}));  // B, heads, queries, keys
  const std::vector<float> weights = self.to_vector<float>();
  for (size_t row = 0; row < weights.size() / 3; ++row) {
    double sum = 0;
    for (size_t j = 0; j < 3; ++j) {
      sum += weights[row * 3 + j];
      if (j > row % 3) CHECK(weights[row * 3 + j] == 0.0F);  // causal
    }
    CHECK(sum == Approx(1.0));
  }
  const Tensor& cross = recorder.notes["caption_decoder.layers.1.cross_attention/probabilities"];
  REQUIRE(cross.defined());
  CHECK(cross.dim(2) == 3);
  CHECK(cross.dim(3) == 6 + 3 * 3);  // f and vt, and three sub-decoders
  // The last layer of the vision tower asks for one position only.
  CHECK(recorder.notes["encoder.layers.1.attention/probabilities"].shape() == Shape({4, 3, 1, 5}));
  CHECK(recorder.notes["encoder.layers.0.attention/probabilities"].shape() == Shape({4, 3, 5, 5}));
  // While decoding, the newest position over all cached ones.
  const NoGrad guard;
  nn::KvCache cache = nn::KvCache::make(1, 4, 4, 4);
  const nn::SelfAttention& attention = model->caption_decoder.layers[0].self_attention;
  const Variable x(random({1, 2, 16}, 5));
  (void)attention.step(x, x, cache, nn::Run{.observer = &recorder});
  (void)attention.step(x, x, cache, nn::Run{.observer = &recorder});
  CHECK(recorder.notes["caption_decoder.layers.0.self_attention/probabilities"].shape() ==
        Shape({1, 4, 2, 4}));
}

TEST_CASE("a call that throws is left, too", "[observer]") {
  Generator generator(1);
  nn::EncoderLayer layer(8, 2, 12, Activation::gelu, 0.0, generator);
  Recorder recorder(layer);
  const Variable x(random({1, 3, 8}, 1));
  const Tensor wrong_mask = Tensor::from(std::vector<uint8_t>{1, 1}, {1, 2});
  CHECK_THROWS_AS(layer.forward(x, wrong_mask, false, nn::Run{.observer = &recorder}), Error);
  CHECK(recorder.stack.empty());
  CHECK(recorder.last_outputs.contains("attention"));
  CHECK_FALSE(recorder.last_outputs["attention"].defined());
  CHECK(recorder.last_outputs["norm_attention"].defined());
  CHECK(current_attribution().module == nullptr);
  CHECK(recorder.path(nn::LayerNorm(3)) == "(elsewhere)");
  CHECK(recorder.path(layer).empty());
}
