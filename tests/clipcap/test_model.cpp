// The model as a whole: padding is exact, cached decoding equals teacher forcing, search, saving and loading.
#include <filesystem>
#include <fstream>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/decoding/describe.h"
#include "clipcap/model_directory.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

Config small_config(const std::string& fusion) {
  Config config = parse_config(
      R"({"model": {"encoder": {"resolution": 32, "patch": 16, "width": 24, "layers": 2, "heads": 3, "embed": 20},
    "frames": 7, "dim": 32, "heads": 4, "hidden": 48, "decoder": {"layers": 2}, "subdecoder": {"layers": 1}}})",
      "test");
  config.model.fusion_kind = fusion;
  return config;
}

Vocabularies small_vocabularies() {
  const Vocabulary words = Vocabulary::build({{"a", "man", "walks", "a", "dog"}, {"a", "cat", "sleeps"}}, 0);
  return {words, words};
}

Tensor features(int64_t rows, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(rows * 20, seed), {rows, 20});
}

}  // namespace

TEST_CASE("a padded clip gives the rows of the clip alone", "[model]") {
  for (const char* fusion : {"lstm", "transformer", "conv1d"}) {
    for (const int64_t length : {1, 2, 3, 5, 7}) {
      INFO(fusion << " " << length);
      const auto model = make_model(small_config(fusion), small_vocabularies());
      const Tensor clip = features(length, 3);
      const std::vector<Tensor> alone{clip};
      const std::vector<Tensor> both{features(7, 4), clip};
      const NoGrad guard;
      const FeatureBatch one = stack_features(alone);
      const FeatureBatch two = stack_features(both);
      const Variable f_one =
          model->fusion.forward(model->projection.forward(Variable(one.features)), one.lengths, {});
      const Variable f_two =
          model->fusion.forward(model->projection.forward(Variable(two.features)), two.lengths, {});
      const Tensor padded = f_two.value().slice(0, 1, 1).slice(1, 0, length);
      CHECK(testing::max_error(f_one.value().to_vector<float>(), padded.to_vector<float>()) < 2e-5);
      CHECK(testing::max_error(f_two.value().slice(0, 1, 1).slice(1, length, 7 - length).to_vector<float>(),
                               std::vector<float>(static_cast<size_t>((7 - length) * 32), 0.0F)) == 0.0);
      const auto texts_alone = describe_clips(*model, one.features, one.lengths, {});
      const auto texts_padded = describe_clips(*model, two.features, two.lengths, {});
      CHECK(texts_alone[0].caption.ids == texts_padded[1].caption.ids);
      CHECK(texts_alone[0].caption.log_probability ==
            Approx(texts_padded[1].caption.log_probability).epsilon(1e-4));
    }
  }
}

TEST_CASE("decoding with caches gives the hidden states of teacher forcing", "[model]") {
  const auto model = make_model(small_config("lstm"), small_vocabularies());
  const std::vector<Tensor> clips{features(7, 1), features(4, 2)};
  const FeatureBatch batch = stack_features(clips);
  const NoGrad guard;
  const Memory memory = model->encode(Variable(batch.features), batch.lengths, {});
  const std::vector<int32_t> ids{2, 5, 6, 4, 2, 7, 4, 8};
  const Variable forced = model->caption_decoder.forward(model->caption_table, Tensor::from(ids, {2, 4}),
                                                         memory.rows, memory.valid, {});
  TextDecoder::State state = model->caption_decoder.start(memory.rows, memory.valid, 1);
  for (int64_t step = 0; step < 4; ++step) {
    const std::vector<int32_t> now{ids[static_cast<size_t>(step)], ids[static_cast<size_t>(4 + step)]};
    const Variable row = model->caption_decoder.step(state, model->caption_table, Tensor::from(now, {2}));
    CHECK(testing::max_error(row.value().to_vector<float>(),
                             forced.value().slice(1, step, 1).to_vector<float>()) < 2e-5);
  }
}

TEST_CASE("beam search: width one is greedy, wider is never less likely, the score is the text's own",
          "[model]") {
  const auto model = make_model(small_config("lstm"), small_vocabularies());
  const std::vector<Tensor> clips{features(7, 1), features(2, 2), features(5, 3)};
  const FeatureBatch batch = stack_features(clips);
  const NoGrad guard;
  const Memory memory = model->encode(Variable(batch.features), batch.lengths, {});
  const auto run = [&](const SearchOptions& options) {
    return search(model->caption_decoder, model->caption_table, model->caption_tokens, memory, options);
  };
  const auto greedy = run({});
  SearchOptions wide;
  wide.beam = 6;
  wide.length_penalty = 0.0;
  const auto beams = run(wide);
  for (size_t b = 0; b < 3; ++b) {
    CHECK(beams[b].log_probability >= greedy[b].log_probability - 1e-4);
    CHECK(beams[b].score == Approx(beams[b].log_probability));
    // Teacher forcing over the found text gives the same probability.
    std::vector<int32_t> ids{2};
    ids.insert(ids.end(), beams[b].ids.begin(), beams[b].ids.end());
    const int64_t length = static_cast<int64_t>(ids.size());
    if (length >= 27) continue;  // cut at the longest length: no eos was chosen
    const Memory own{Variable(memory.rows.value().slice(0, static_cast<int64_t>(b), 1).contiguous()),
                     memory.valid.slice(0, static_cast<int64_t>(b), 1).contiguous()};
    const Variable hidden = model->caption_decoder.forward(
        model->caption_table, Tensor::from(ids, {1, length}), own.rows, own.valid, {});
    const Tensor logits = model->caption_decoder.logits(hidden, model->caption_table).value().contiguous();
    double total = 0;
    for (int64_t i = 0; i < length; ++i) {
      const float* row = logits.data<float>() + i * logits.dim(2);
      const int32_t next = i + 1 < length ? ids[static_cast<size_t>(i + 1)] : 3;
      double sum = 0;
      for (int64_t v = 0; v < logits.dim(2); ++v)  // <PAD>, <UNK> and <sos> are never written
        sum += v <= 2 ? 0.0 : std::exp(static_cast<double>(row[v]));
      total += static_cast<double>(row[next]) - std::log(sum);
    }
    CHECK(beams[b].log_probability == Approx(total).epsilon(1e-3));
  }
  SearchOptions sampled;
  sampled.sample = true;
  sampled.seed = 5;
  CHECK(run(sampled)[0].ids == run(sampled)[0].ids);
  sampled.top_k = 1;
  CHECK(run(sampled)[1].ids == greedy[1].ids);
}

TEST_CASE("Vis2Text ends as vis2text.final_activation says", "[model]") {
  for (const char* activation : {"relu", "none"}) {
    Config config = small_config("lstm");
    config.model.vis2text_activation = activation;
    const auto model = make_model(config, small_vocabularies());
    const NoGrad guard;
    Variable rows;
    static_cast<void>(model->encode(Variable(features(7, 1).reshape({1, 7, 20})), {7}, {}, &rows));
    const std::vector<float> vt = rows.value().to_vector<float>();
    const auto negative = std::count_if(vt.begin(), vt.end(), [](float value) { return value < 0; });
    CHECK((negative > 0) == (std::string(activation) == "none"));
    CHECK(std::count_if(vt.begin(), vt.end(), [](float value) { return value > 0; }) > 0);
  }
}

TEST_CASE("sub-decoders can be any subset", "[model]") {
  for (const char* list : {"[]", R"(["effect"])", R"(["attribute","intention"])"}) {
    Config config = small_config("lstm");
    set_config_key(config, std::string("model.subdecoders=") + list);
    const auto model = make_model(config, small_vocabularies());
    const std::vector<Tensor> clips{features(3, 1)};
    const FeatureBatch batch = stack_features(clips);
    const auto texts = describe_clips(*model, batch.features, batch.lengths, {});
    CHECK(texts.size() == 1);
  }
}

TEST_CASE("a saved model loads, packed or not, and says the same; wrong keys are all named", "[model]") {
  const auto folder = std::filesystem::temp_directory_path() / "clipcap-tests" / "model";
  std::filesystem::create_directories(folder);
  const auto model = make_model(small_config("lstm"), small_vocabularies());
  save_model(folder, *model, small_vocabularies());
  const std::vector<Tensor> clips{features(7, 1), features(3, 2)};
  const FeatureBatch batch = stack_features(clips);
  const auto before = describe_clips(*model, batch.features, batch.lengths, {});
  for (const bool pack : {false, true}) {
    const LoadedModel loaded = load_model(folder, {.pack = pack});
    const auto after = describe_clips(*loaded.model, batch.features, batch.lengths, {});
    for (size_t b = 0; b < before.size(); ++b) {
      CHECK(after[b].caption.ids == before[b].caption.ids);
      CHECK(after[b].caption.log_probability == Approx(before[b].caption.log_probability).epsilon(1e-4));
    }
    const Tensor frames = Tensor::from(testing::random_values<float>(2 * 3 * 32 * 32, 9), {2, 3, 32, 32});
    CHECK(testing::max_error(loaded.model->encoder->encode(frames).to_vector<float>(),
                             model->encoder->encode(frames).to_vector<float>()) < 1e-4);
  }
  nn::StateDict state = nn::state_dict(*model);
  state["surplus.weight"] = Tensor::zeros({2});
  state.erase("memory_type");
  state["caption_table"] = Tensor::zeros({1, 2});
  try {
    nn::load_state_dict(*model, state, "file.safetensors");
    FAIL("no error");
  } catch (const InputError& error) {
    const std::string text = error.what();
    for (const char* part : {"file.safetensors", "missing memory_type [5, 32]", "surplus surplus.weight",
                             "shape of caption_table is [1, 2]"}) {
      INFO(text);
      CHECK(text.find(part) != std::string::npos);
    }
  }
}

TEST_CASE("configuration: comments, overrides, helpful errors", "[model]") {
  const Config config = parse_config("{// a comment\n\"train\": {\"lr\": 0.5}}", "file.json");
  CHECK(config.train.lr == 0.5);
  const auto error_of = [](const std::string& text) {
    try {
      (void)parse_config(text, "file.json");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(error_of(R"({"train": {"lrr": 1}})").find("did you mean \"train.lr\"?") != std::string::npos);
  CHECK(error_of(R"({"train": {"steps": "many"}})").find("file.json: train.steps: expected an integer") == 0);
  CHECK(error_of(R"({"model": {"fusion": {"scales": 4}}})").find("above 3") != std::string::npos);
  CHECK(error_of("{\n\n\"a\": }").find("line 3") != std::string::npos);
  CHECK(error_of(R"({"loss": {"alpha": [1, 2]}})").find("four numbers") != std::string::npos);
  // Hostile ones: once an overflow of the stack, an exception of another kind, and half a minute.
  CHECK(error_of(R"({"model": {"subdecoders": {"a":)" + std::string(400'000, '[')).find("nested deeper") !=
        std::string::npos);
  CHECK(error_of(R"({"train": {"lr": 1e999}})").find("out of range") != std::string::npos);
  CHECK(error_of("{\"" + std::string(1'000'000, 'k') + "\": 1}").size() < 200);
  CHECK(error_of(R"({"loss": {"alpha": [)" + std::string(1'000'000, ' ') + R"("x"]}})").size() < 200);
  CHECK(error_of(R"({"train": {"seed": ")" + std::string(1'000'000, 'x') + R"("}})").size() < 200);
  for (const Preset& preset : presets()) {
    const Config loaded = load_config(preset.name);
    CHECK(print_config(parse_config(print_config(loaded), "printed")) == print_config(loaded));
  }
}
