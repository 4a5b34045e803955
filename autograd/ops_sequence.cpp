// Attention and LSTM.
#include <cmath>

#include "autograd/ops.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/lstm.h"
#include "tensor/ops.h"

namespace clipcap::diff {
namespace {

AttentionStrides strides_of(const Tensor& x) { return {x.stride(0), x.stride(1), x.stride(2)}; }

// The kernels read [B,T,H,K] through strides but want the K values of a head adjacent.
Tensor with_adjacent_heads(const Tensor& x) { return x.dim(3) <= 1 || x.stride(3) == 1 ? x : x.contiguous(); }

}  // namespace

Variable attention(const Variable& query, const Variable& key, const Variable& value,
                   const AttentionOptions& options) {
  CHECK(query.value().rank() == 4 && key.value().rank() == 4, "attention: query is ", query.shape(), ", key ",
        key.shape(), "; expected [B,T,H,K]");
  const Tensor q = with_adjacent_heads(query.value());
  const Tensor k = with_adjacent_heads(key.value());
  const Tensor v = with_adjacent_heads(value.value());
  check_same_kind("attention", q, k);
  check_same_kind("attention", k, v);
  CHECK(k.shape() == v.shape() && q.dim(0) == k.dim(0) && q.dim(2) == k.dim(2) && q.dim(3) == k.dim(3),
        "attention: query is ", q.shape(), ", key ", k.shape(), ", value ", v.shape());
  Tensor valid;
  if (options.key_valid.defined()) {
    valid = options.key_valid.contiguous();
    CHECK(valid.shape() == Shape({k.dim(0), k.dim(1)}), "attention: key_valid is ", valid.shape(), ", key ",
          k.shape());
  }
  const double factor = options.scale != 0
                            ? options.scale
                            : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, q.dim(3))));
  const bool causal = options.causal;
  const int64_t causal_offset = options.causal_offset;
  const bool record = any_requires_grad({&query, &key, &value});
  Tensor o = Tensor::empty(q.shape(), q.dtype(), q.device());
  Tensor lse =
      record ? Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, real_dtype(q.dtype()), q.device()) : Tensor();
  // What both directions' kernels are told alike.
  const auto describe = [=](auto& p, auto tag) {
    using T = decltype(tag);
    p.q = q.data<T>();
    p.k = k.data<T>();
    p.v = v.data<T>();
    p.o = o.data<T>();
    p.lse = data_or_null<Real<T>>(lse);
    p.key_valid = data_or_null<uint8_t>(valid);
    p.batch = q.dim(0);
    p.heads = q.dim(2);
    p.q_len = q.dim(1);
    p.k_len = k.dim(1);
    p.head_dim = q.dim(3);
    p.q_strides = strides_of(q);
    p.k_strides = strides_of(k);
    p.v_strides = strides_of(v);
    p.o_strides = strides_of(o);
    p.causal = causal;
    p.causal_offset = causal_offset;
    p.scale = static_cast<Real<T>>(factor);
  };
  visit_compute_dtype("attention", q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    AttentionFwd<T> p{};
    describe(p, tag);
    attention_fwd(q.device(), p);
  });
  return make_result("attention", o, {query, key, value},
                     [=](std::span<const Tensor> g) -> std::vector<Tensor> {
                       const Tensor d_o = g[0].contiguous();
                       Tensor dq = Tensor::empty(q.shape(), q.dtype(), q.device());
                       Tensor dk = Tensor::empty(k.shape(), k.dtype(), k.device());
                       Tensor dv = Tensor::empty(v.shape(), v.dtype(), v.device());
                       visit_compute_dtype("attention", q.dtype(), [&](auto tag) {
                         using T = decltype(tag);
                         AttentionBwd<T> p{};
                         describe(p, tag);
                         p.d_o = d_o.data<T>();
                         p.dq = dq.data<T>();
                         p.dk = dk.data<T>();
                         p.dv = dv.data<T>();
                         p.dq_strides = strides_of(dq);
                         p.dk_strides = strides_of(dk);
                         p.dv_strides = strides_of(dv);
                         attention_bwd(q.device(), p);
                       });
                       return {dq, dk, dv};
                     });
}

LstmOutput lstm(const Variable& x_gates, const Variable& w_hh, const Variable& h0, const Variable& c0,
                const Tensor& lengths, bool reverse) {
  const Tensor x = x_gates.value().contiguous();
  const Tensor w = w_hh.value().contiguous();
  check_same_kind("lstm", x, w);
  CHECK(x.rank() == 3 && w.rank() == 2 && w.dim(0) == 4 * w.dim(1) && x.dim(2) == w.dim(0),
        "lstm: gates are ", x.shape(), ", recurrent weight ", w.shape(), "; expected [B,T,4H] and [4H,H]");
  const int64_t batch = x.dim(0);
  const int64_t steps = x.dim(1);
  const int64_t hidden = w.dim(1);
  const Tensor first_h = h0.defined() ? h0.value().contiguous() : Tensor();
  const Tensor first_c = c0.defined() ? c0.value().contiguous() : Tensor();
  for (const Tensor& state : {first_h, first_c}) {
    CHECK(!state.defined() || state.shape() == Shape({batch, hidden}), "lstm: initial state is ",
          state.shape(), "; expected [", batch, ", ", hidden, "]");
  }
  Tensor length = lengths;
  if (length.defined()) {
    CHECK(length.shape() == Shape({batch}) && length.dtype() == DType::i32, "lstm: lengths are ",
          length.dtype(), ' ', length.shape(), "; expected i32 [", batch, "]");
    length = length.contiguous();
  }
  const bool record = any_requires_grad({&x_gates, &w_hh, &h0, &c0});
  const DType cell_dtype = real_dtype(x.dtype());
  CHECK(!first_c.defined() || first_c.dtype() == cell_dtype, "lstm: initial cell is ", first_c.dtype(),
        "; expected ", cell_dtype);
  CHECK(!first_h.defined() || first_h.dtype() == x.dtype(), "lstm: initial state is ", first_h.dtype(),
        ", gates ", x.dtype());
  const auto make = [&](const Shape& shape) { return Tensor::empty(shape, x.dtype(), x.device()); };
  const auto make_cell = [&](const Shape& shape) { return Tensor::empty(shape, cell_dtype, x.device()); };
  const Tensor h = make({batch, steps, hidden});
  const Tensor c = record ? make_cell({batch, steps, hidden}) : Tensor();
  const Tensor gates = record ? make({batch, steps, 4 * hidden}) : Tensor();
  const Tensor h_last = make({batch, hidden});
  const Tensor c_last = make_cell({batch, hidden});
  visit_compute_dtype("lstm", x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LstmFwd<T> p{};
    p.x_gates = x.data<T>();
    p.w_hh = w.data<T>();
    p.h0 = data_or_null<T>(first_h);
    p.c0 = data_or_null<Real<T>>(first_c);
    p.lengths = data_or_null<int32_t>(length);
    p.h = h.data<T>();
    p.c = data_or_null<Real<T>>(c);
    p.gates = data_or_null<T>(gates);
    p.h_last = h_last.data<T>();
    p.c_last = c_last.data<Real<T>>();
    p.batch = batch;
    p.steps = steps;
    p.hidden = hidden;
    p.reverse = reverse;
    lstm_fwd(x.device(), p);
  });
  const bool want_w = w_hh.requires_grad();
  const auto backward = [=](std::span<const Tensor> g) -> std::vector<Tensor> {
    const Tensor dh = g[0].defined() ? g[0].contiguous() : Tensor();
    const Tensor dh_last = g[1].defined() ? g[1].contiguous() : Tensor();
    const Tensor dc_last = g[2].defined() ? g[2].contiguous() : Tensor();
    Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
    const Tensor previous = want_w ? Tensor::empty(h.shape(), h.dtype(), h.device()) : Tensor();
    Tensor dh0 = first_h.defined() ? Tensor::empty(first_h.shape(), x.dtype(), x.device()) : Tensor();
    Tensor dc0 = first_c.defined() ? Tensor::empty(first_c.shape(), cell_dtype, x.device()) : Tensor();
    visit_compute_dtype("lstm", x.dtype(), [&](auto tag) {
      using T = decltype(tag);
      LstmBwd<T> p{};
      p.dh = data_or_null<T>(dh);
      p.dh_last = data_or_null<T>(dh_last);
      p.dc_last = data_or_null<Real<T>>(dc_last);
      p.w_hh = w.data<T>();
      p.h = h.data<T>();
      p.h0 = data_or_null<T>(first_h);
      p.gates = gates.data<T>();
      p.c = c.data<Real<T>>();
      p.c0 = data_or_null<Real<T>>(first_c);
      p.lengths = data_or_null<int32_t>(length);
      p.dx_gates = dx.data<T>();
      p.h_previous = data_or_null<T>(previous);
      p.dh0 = data_or_null<T>(dh0);
      p.dc0 = data_or_null<Real<T>>(dc0);
      p.batch = batch;
      p.steps = steps;
      p.hidden = hidden;
      p.reverse = reverse;
      lstm_bwd(x.device(), p);
    });
    // dW_hh = sum over steps of dgates^T h_previous, one GEMM over all steps.
    Tensor dw;
    if (want_w) {
      dw = ops::matmul(dx.reshape({batch * steps, 4 * hidden}), previous.reshape({batch * steps, hidden}), true);
    }
    return {dx, dw, dh0, dc0};
  };
  std::vector<Variable> results =
      make_results("lstm", {h, h_last, c_last}, {x_gates, w_hh, h0, c0}, backward);
  return {results[0], results[1], results[2]};
}

}  // namespace clipcap::diff
