// The model's parts against transformers and PyTorch with the same weights
// (tests/golden/model_parts.safetensors, made by tools/fixtures/make_model_golden.py).
#include "clipcap/encoders/towers.h"
#include "clipcap/parts/fusion.h"
#include "clipcap/parts/vis2text.h"
#include "tests/golden_file.h"

using namespace clipcap;
using testing::difference;

namespace {

const testing::GoldenFile& golden() {
  static const testing::GoldenFile file("model_parts");
  return file;
}

}  // namespace

TEST_CASE("the image tower is transformers' CLIP, packed or not", "[model_parts]") {
  Generator generator(1);
  VisionTower tower({16, 8, 12, 2, 3, 10}, Activation::quick_gelu, generator);
  nn::load_state_dict(tower, golden().weights("vision", {"frames", "features"}), "golden");
  const Tensor& features = golden().at("vision.features");
  CHECK(difference(tower.forward(Variable(golden().at("vision.frames")), {}).value(), features) < 1e-5);
  CHECK(difference(tower.encode(golden().at("vision.frames")), features) < 1e-5);
  nn::pack_for_inference(tower);
  CHECK(difference(tower.encode(golden().at("vision.frames")), features) < 1e-5);
}

TEST_CASE("the text tower is transformers' CLIP", "[model_parts]") {
  Generator generator(1);
  TextTower tower({20, 7, 12, 2, 3, 10}, Activation::quick_gelu, generator);
  nn::load_state_dict(tower, golden().weights("text", {"ids", "features"}), "golden");
  CHECK(difference(tower.forward(golden().at("text.ids"), {3, 5}, {}).value(), golden().at("text.features")) <
        1e-5);
  // What stands after the end of a text cannot reach its feature.
  const Tensor shorter = golden().at("text.ids").slice(0, 0, 1).slice(1, 0, 4).contiguous();
  CHECK(difference(tower.forward(shorter, {3}, {}).value(), golden().at("text.features").slice(0, 0, 1)) <
        1e-5);
}

TEST_CASE("fusion of padded clips is PyTorch's of each clip alone", "[model_parts]") {
  for (const auto& [name, kind] : {std::pair{"fusion_lstm", FusionKind::lstm},
                                   {"fusion_transformer", FusionKind::transformer},
                                   {"fusion_conv1d", FusionKind::conv1d}}) {
    INFO(name);
    Generator generator(1);
    TemporalFusion fusion({.kind = kind, .scales = 3, .dim = 8}, generator);
    const std::string part = name;
    nn::load_state_dict(fusion, golden().weights(part, {"x", "lengths", "f"}), "golden");
    const Variable f = fusion.forward(Variable(golden().at(part + ".x")),
                                      golden().at(part + ".lengths").to_vector<int32_t>(), {});
    CHECK(difference(f.value(), golden().at(part + ".f")) < 2e-5);
  }
}

TEST_CASE("Vis2Text and its distillation are PyTorch's, forward and backward", "[model_parts]") {
  Generator generator(1);
  Vis2Text vis2text(8, 10, true, generator);
  nn::load_state_dict(vis2text, golden().weights("vis2text", {"x", "lengths", "vt", "teacher", "loss", "dx"}),
                      "golden");
  const Variable x(golden().at("vis2text.x").clone(), true);
  const Variable vt = vis2text.forward(x);
  CHECK(difference(vt.value(), golden().at("vis2text.vt")) < 1e-5);
  const Tensor valid = valid_mask(golden().at("vis2text.lengths").to_vector<int32_t>(), 7);
  const Variable loss = diff::l1_distill(vt, golden().at("vis2text.teacher"), valid);
  CHECK(loss.value().item() == Approx(golden().at("vis2text.loss").item()).epsilon(1e-5));
  loss.backward();
  CHECK(difference(x.grad(), golden().at("vis2text.dx")) < 1e-6);
}
