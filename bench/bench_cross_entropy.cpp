// Cross entropy with its gradient over CLIP's vocabulary, and softmax.
#include "tensor/kernels/cross_entropy.h"

#include "bench/common.h"

namespace clipcap {
namespace {

struct Data {
  int64_t rows, vocab;
  std::vector<float> x, y;
  std::vector<int32_t> targets;

  explicit Data(const benchmark::State& state) : rows(state.range(0)), vocab(state.range(1)) {
    x.resize(rows * vocab);
    y.resize(rows * vocab);
    for (size_t i = 0; i < x.size(); ++i) x[i] = normal_at(1, 1, i);
    for (int64_t r = 0; r < rows; ++r) targets.push_back(static_cast<int32_t>(r * 7919 % vocab));
  }
};

void loss_and_gradient(benchmark::State& state) {
  Data data(state);
  float loss = 0;
  const CrossEntropy<float> p{.logits = data.x.data(),
                              .targets = data.targets.data(),
                              .ignore_index = -100,
                              .label_smoothing = 0.1F,
                              .loss = &loss,
                              .dlogits = data.y.data(),
                              .rows = data.rows,
                              .vocab = data.vocab};
  for (auto _ : state) cross_entropy(Device{}, p);
  bench::set_rates(state, cost(p));
}

void softmax(benchmark::State& state) {
  Data data(state);
  const SoftmaxFwd<float> p{.x = data.x.data(), .y = data.y.data(), .rows = data.rows, .dim = data.vocab};
  for (auto _ : state) softmax_fwd(Device{}, p);
  bench::set_rates(state, cost(p));
}

BENCHMARK(loss_and_gradient)
    ->Name("cross_entropy")
    ->ArgNames({"N", "V"})
    ->Args({512, 49408})
    ->Args({512, 10000})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(softmax)
    ->Name("softmax_fwd")
    ->ArgNames({"N", "D"})
    ->Args({512, 10000})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
