// Convolution: layers of ResNet-152, each beside a packed linear layer of as many FLOPs, and the encoder as
// a whole.
#include "bench/common.h"
#include "clipcap/encoders/resnet.h"
#include "tensor/cost_counter.h"
#include "tensor/kernels/matmul.h"
#include "tensor/kernels/pool2d.h"

namespace clipcap {
namespace {

struct Layer {
  int64_t pictures, side, outputs;
  Conv2dGeometry geometry;
  std::vector<float> weight, bias;
  explicit Layer(const benchmark::State& state)
      : pictures(state.range(0)),
        side(state.range(1)),
        geometry{state.range(2), state.range(3), state.range(4),
                 state.range(4), state.range(5), state.range(4) / 2},
        weight(bench::random_values(geometry.weights(), 1)),
        bias(bench::random_values(geometry.out_channels, 2)) {
    const int64_t out = window_positions(side, geometry.kernel_h, geometry.stride, geometry.padding);
    outputs = pictures * out * out;
  }
};

void convolution(benchmark::State& state) {
  const Layer layer(state);
  const auto x =
      bench::random_values(layer.pictures * layer.side * layer.side * layer.geometry.in_channels, 3);
  std::vector<float> y(static_cast<size_t>(layer.outputs * layer.geometry.out_channels));
  std::shared_ptr<const PreparedWeight> weight;
  prepare_conv2d(kCpu, {.weight = layer.weight.data(), .geometry = layer.geometry, .prepared = &weight});
  const Conv2dFwd<float> p{.x = x.data(),
                           .bias = layer.bias.data(),
                           .y = y.data(),
                           .n = layer.pictures,
                           .h = layer.side,
                           .w = layer.side,
                           .geometry = layer.geometry,
                           .relu = true,
                           .prepared = weight.get()};
  for (auto _ : state) conv2d_fwd(kCpu, p);
  bench::set_rates(state, cost(p));
}

// The same products, if every window already lay in a row of its own.
void linear_of_equal_flops(benchmark::State& state) {
  const Layer layer(state);
  const int64_t window = layer.geometry.weights() / layer.geometry.out_channels;
  const auto x = bench::random_values(layer.outputs * window, 3);
  std::vector<float> y(static_cast<size_t>(layer.outputs * layer.geometry.out_channels));
  std::shared_ptr<const PreparedWeight> weight;
  prepare_matmul(
      kCpu, {.b = layer.weight.data(), .n = layer.geometry.out_channels, .k = window, .prepared = &weight});
  const Matmul<float> p{.a = x.data(),
                        .bias = layer.bias.data(),
                        .c = y.data(),
                        .m = layer.outputs,
                        .n = layer.geometry.out_channels,
                        .k = window,
                        .activation = Activation::relu,
                        .prepared = weight.get()};
  for (auto _ : state) matmul(kCpu, p);
  bench::set_rates(state, cost(p));
}

void max_pool(benchmark::State& state) {
  const int64_t pictures = state.range(0);
  const auto x = bench::random_values(pictures * 112 * 112 * 64, 1);
  std::vector<float> y(static_cast<size_t>(pictures * 56 * 56 * 64));
  const MaxPool2d<float> p{.x = x.data(),
                           .y = y.data(),
                           .n = pictures,
                           .h = 112,
                           .w = 112,
                           .c = 64,
                           .kernel = 3,
                           .stride = 2,
                           .padding = 1};
  for (auto _ : state) max_pool2d(kCpu, p);
  bench::set_rates(state, cost(p));
}

// One iteration encodes range(0) frames.
void resnet152(benchmark::State& state) {
  Generator generator(1);
  Resnet resnet({}, generator);
  nn::pack_for_inference(resnet);
  const int64_t frames = state.range(0);
  const Tensor pixels = Tensor::from(bench::random_values(frames * 3 * 224 * 224, 2), {frames, 3, 224, 224});
  const NoGrad guard;
  Cost cost;
  {
    const CostCounter counter;
    static_cast<void>(resnet.forward(Variable(pixels), {}));
    cost = counter.total();
  }
  for (auto _ : state) benchmark::DoNotOptimize(resnet.forward(Variable(pixels), {}).value().raw());
  bench::set_rates(state, cost);
}

// Pictures, pixels a side, channels in and out, kernel, stride.
void layers(benchmark::internal::Benchmark* b) {
  b->Args({4, 224, 3, 64, 7, 2})->Args({4, 56, 64, 64, 3, 1})->Args({4, 14, 1024, 256, 1, 1});
  b->Args({4, 14, 256, 256, 3, 1})->Args({4, 14, 256, 1024, 1, 1})->Args({4, 14, 512, 512, 3, 2});
  b->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK(convolution)->Apply(layers);
BENCHMARK(linear_of_equal_flops)->Apply(layers);
BENCHMARK(max_pool)->Arg(4)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(resnet152)->Arg(1)->Arg(4)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
