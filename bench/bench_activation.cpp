// Bias and activation of the MLP's hidden layer, the kernel and the plain reference.
#include "bench/common.h"
#include "tensor/kernels/activation.h"

namespace clipcap {
namespace {

void fast_forward(const BiasActivationFwd<float>& p) { bias_activation_fwd(kCpu, p); }
void fast_backward(const BiasActivationBwd<float>& p) { bias_activation_bwd(kCpu, p); }

void forward(benchmark::State& state, void (*kernel)(const BiasActivationFwd<float>&),
             Activation activation) {
  const int64_t rows = state.range(0);
  const int64_t dim = state.range(1);
  const auto x = bench::random_values(rows * dim, 1);
  const auto bias = bench::random_values(dim, 2);
  std::vector<float> y(x.size());
  const BiasActivationFwd<float> p{
      .x = x.data(), .bias = bias.data(), .y = y.data(), .rows = rows, .dim = dim, .activation = activation};
  for (auto _ : state) kernel(p);
  bench::set_rates(state, cost(p));
}

void backward(benchmark::State& state, void (*kernel)(const BiasActivationBwd<float>&),
              Activation activation) {
  const int64_t rows = state.range(0);
  const int64_t dim = state.range(1);
  const auto x = bench::random_values(rows * dim, 1);
  const auto dy = bench::random_values(rows * dim, 3);
  const auto bias = bench::random_values(dim, 2);
  std::vector<float> dx(x.size());
  std::vector<float> dbias(bias.size());
  const BiasActivationBwd<float> p{.dy = dy.data(),
                                   .x = x.data(),
                                   .bias = bias.data(),
                                   .dx = dx.data(),
                                   .dbias = dbias.data(),
                                   .rows = rows,
                                   .dim = dim,
                                   .activation = activation};
  for (auto _ : state) kernel(p);
  bench::set_rates(state, cost(p));
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({197, 3072})->Args({1576, 3072})->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(forward, kernel_relu, fast_forward, Activation::relu)->Apply(sizes);
BENCHMARK_CAPTURE(forward, kernel_gelu, fast_forward, Activation::gelu)->Apply(sizes);
BENCHMARK_CAPTURE(forward, kernel_quick_gelu, fast_forward, Activation::quick_gelu)->Apply(sizes);
BENCHMARK_CAPTURE(forward, reference_gelu, reference::bias_activation_fwd<float>, Activation::gelu)
    ->Apply(sizes);
BENCHMARK_CAPTURE(backward, kernel_gelu, fast_backward, Activation::gelu)->Apply(sizes);
BENCHMARK_CAPTURE(backward, kernel_quick_gelu, fast_backward, Activation::quick_gelu)->Apply(sizes);
BENCHMARK_CAPTURE(backward, reference_gelu, reference::bias_activation_bwd<float>, Activation::gelu)
    ->Apply(sizes);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
