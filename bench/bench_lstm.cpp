// The recurrent part of one LSTM layer, H = 512, T = 32.
#include "tensor/kernels/lstm.h"

#include "bench/common.h"

namespace clipcap {
namespace {

struct Data {
  int64_t batch, steps, hidden;
  std::vector<float> x, w, h, c, gates, dh, dx, previous;

  explicit Data(const benchmark::State& state)
      : batch(state.range(0)), steps(state.range(1)), hidden(state.range(2)) {
    const int64_t all = batch * steps * hidden;
    for (auto* v : {&x, &gates, &dx}) v->resize(4 * all);
    for (auto* v : {&h, &c, &dh, &previous}) v->resize(all);
    w.resize(4 * hidden * hidden);
    for (size_t i = 0; i < x.size(); ++i) x[i] = normal_at(1, 1, i);
    for (size_t i = 0; i < w.size(); ++i) w[i] = 0.03F * normal_at(1, 2, i);
    for (size_t i = 0; i < dh.size(); ++i) dh[i] = normal_at(1, 3, i);
  }
  LstmFwd<float> fwd() {
    return {.x_gates = x.data(),
            .w_hh = w.data(),
            .h = h.data(),
            .c = c.data(),
            .gates = gates.data(),
            .batch = batch,
            .steps = steps,
            .hidden = hidden};
  }
  LstmBwd<float> bwd() {
    return {.dh = dh.data(),
            .w_hh = w.data(),
            .h = h.data(),
            .gates = gates.data(),
            .c = c.data(),
            .dx_gates = dx.data(),
            .h_previous = previous.data(),
            .batch = batch,
            .steps = steps,
            .hidden = hidden};
  }
};

void forward(benchmark::State& state) {
  Data data(state);
  for (auto _ : state) lstm_fwd(Device{}, data.fwd());
  bench::set_rates(state, cost(data.fwd()));
}

void backward(benchmark::State& state) {
  Data data(state);
  lstm_fwd(Device{}, data.fwd());
  for (auto _ : state) lstm_bwd(Device{}, data.bwd());
  bench::set_rates(state, cost(data.bwd()));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"B", "T", "H"})->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const int64_t batch : {1, 8, 64}) bench->Args({batch, 32, 512});
}
BENCHMARK(forward)->Name("lstm_fwd")->Apply(sizes);
BENCHMARK(backward)->Name("lstm_bwd")->Apply(sizes);

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
