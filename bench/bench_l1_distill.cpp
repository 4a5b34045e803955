// The distillation loss with its gradient, the kernel and the plain reference.
#include "bench/common.h"
#include "tensor/kernels/l1_distill.h"

namespace clipcap {
namespace {

void fast(const L1Distill<float>& p) { l1_distill(kCpu, p); }

void distill(benchmark::State& state, void (*kernel)(const L1Distill<float>&)) {
  const int64_t batch = state.range(0);
  const int64_t frames = state.range(1);
  const int64_t dim = state.range(2);
  const auto student = bench::random_values(batch * frames * dim, 1);
  const auto teacher = bench::random_values(batch * dim, 2);
  std::vector<float> grad(student.size());
  float loss = 0;
  const L1Distill<float> p{.student = student.data(),
                           .teacher = teacher.data(),
                           .loss = &loss,
                           .dstudent = grad.data(),
                           .batch = batch,
                           .frames = frames,
                           .dim = dim,
                           .teacher_row_stride = 0};
  for (auto _ : state) {
    kernel(p);
    benchmark::DoNotOptimize(loss);
  }
  bench::set_rates(state, cost(p));
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({32, 12, 512})->Args({512, 12, 512})->UseRealTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(distill, kernel, fast)->Apply(sizes);
BENCHMARK_CAPTURE(distill, reference, reference::l1_distill<float>)->Apply(sizes);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
