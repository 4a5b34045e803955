// Attention forward and backward at the sizes of the model: the vision tower, the text tower and a single
// decoding step.
#include <benchmark/benchmark.h>

#include <vector>

#include "tensor/kernels/attention.h"
#include "tensor/random.h"

namespace clipcap {
namespace {

struct Data {
  int64_t batch, heads, q_len, k_len, dim;
  bool causal;
  std::vector<float> q, k, v, d_o, o, lse, dq, dk, dv;

  explicit Data(const benchmark::State& state)
      : batch(state.range(0)),
        heads(state.range(1)),
        q_len(state.range(2)),
        k_len(state.range(3)),
        dim(state.range(4)),
        causal(state.range(5) != 0) {
    uint64_t stream = 0;
    for (auto* x : {&q, &d_o, &o, &dq}) x->resize(batch * q_len * heads * dim);
    for (auto* x : {&k, &v, &dk, &dv}) x->resize(batch * k_len * heads * dim);
    lse.resize(batch * heads * q_len);
    for (auto* x : {&q, &k, &v, &d_o}) {
      ++stream;
      for (size_t i = 0; i < x->size(); ++i) (*x)[i] = normal_at(1, stream, i);
    }
  }
  AttentionStrides rows(int64_t len) const { return {len * heads * dim, heads * dim, dim}; }
  AttentionFwd<float> fwd() {
    return {q.data(),    k.data(),    v.data(),    o.data(), lse.data(),    nullptr,
            batch,       heads,       q_len,       k_len,    dim,           rows(q_len),
            rows(k_len), rows(k_len), rows(q_len), causal,   k_len - q_len, 0.125F};
  }
  AttentionBwd<float> bwd() {
    return {q.data(),    k.data(),    v.data(),      o.data(),    lse.data(),  d_o.data(),  dq.data(),
            dk.data(),   dv.data(),   nullptr,       batch,       heads,       q_len,       k_len,
            dim,         rows(q_len), rows(k_len),   rows(k_len), rows(q_len), rows(q_len), rows(k_len),
            rows(k_len), causal,      k_len - q_len, 0.125F};
  }
  void count(benchmark::State& state, double flops_a_score) const {
    const double scores =
        static_cast<double>(batch * heads * q_len * k_len) * (causal && q_len > 1 ? 0.5 : 1.0);
    state.counters["FLOP/s"] = benchmark::Counter(flops_a_score * scores * static_cast<double>(dim),
                                                  benchmark::Counter::kIsIterationInvariantRate);
  }
};

void forward(benchmark::State& state) {
  Data data(state);
  for (auto _ : state) attention_fwd(Device{}, data.fwd());
  data.count(state, 4);
}

void backward(benchmark::State& state) {
  Data data(state);
  attention_fwd(Device{}, data.fwd());
  for (auto _ : state) attention_bwd(Device{}, data.bwd());
  data.count(state, 10);
}

const std::vector<std::string> kNames{"B", "H", "Tq", "Tk", "K", "causal"};
BENCHMARK(forward)
    ->Name("attention_fwd")
    ->ArgNames(kNames)
    ->Args({8, 12, 197, 197, 64, 0})
    ->Args({8, 12, 50, 50, 64, 0})
    ->Args({8, 8, 77, 77, 64, 1})
    ->Args({1, 8, 1, 512, 64, 1})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();
BENCHMARK(backward)
    ->Name("attention_bwd")
    ->ArgNames(kNames)
    ->Args({8, 12, 197, 197, 64, 0})
    ->Args({8, 12, 50, 50, 64, 0})
    ->Args({8, 8, 77, 77, 64, 1})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace
}  // namespace clipcap

BENCHMARK_MAIN();
