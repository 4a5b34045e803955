// What the fusion makes of lengths and configuration. Its numbers are compared with
// PyTorch's in test_model_parts.cpp.
#include "clipcap/parts/fusion.h"

#include "clipcap/model_directory.h"
#include "tests/compare.h"

namespace clipcap {
namespace {

Tensor rows(int64_t clips, int64_t n, uint64_t seed) {
  return Tensor::from(testing::random_values<float>(clips * n * 8, seed), {clips, n, 8});
}

}  // namespace

TEST_CASE("a plan: each scale's lengths, masks and matrices", "[fusion]") {
  const FusionPlan plan = make_fusion_plan({5, 2}, 5, 3, 0, DType::f32);
  REQUIRE(plan.scales.size() == 3);
  CHECK(plan.scales[0].lengths == std::vector<int32_t>{5, 2});
  CHECK(plan.scales[1].lengths == std::vector<int32_t>{3, 1});
  CHECK(plan.scales[2].lengths == std::vector<int32_t>{2, 1});
  CHECK(plan.scales[1].length_tensor.to_vector<int32_t>() == std::vector<int32_t>{3, 1});
  CHECK(plan.scales[1].valid.to_vector<uint8_t>() == std::vector<uint8_t>{1, 1, 1, 1, 0, 0});
  CHECK(plan.scales[2].valid.shape() == Shape{2, 2});
  CHECK(plan.scales[2].row_mask.to_vector<float>() == std::vector<float>{1, 1, 1, 0});
  CHECK(!plan.scales[0].squeeze.defined());
  CHECK(!plan.scales[0].expand.defined());
  CHECK(plan.scales[1].squeeze.to_vector<float>() ==
        std::vector<float>{0.5, 0.5, 0, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 1,  //
                           0.5, 0.5, 0, 0, 0, 0, 0, 0,   0,   0, 0, 0, 0, 0, 0});
  // Scale 2 squeezes scale 1's rows, not the clip's.
  CHECK(plan.scales[2].squeeze.to_vector<float>() ==
        std::vector<float>{0.5, 0.5, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0});
  CHECK(plan.scales[2].expand.shape() == Shape{2, 5, 2});
  // Two rows stretched to five: centres at 0.4 (i + 0.5) - 0.5, clamped to [0, 1].
  const std::vector<float> expand = plan.scales[2].expand.slice(0, 0, 1).to_vector<float>();
  CHECK(testing::max_error(expand, std::vector<float>{1, 0, 0.9F, 0.1F, 0.5, 0.5, 0.1F, 0.9F, 0, 1}) < 1e-6);
  CHECK(!make_fusion_plan({4, 4}, 4, 1, 0, DType::f32).scales[0].row_mask.defined());
  CHECK(make_fusion_plan({4, 4}, 4, 2, 6, DType::f32).scales[1].positions.shape() == Shape{2, 6});
  CHECK_THROWS_AS(make_fusion_plan({5, 0}, 5, 2, 0, DType::f32), Error);
  CHECK_THROWS_AS(make_fusion_plan({6}, 5, 2, 0, DType::f32), Error);
}

TEST_CASE("a plan is made once for a set of lengths, and never used for another", "[fusion]") {
  for (const FusionKind kind : {FusionKind::lstm, FusionKind::transformer, FusionKind::conv1d}) {
    const auto make = [kind] {
      Generator generator(3);
      return TemporalFusion({.kind = kind, .scales = 3, .dim = 8, .heads = 2}, generator);
    };
    const TemporalFusion fusion = make();
    const auto first = fusion.plan({5, 2}, 5, DType::f32);
    CHECK(fusion.plan({5, 2}, 5, DType::f32) == first);
    CHECK(fusion.plan({5, 2}, 6, DType::f32) != first);
    CHECK(fusion.plan({5, 2}, 5, DType::f32)->scales[0].valid.shape() == Shape{2, 5});
    CHECK(fusion.plan({2, 5}, 5, DType::f32)->scales[0].lengths == std::vector<int32_t>{2, 5});
    CHECK(fusion.plan({2, 5}, 5, DType::f64)->scales[1].squeeze.dtype() == DType::f64);
    // The same as a fusion that has seen no other clips.
    const NoGrad guard;
    for (const auto& [lengths, n] :
         {std::pair{std::vector<int32_t>{5, 2}, 5}, {{5, 3}, 5}, {{5, 3}, 7}, {{5, 3}, 5}}) {
      const Variable v(rows(2, n, 4));
      CHECK(fusion.forward(v, lengths, {}).value().to_vector<float>() ==
            make().forward(v, lengths, {}).value().to_vector<float>());
    }
    CHECK_THROWS_AS(fusion.forward(Variable(rows(2, 4, 4)), *first, {}), Error);
  }
}

TEST_CASE("heads and dropout of a Transformer fusion are the configuration's", "[fusion]") {
  const auto fused = [](const std::vector<std::string>& settings, bool training) {
    Config config = parse_config(
        R"({"model": {"encoder": {"resolution": 32, "patch": 16, "width": 16, "layers": 1, "heads": 2, "embed": 8},
            "frames": 5, "dim": 8, "heads": 2, "hidden": 16, "fusion": {"kind": "transformer", "scales": 2},
            "decoder": {"layers": 1}, "subdecoder": {"layers": 1}, "dropout": 0}})",
        "test");
    for (const std::string& setting : settings) set_config_key(config, setting);
    const Vocabulary words = Vocabulary::build({{"a", "dog"}}, 0);
    const auto model = make_model(config, {words, words});
    Generator dropout(1);
    const NoGrad guard;
    return model->fusion.forward(Variable(rows(1, 5, 4)), {5}, nn::Run{training, &dropout})
        .value()
        .to_vector<float>();
  };
  const std::vector<float> plain = fused({}, false);
  CHECK(fused({"model.fusion.heads=8"}, false) == plain);  // what models had before there was the key
  CHECK(fused({"model.heads=4"}, false) == plain);         // the decoders' heads are another key
  CHECK(testing::max_error(fused({"model.fusion.heads=2"}, false), plain) > 1e-4);
  CHECK(fused({}, true) == plain);
  CHECK(testing::max_error(fused({"model.dropout=0.5"}, true), plain) > 1e-2);
  CHECK(fused({"model.dropout=0.5"}, false) == plain);
  CHECK_THROWS_AS(fused({"model.fusion.heads=3"}, false), InputError);
}

}  // namespace clipcap
