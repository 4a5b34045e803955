// LayerNorm at ViT-B/16's widths, the kernel and the plain reference.
#include "bench/common.h"
#include "tensor/kernels/layer_norm.h"

namespace clipcap {
namespace {

void fast_forward(const LayerNormFwd<float>& p) { layer_norm_fwd(kCpu, p); }
void fast_backward(const LayerNormBwd<float>& p) { layer_norm_bwd(kCpu, p); }

struct Data {
  int64_t rows, dim;
  std::vector<float> x, residual, gamma, beta, sum, y, mean, rstd;
  explicit Data(const benchmark::State& state)
      : rows(state.range(0)),
        dim(state.range(1)),
        x(bench::random_values(rows * dim, 1)),
        residual(bench::random_values(rows * dim, 2)),
        gamma(bench::random_values(dim, 3)),
        beta(bench::random_values(dim, 4)),
        sum(x.size()),
        y(x.size()),
        mean(static_cast<size_t>(rows)),
        rstd(static_cast<size_t>(rows)) {}
  LayerNormFwd<float> params(bool with_residual) {
    return {.x = x.data(),
            .residual = with_residual ? residual.data() : nullptr,
            .gamma = gamma.data(),
            .beta = beta.data(),
            .sum = with_residual ? sum.data() : nullptr,
            .y = y.data(),
            .mean = mean.data(),
            .rstd = rstd.data(),
            .rows = rows,
            .dim = dim,
            .eps = 1e-5F};
  }
};

void forward(benchmark::State& state, void (*kernel)(const LayerNormFwd<float>&), bool with_residual) {
  Data d(state);
  const LayerNormFwd<float> p = d.params(with_residual);
  for (auto _ : state) kernel(p);
  bench::set_rates(state, cost(p));
}

void backward(benchmark::State& state, void (*kernel)(const LayerNormBwd<float>&)) {
  Data d(state);
  layer_norm_fwd(kCpu, d.params(false));
  std::vector<float> ds(d.x.size());
  std::vector<float> dgamma(d.gamma.size());
  std::vector<float> dbeta(d.gamma.size());
  const LayerNormBwd<float> p{.dy = d.residual.data(),
                              .s = d.x.data(),
                              .gamma = d.gamma.data(),
                              .mean = d.mean.data(),
                              .rstd = d.rstd.data(),
                              .ds = ds.data(),
                              .dgamma = dgamma.data(),
                              .dbeta = dbeta.data(),
                              .rows = d.rows,
                              .dim = d.dim};
  for (auto _ : state) kernel(p);
  bench::set_rates(state, cost(p));
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({197, 768})->Args({1576, 768})->Args({640, 512})->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(forward, kernel, fast_forward, false)->Apply(sizes);
BENCHMARK_CAPTURE(forward, kernel_residual, fast_forward, true)->Apply(sizes);
BENCHMARK_CAPTURE(forward, reference, reference::layer_norm_fwd<float>, false)->Apply(sizes);
BENCHMARK_CAPTURE(backward, kernel, fast_backward)->Apply(sizes);
BENCHMARK_CAPTURE(backward, reference, reference::layer_norm_bwd<float>)->Apply(sizes);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
