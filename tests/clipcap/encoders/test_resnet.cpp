// ResNet against torchvision's (tests/golden/resnet.pth and .safetensors,
// made by tools/fixtures/make_resnet_golden.py).
#include "clipcap/encoders/resnet.h"

#include "nn/init.h"
#include "tensor/cost_counter.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

using namespace clipcap;
using testing::difference;

namespace {

const testing::GoldenFile& golden() {
  static const testing::GoldenFile file("resnet");
  return file;
}

nn::StateDict torchvision() { return read_tensor_file(testing::golden_path("resnet.pth")).tensors; }

// Largest difference to the golden features over the largest of them.
double relative_error(const Tensor& features) {
  const Tensor& expected = golden().at("features");
  return difference(features, expected) / difference(expected, Tensor::zeros(expected.shape()));
}

std::string error_of(const nn::StateDict& state) {
  return message_of<InputError>([&] { (void)load_torchvision_resnet(state, "file", 45); });
}

// What the convolutions of one frame cost by the op's own account.
double convolution_flops(const Resnet& resnet) {
  const int64_t side = resnet.resolution();
  const NoGrad guard;
  const CostCounter counter;
  static_cast<void>(resnet.forward(Variable(Tensor::zeros({1, 3, side, side})), {}));
  return counter.of("conv2d_fwd").flops;
}

}  // namespace

TEST_CASE("resnet: torchvision's features, packed or not, and in double", "[resnet]") {
  const auto resnet = load_torchvision_resnet(torchvision(), "golden", 45);
  CHECK(resnet->geometry().blocks == std::array<int64_t, 4>{1, 2, 1, 1});
  CHECK(resnet->geometry().width == 6);
  CHECK(resnet->resolution() == 45);
  CHECK(resnet->feature_dim() == 192);
  CHECK_FALSE(resnet->trainable());
  const Tensor& frames = golden().at("frames");
  CHECK(relative_error(resnet->forward(Variable(frames), {}).value()) < 1e-5);
  CHECK(relative_error(resnet->encode(frames)) < 1e-5);
  nn::pack_for_inference(*resnet);
  CHECK(nn::parameters(*resnet).empty());
  CHECK(relative_error(resnet->encode(frames)) < 1e-5);
  CHECK(resnet->encode(frames.slice(0, 0, 0)).shape() == Shape{0, 192});
  CHECK(resnet->forward(Variable(frames.slice(0, 0, 0)), {}).shape() == Shape{0, 192});

  // Only the rounding of the folded weights to float is left.
  const auto wide = load_torchvision_resnet(torchvision(), "golden", 45);
  nn::convert(*wide, DType::f64);
  CHECK(relative_error(wide->forward(Variable(frames.to(DType::f64)), {}).value()) < 1e-6);
}

TEST_CASE("resnet: a batch is its frames one by one", "[resnet]") {
  const auto resnet = load_torchvision_resnet(torchvision(), "golden", 45);
  nn::pack_for_inference(*resnet);
  const Tensor& frames = golden().at("frames");
  const Tensor both = resnet->encode(frames);
  for (int64_t i = 0; i < 2; ++i)
    CHECK(difference(resnet->encode(frames.slice(0, i, 1)), both.slice(0, i, 1)) < 1e-6);
}

TEST_CASE("resnet: files in other dtypes, with a prefix, without counters, with a classifier", "[resnet]") {
  nn::StateDict state;
  for (const auto& [name, value] : torchvision()) {
    if (!name.ends_with("num_batches_tracked")) state["module." + name] = value.to(DType::f64);
  }
  state["module.fc.weight"] = Tensor::zeros({10, 192});
  state["module.fc.bias"] = Tensor::zeros({10});
  const auto resnet = load_torchvision_resnet(state, "golden", 45);
  CHECK(relative_error(resnet->encode(golden().at("frames"))) < 1e-5);
  for (auto& [name, value] : state) value = value.to(DType::bf16);
  const auto rounded = load_torchvision_resnet(state, "golden", 45);
  CHECK(relative_error(rounded->encode(golden().at("frames"))) < 0.05);
}

TEST_CASE("resnet: what is wrong in a file is named at once, as far as a message goes", "[resnet]") {
  nn::StateDict state = torchvision();
  state.erase("layer2.1.bn2.running_var");
  state["layer3.0.conv2.weight"] = Tensor::zeros({24, 24, 1, 1});
  state["layer1.0.bn1.bias"] = Tensor::zeros({6}, DType::i32);
  state["layer1.7000000000000000000000.conv1.weight"] = Tensor::zeros({6, 6, 1, 1});
  state["head.weight"] = Tensor::zeros({3});
  CHECK(error_of(state) ==
        "file: not a torchvision bottleneck ResNet: dtype of layer1.0.bn1.bias is i32, expected a floating "
        "one; "
        "missing layer2.1.bn2.running_var [12]; shape of layer3.0.conv2.weight is [24, 24, 1, 1], expected "
        "[24, 24, 3, 3]; and 2 more");

  state = torchvision();
  state.erase("conv1.weight");
  CHECK(error_of(state).find("missing conv1.weight [64, 3, 7, 7]") != std::string::npos);
  state["conv1.weight"] = Tensor::zeros({0, 3, 7, 7});
  CHECK(error_of(state).find("shape of conv1.weight is [0, 3, 7, 7]") != std::string::npos);
  CHECK(error_of({}).find("missing bn1.weight [64]") != std::string::npos);
  CHECK(error_of({}).size() < 300);

  state = torchvision();
  state["layer2.255.conv1.weight"] = Tensor::zeros({1});
  CHECK(error_of(state).find("missing layer2.100.conv1.weight") == std::string::npos);  // the list is cut
  CHECK(error_of(state).find(" more") != std::string::npos);
  state.erase("layer2.255.conv1.weight");
  state["layer2.256.conv1.weight"] = Tensor::zeros({1});
  CHECK(error_of(state).ends_with("ResNet: surplus layer2.256.conv1.weight [1]"));

  state = torchvision();
  state["bn1.running_var"] = Tensor::from<float>({1, 1, -0.5F, 1, 1, 1}, {6});
  CHECK(error_of(state) == "file: bn1.running_var[2] is -0.5, expected at least 0");
}

TEST_CASE("resnet: random weights give features of ordinary size; geometry and FLOPs", "[resnet]") {
  Generator generator(1);
  const Resnet resnet({{3, 8, 36, 3}, 16, 32}, generator);
  const Tensor frames = Tensor::from(testing::random_values<float>(2 * 3 * 32 * 32, 1, 0.0), {2, 3, 32, 32});
  const auto features = resnet.encode(frames).to_vector<float>();
  double mean = 0;
  for (const float value : features)
    mean += static_cast<double>(value) / static_cast<double>(features.size());
  CHECK(mean > 0.1);
  CHECK(mean < 10);

  // By hand for one block a stage: stem 4^2 outputs of 2 x 147 products, pooled to 2 x 2, and so on.
  const Resnet tiny({{1, 1, 1, 1}, 2, 8}, generator);
  const double stem = 16 * 2 * 147;
  const double first = 4 * (2 * 2 + 2 * 18 + 8 * 2 + 8 * 2);
  const double second = 4 * 4 * 8 + 1 * (4 * 36 + 16 * 4 + 16 * 8);
  const double third = 8 * 16 + 8 * 72 + 32 * 8 + 32 * 16;
  const double fourth = 16 * 32 + 16 * 144 + 64 * 16 + 64 * 32;
  CHECK(convolution_flops(tiny) == 2 * (stem + first + second + third + fourth));
  {
    const nn::SkipInitialisation skip;
    // Counted by hooks in PyTorch; parameters: torchvision's less fc, scales, shifts.
    Resnet full({}, generator);
    CHECK(convolution_flops(full) == 23023157248.0);
    CHECK(nn::parameter_count(full) == 60192808 - 2049000 - 75712);
    CHECK(full.feature_dim() == 2048);
  }
  CHECK_THROWS_AS(Resnet({{1, 1, 0, 1}, 2, 8}, generator), InputError);
  CHECK_THROWS_AS(Resnet({{1, 1, 257, 1}, 2, 8}, generator), InputError);
  CHECK_THROWS_AS(Resnet({{1, 1, 1, 1}, 0, 8}, generator), InputError);
  CHECK_THROWS_AS(Resnet({{1, 1, 1, 1}, 2, 0}, generator), InputError);
}

TEST_CASE("resnet: wrong frames and asked-for gradients throw", "[resnet]") {
  Generator generator(1);
  Resnet resnet({{1, 1, 1, 1}, 2, 8}, generator);
  CHECK_THROWS_AS(resnet.forward(Variable(Tensor::zeros({1, 3, 8, 9})), {}), Error);
  CHECK_THROWS_AS(resnet.forward(Variable(Tensor::zeros({3, 8, 8})), {}), Error);
  const Variable frames(Tensor::zeros({1, 3, 8, 8}), true);
  CHECK_THROWS_AS(resnet.forward(frames, {}), Error);
  nn::set_requires_grad(resnet, true);
  CHECK_THROWS_AS(resnet.forward(frames.detach(), {}), Error);
  CHECK(resnet.encode(frames.value()).shape() == Shape{1, 64});
}
