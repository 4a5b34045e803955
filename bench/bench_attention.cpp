// Attention forward and backward at the sizes of the model: the vision tower, the text tower and a single
// decoding step.
#include "tensor/kernels/attention.h"

#include "bench/common.h"

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
  void describe(AttentionInputs<float>& p) {
    p.q = q.data();
    p.k = k.data();
    p.v = v.data();
    p.batch = batch;
    p.heads = heads;
    p.q_len = q_len;
    p.k_len = k_len;
    p.head_dim = dim;
    p.q_strides = p.o_strides = rows(q_len);
    p.k_strides = p.v_strides = rows(k_len);
    p.causal = causal;
    p.causal_offset = k_len - q_len;
    p.scale = 0.125F;
  }
  AttentionFwd<float> fwd() {
    AttentionFwd<float> p;
    describe(p);
    p.o = o.data();
    p.lse = lse.data();
    return p;
  }
  AttentionBwd<float> bwd() {
    AttentionBwd<float> p;
    describe(p);
    p.o = o.data();
    p.lse = lse.data();
    p.d_o = d_o.data();
    p.dq = dq.data();
    p.dk = dk.data();
    p.dv = dv.data();
    p.dq_strides = rows(q_len);
    p.dk_strides = p.dv_strides = rows(k_len);
    return p;
  }
};

void forward(benchmark::State& state) {
  Data data(state);
  for (auto _ : state) attention_fwd(Device{}, data.fwd());
  bench::set_rates(state, cost(data.fwd()));
}

void backward(benchmark::State& state) {
  Data data(state);
  attention_fwd(Device{}, data.fwd());
  for (auto _ : state) attention_bwd(Device{}, data.bwd());
  bench::set_rates(state, cost(data.bwd()));
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
