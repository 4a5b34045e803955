// Attention and LSTM.
#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/lstm.h"
#include "tensor/ops.h"

namespace clipcap::diff {
namespace {

AttentionStrides strides_of(const Tensor& x) { return {x.stride(0), x.stride(1), x.stride(2)}; }

// The kernels read [..., H,K] through strides but want the K values of a head adjacent.
Tensor with_adjacent_heads(const Tensor& x) {
  return x.dim(-1) <= 1 || x.stride(-1) == 1 ? x : x.contiguous();
}

// Part i of a fused projection [B,T,parts,H,K]: [B,T,H,K], a view.
Tensor part(const Tensor& fused, int64_t i) {
  return fused.slice(2, i, 1).reshape({fused.dim(0), fused.dim(1), fused.dim(3), fused.dim(4)});
}

// One attention, forward and backward, over views of any strides.
struct Attention {
  Tensor q;      // [B,Tq,H,K]
  Tensor k;      // [B,Tk,H,K]
  Tensor v;      // [B,Tk,H,K]
  Tensor valid;  // u8 [B,Tk] or undefined
  Tensor o;      // [B,Tq,H,K], contiguous
  Tensor lse;    // [B,H,Tq]; undefined when no gradient is wanted
  double scale = 0;
  bool causal = false;
  int64_t causal_offset = 0;

  // What both directions' kernels are told alike.
  template <class T, class Params>
  void describe(Params& p) const {
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
    p.scale = static_cast<Real<T>>(scale);
  }

  void backward(const Tensor& output_grad, const Tensor& dq, const Tensor& dk, const Tensor& dv) const {
    const Tensor d_o = output_grad.contiguous();
    visit_compute_dtype("attention", q.dtype(), [&](auto tag) {
      using T = decltype(tag);
      AttentionBwd<T> p{};
      describe<T>(p);
      p.d_o = d_o.data<T>();
      p.dq = dq.data<T>();
      p.dk = dk.data<T>();
      p.dv = dv.data<T>();
      p.dq_strides = strides_of(dq);
      p.dk_strides = strides_of(dk);
      p.dv_strides = strides_of(dv);
      attention_bwd(q.device(), p);
    });
  }
};

double scale_of(const AttentionOptions& options, int64_t head_dim) {
  return options.scale != 0 ? options.scale
                            : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, head_dim)));
}

void check_operands(const Tensor& q, const Tensor& k, const AttentionOptions& options) {
  check_same_kind("attention", q, k);
  CHECK(
      q.rank() == 4 && k.rank() == 4 && q.dim(0) == k.dim(0) && q.dim(2) == k.dim(2) && q.dim(3) == k.dim(3),
      "attention: query is ", q.shape(), ", key ", k.shape(), "; expected [B,Tq,H,K] and [B,Tk,H,K]");
  const Tensor& valid = options.key_valid;
  CHECK(!valid.defined() || (valid.dtype() == DType::u8 && valid.shape() == Shape({k.dim(0), k.dim(1)})),
        "attention: key_valid is ", valid.dtype(), ' ', valid.shape(), ", key ", k.shape());
}

Attention attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                 bool record) {
  check_operands(q, k, options);
  check_same_kind("attention", k, v);
  CHECK(k.shape() == v.shape(), "attention: key is ", k.shape(), ", value ", v.shape());
  Attention a;
  a.q = q;
  a.k = k;
  a.v = v;
  if (options.key_valid.defined()) a.valid = options.key_valid.contiguous();
  a.o = Tensor::empty(q.shape(), q.dtype(), q.device());
  if (record) a.lse = Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, real_dtype(q.dtype()), q.device());
  a.scale = scale_of(options, q.dim(3));
  a.causal = options.causal;
  a.causal_offset = options.causal_offset;
  visit_compute_dtype("attention", q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    AttentionFwd<T> p{};
    a.describe<T>(p);
    attention_fwd(q.device(), p);
  });
  return a;
}

Tensor empty_like(const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), x.device()); }

}  // namespace

Variable attention(const Variable& query, const Variable& key, const Variable& value,
                   const AttentionOptions& options) {
  const bool record = any_requires_grad({&query, &key, &value});
  const Attention a = attend(with_adjacent_heads(query.value()), with_adjacent_heads(key.value()),
                             with_adjacent_heads(value.value()), options, record);
  return make_result("attention", a.o, {query, key, value},
                     [a](const BackwardArgs& g) -> std::vector<Tensor> {
                       const Tensor dq = empty_like(a.q);
                       const Tensor dk = empty_like(a.k);
                       const Tensor dv = empty_like(a.v);
                       a.backward(g[0], dq, dk, dv);
                       return {dq, dk, dv};
                     });
}

Variable self_attention(const Variable& qkv, int64_t queries, const AttentionOptions& options) {
  CHECK(qkv.value().rank() == 5 && qkv.dim(2) == 3 && queries >= 0 && queries <= qkv.dim(1),
        "self_attention: the fused projection is ", qkv.shape(), ", ", queries,
        " queries; expected [B,T,3,H,K] and at most T");
  const Tensor fused = with_adjacent_heads(qkv.value());
  const bool record = any_requires_grad({&qkv});
  Tensor query = part(fused, 0).slice(1, 0, queries);
  Tensor memory = fused.slice(2, 1, 2);  // key and value
  if (record && queries < fused.dim(1)) {
    // The positions that are not asked would stay in memory until backward; their queries are a third of all.
    query = query.contiguous();
    memory = memory.contiguous();
  }
  const Attention a = attend(query, part(memory, 0), part(memory, 1), options, record);
  const Shape shape = fused.shape();
  return make_result("self_attention", a.o, {qkv},
                     [a, shape, queries](const BackwardArgs& g) -> std::vector<Tensor> {
                       const Tensor dqkv = Tensor::empty(shape, g[0].dtype(), g[0].device());
                       const Tensor dq = part(dqkv, 0);
                       a.backward(g[0], dq.slice(1, 0, queries), part(dqkv, 1), part(dqkv, 2));
                       if (queries < shape[1]) dq.slice(1, queries, shape[1] - queries).fill_zero();
                       return {dqkv};
                     });
}

Variable cross_attention(const Variable& query, const Variable& kv, const AttentionOptions& options) {
  CHECK(kv.value().rank() == 5 && kv.dim(2) == 2, "cross_attention: the fused projection is ", kv.shape(),
        "; expected [B,Tk,2,H,K]");
  const Tensor fused = with_adjacent_heads(kv.value());
  const Attention a = attend(with_adjacent_heads(query.value()), part(fused, 0), part(fused, 1), options,
                             any_requires_grad({&query, &kv}));
  const Shape shape = fused.shape();
  return make_result("cross_attention", a.o, {query, kv},
                     [a, shape](const BackwardArgs& g) -> std::vector<Tensor> {
                       const Tensor dq = empty_like(a.q);
                       const Tensor dkv = Tensor::empty(shape, g[0].dtype(), g[0].device());
                       a.backward(g[0], dq, part(dkv, 0), part(dkv, 1));
                       return {dq, dkv};
                     });
}

Tensor attention_probabilities(const Tensor& q, const Tensor& k, const AttentionOptions& options) {
  check_operands(q, k, options);
  const Tensor products = ops::matmul(q.transpose(1, 2), k.transpose(1, 2), false, true);
  const Tensor scores = ops::affine(products, scale_of(options, q.dim(3))).to(kCpu).to(real_dtype(q.dtype()));
  const Tensor valid = options.key_valid.defined() ? options.key_valid.to(kCpu).contiguous() : Tensor();
  const int64_t rows = scores.dim(1) * scores.dim(2);
  const int64_t keys = scores.dim(3);
  const uint8_t* attend_to = valid.defined() ? valid.host<uint8_t>() : nullptr;
  const auto mask = [&](auto* score) {
    for (int64_t b = 0; b < scores.dim(0); ++b) {
      for (int64_t row = 0; row < rows; ++row) {
        // The last key that a causal query may still see.
        const int64_t last = row % scores.dim(2) + options.causal_offset;
        for (int64_t j = 0; j < keys; ++j, ++score) {
          const bool hidden = attend_to != nullptr && attend_to[b * keys + j] == 0;
          if (hidden || (options.causal && j > last)) *score = -std::numeric_limits<double>::infinity();
        }
      }
    }
  };
  if (scores.dtype() == DType::f64) {
    mask(scores.host<double>());
  } else {
    mask(scores.host<float>());
  }
  return ops::softmax(scores);
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
  // What only dW_hh needs is kept for nothing else.
  const Tensor kept_h = saved_for(w_hh, h);
  const Tensor kept_first_h = saved_for(w_hh, first_h);
  const auto backward = [=](const BackwardArgs& g) -> std::vector<Tensor> {
    const Tensor dh = g[0].defined() ? g[0].contiguous() : Tensor();
    const Tensor dh_last = g[1].defined() ? g[1].contiguous() : Tensor();
    const Tensor dc_last = g[2].defined() ? g[2].contiguous() : Tensor();
    const auto empty = [&](const Shape& shape, DType dtype) {
      return Tensor::empty(shape, dtype, gates.device());
    };
    // The kernel lets the gradient take the gates' place.
    const Tensor dx = g.last() ? gates : empty(gates.shape(), gates.dtype());
    const Tensor previous = g.wants(1) ? empty(kept_h.shape(), gates.dtype()) : Tensor();
    const Tensor dh0 = g.wants(2) ? empty({batch, hidden}, gates.dtype()) : Tensor();
    const Tensor dc0 = g.wants(3) ? empty({batch, hidden}, cell_dtype) : Tensor();
    visit_compute_dtype("lstm", gates.dtype(), [&](auto tag) {
      using T = decltype(tag);
      LstmBwd<T> p{};
      p.dh = data_or_null<T>(dh);
      p.dh_last = data_or_null<T>(dh_last);
      p.dc_last = data_or_null<Real<T>>(dc_last);
      p.w_hh = w.data<T>();
      p.h = data_or_null<T>(kept_h);
      p.h0 = data_or_null<T>(kept_first_h);
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
      lstm_bwd(gates.device(), p);
    });
    // dW_hh = sum over steps of dgates^T h_previous, one GEMM over all steps.
    Tensor dw;
    if (g.wants(1)) {
      dw = ops::matmul(dx.reshape({batch * steps, 4 * hidden}), previous.reshape({batch * steps, hidden}),
                       true);
    }
    return {dx, dw, dh0, dc0};
  };
  std::vector<Variable> results =
      make_results("lstm", {h, h_last, c_last}, {x_gates, w_hh, h0, c0}, backward);
  return {results[0], results[1], results[2]};
}

}  // namespace clipcap::diff
