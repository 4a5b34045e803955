// Products, with prepared weights and without, at the shapes of ViT-B/16 (one frame and eight) and of decode
// steps, as a fraction of the FMA rate that a loop on registers reaches on the same threads.
#include <chrono>

#include "bench/common.h"
#include "tensor/kernels/matmul.h"
#include "tensor/parallel.h"

#if defined(CLIPCAP_X86)
#include <immintrin.h>
#endif

namespace clipcap {
namespace {

constexpr int64_t kPeakSteps = 4'000'000;

#if defined(CLIPCAP_X86)
// Twelve independent chains hide the latency of the multiply-add. Returns FLOPs done.
[[gnu::target("avx512f")]] double fma_loop_avx512(float* sink) {
  const __m512 factor = _mm512_set1_ps(0.999999F);
  __m512 chain[12];
  for (__m512& c : chain) c = _mm512_set1_ps(1.0F);
  for (int64_t i = 0; i < kPeakSteps; ++i) {
#pragma GCC unroll 12
    for (__m512& c : chain) c = _mm512_fmadd_ps(c, factor, factor);
  }
  for (const __m512& c : chain) {
    alignas(64) float lanes[16];
    _mm512_store_ps(lanes, c);
    *sink += lanes[0];
  }
  return 12.0 * 16 * 2 * kPeakSteps;
}

[[gnu::target("avx2,fma")]] double fma_loop_avx2(float* sink) {
  const __m256 factor = _mm256_set1_ps(0.999999F);
  __m256 chain[12];
  for (__m256& c : chain) c = _mm256_set1_ps(1.0F);
  for (int64_t i = 0; i < kPeakSteps; ++i) {
#pragma GCC unroll 12
    for (__m256& c : chain) c = _mm256_fmadd_ps(c, factor, factor);
  }
  for (const __m256& c : chain) {
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, c);
    *sink += lanes[0];
  }
  return 12.0 * 8 * 2 * kPeakSteps;
}

double fma_loop(float* sink) {
  return __builtin_cpu_supports("avx512f") != 0 ? fma_loop_avx512(sink) : fma_loop_avx2(sink);
}
#else
double fma_loop(float*) { return 0; }
#endif

// FLOPs a second of all threads; the best of a few runs, measured once. 0 where there is no such loop.
double peak_flops() {
  static const double peak = [] {
    double best = 0;
    for (int run = 0; run < 5; ++run) {
      const int threads = thread_count();
      std::vector<double> flops(static_cast<size_t>(threads));
      std::vector<float> sink(static_cast<size_t>(threads) * 16);
      const auto start = std::chrono::steady_clock::now();
      parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          flops[static_cast<size_t>(t)] = fma_loop(&sink[static_cast<size_t>(t) * 16]);
      });
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      benchmark::DoNotOptimize(sink.data());
      double total = 0;
      for (const double value : flops) total += value;
      best = std::max(best, total / seconds);
    }
    return best;
  }();
  return peak;
}

void report(benchmark::State& state, const Matmul<float>& p) {
  bench::set_rates(state, cost(p));
  if (peak_flops() > 0) {
    state.counters["fraction"] = benchmark::Counter(
        cost(p).flops / peak_flops() * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  }
}

void fma_peak(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(peak_flops());
  state.counters["GFLOP/s"] = peak_flops() * 1e-9;
}
BENCHMARK(fma_peak)->Iterations(1);

struct Data {
  int64_t m, n, k;
  std::vector<float> x, w, y;
  explicit Data(const benchmark::State& state)
      : m(state.range(0)),
        n(state.range(1)),
        k(state.range(2)),
        x(bench::random_values(m * k, 1)),
        w(bench::random_values(n * k, 2)),
        y(static_cast<size_t>(m * n)) {}
};

void linear_forward(benchmark::State& state) {  // y = x W^T
  Data d(state);
  const Matmul<float> p{
      .a = d.x.data(), .b = d.w.data(), .c = d.y.data(), .m = d.m, .n = d.n, .k = d.k, .b_transposed = true};
  peak_flops();
  for (auto _ : state) matmul(kCpu, p);
  report(state, p);
}

void linear_backward_x(benchmark::State& state) {  // dx = dy W
  Data d(state);
  const Matmul<float> p{.a = d.y.data(), .b = d.w.data(), .c = d.x.data(), .m = d.m, .n = d.k, .k = d.n};
  peak_flops();
  for (auto _ : state) matmul(kCpu, p);
  report(state, p);
}

void linear_backward_w(benchmark::State& state) {  // dW = dy^T x
  Data d(state);
  const Matmul<float> p{
      .a = d.y.data(), .b = d.x.data(), .c = d.w.data(), .m = d.n, .n = d.k, .k = d.m, .a_transposed = true};
  peak_flops();
  for (auto _ : state) matmul(kCpu, p);
  report(state, p);
}

void packed_linear(benchmark::State& state) {
  Data d(state);
  const std::vector<float> bias = bench::random_values(d.n, 3);
  std::shared_ptr<const PreparedWeight> weight;
  prepare_matmul(kCpu, {.b = d.w.data(), .n = d.n, .k = d.k, .prepared = &weight});
  const Matmul<float> p{.a = d.x.data(),
                        .bias = bias.data(),
                        .c = d.y.data(),
                        .m = d.m,
                        .n = d.n,
                        .k = d.k,
                        .activation = Activation::quick_gelu,
                        .prepared = weight.get()};
  matmul(kCpu, p);
  peak_flops();
  for (auto _ : state) matmul(kCpu, p);
  report(state, p);
}

void plain_reference(benchmark::State& state) {
  Data d(state);
  const Matmul<float> p{
      .a = d.x.data(), .b = d.w.data(), .c = d.y.data(), .m = d.m, .n = d.n, .k = d.k, .b_transposed = true};
  for (auto _ : state) reference::matmul(p);
  report(state, p);
}

void vit_shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t m : {197, 1576}) {
    b->Args({m, 2304, 768})->Args({m, 768, 768})->Args({m, 3072, 768})->Args({m, 768, 3072});
  }
  b->UseRealTime()->Unit(benchmark::kMicrosecond);
}
void decode_shapes(benchmark::internal::Benchmark* b) {
  for (const int64_t m : {1, 4, 8}) b->Args({m, 768, 768})->Args({m, 2048, 512})->Args({m, 49408, 512});
}
BENCHMARK(packed_linear)->Apply(vit_shapes)->Apply(decode_shapes);
BENCHMARK(linear_forward)->Apply(vit_shapes)->Apply(decode_shapes);
BENCHMARK(linear_backward_x)->Apply(vit_shapes);
BENCHMARK(linear_backward_w)->Apply(vit_shapes);
BENCHMARK(plain_reference)->Args({197, 768, 768})->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
