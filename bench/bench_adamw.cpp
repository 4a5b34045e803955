// The optimizer's step and the gradient norm over one large and many small tensors, the kernel beside the
// plain reference.
#include "bench/common.h"
#include "tensor/kernels/adamw.h"

namespace clipcap {
namespace {

void fast(const AdamwStep<float>& p) { adamw(kCpu, p); }
void fast_squares(const SumSquares<float>& p) { sum_squares(kCpu, p); }

std::vector<int64_t> numels(const benchmark::State& state) {
  std::vector<int64_t> result(64, 512);
  result.push_back(state.range(0));
  return result;
}

void step(benchmark::State& state, void (*kernel)(const AdamwStep<float>&)) {
  std::vector<std::vector<float>> data;
  std::vector<AdamwTensor<float>> tensors;
  for (const int64_t count : numels(state)) {
    for (const uint64_t seed : {1, 2, 3}) data.push_back(bench::random_values(count, seed));
    data.emplace_back(static_cast<size_t>(count), 1.0F);
    const size_t at = data.size() - 4;
    tensors.push_back(
        {data[at].data(), data[at + 1].data(), data[at + 2].data(), data[at + 3].data(), count, 0.01F, 1});
  }
  AdamwStep<float> p{.tensors = tensors.data(),
                     .count = static_cast<int64_t>(tensors.size()),
                     .lr = 1e-4,
                     .beta1 = 0.9,
                     .beta2 = 0.999,
                     .eps = 1e-8,
                     .step = 0,
                     .grad_scale = 1.0};
  for (auto _ : state) {
    ++p.step;
    kernel(p);
  }
  bench::set_rates(state, cost(p));
}

void norm(benchmark::State& state, void (*kernel)(const SumSquares<float>&)) {
  std::vector<std::vector<float>> data;
  std::vector<const float*> pointers;
  const std::vector<int64_t> counts = numels(state);
  for (const int64_t count : counts) {
    data.push_back(bench::random_values(count, 1));
    pointers.push_back(data.back().data());
  }
  double result = 0;
  const SumSquares<float> p{.tensors = pointers.data(),
                            .numels = counts.data(),
                            .count = static_cast<int64_t>(counts.size()),
                            .result = &result};
  for (auto _ : state) {
    kernel(p);
    benchmark::DoNotOptimize(result);
  }
  bench::set_rates(state, cost(p));
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Arg(1 << 18)->Arg(1 << 24)->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(step, kernel, fast)->Apply(sizes);
BENCHMARK_CAPTURE(step, reference, reference::adamw<float>)->Apply(sizes);
BENCHMARK_CAPTURE(norm, kernel, fast_squares)->Apply(sizes);
BENCHMARK_CAPTURE(norm, reference, reference::sum_squares<float>)->Apply(sizes);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
