#include "nn/transformer.h"

namespace clipcap::nn {

EncoderLayer::EncoderLayer(int64_t dim, int64_t heads, int64_t hidden, Activation activation, double dropout,
                           Generator& generator)
    : norm_attention(dim),
      attention(dim, heads, generator),
      norm_mlp(dim),
      mlp(dim, hidden, activation, generator),
      dropout_(dropout) {}

Variable EncoderLayer::forward(const Variable& x, const Tensor& valid, bool causal, const Run& run) const {
  return forward_first(x, x.dim(1), valid, causal, run);
}

Variable EncoderLayer::forward_first(const Variable& x, int64_t rows, const Tensor& valid, bool causal,
                                     const Run& run) const {
  Call call(run, *this, "forward", x, valid);
  const Variable residual = rows < x.dim(1) ? diff::slice(x, 1, 0, rows) : x;
  const Variable attended =
      attention.forward(norm_attention.forward(x, run), residual, valid, causal, dropout_, run);
  return call.returns(mlp.forward(norm_mlp.forward(attended, run), attended, dropout_, run));
}

DecoderLayer::DecoderLayer(int64_t dim, int64_t heads, int64_t hidden, Activation activation, double dropout,
                           Generator& generator)
    : norm_self(dim),
      self_attention(dim, heads, generator),
      norm_cross(dim),
      cross_attention(dim, dim, heads, generator),
      norm_mlp(dim),
      mlp(dim, hidden, activation, generator),
      dropout_(dropout) {}

Variable DecoderLayer::forward(const Variable& x, const CrossMemory& memory, const Run& run) const {
  Call call(run, *this, "forward", x);
  const Variable own = self_attention.forward(norm_self.forward(x, run), x, {}, true, dropout_, run);
  const Variable seen = cross_attention.forward(norm_cross.forward(own, run), own, memory, dropout_, run);
  return call.returns(mlp.forward(norm_mlp.forward(seen, run), seen, dropout_, run));
}

Variable DecoderLayer::step(const Variable& x, KvCache& cache, const CrossMemory& memory,
                            const Run& run) const {
  Call call(run, *this, "step", x);
  const Variable own = self_attention.step(norm_self.forward(x, run), x, cache, run);
  // The beams of a clip become query positions of that clip: the memory is neither repeated nor read twice.
  const Variable rows = diff::reshape(own, {memory.key_value.dim(0), -1, own.dim(2)});
  const Variable seen = cross_attention.forward(norm_cross.forward(rows, run), rows, memory, 0.0, run);
  const Variable out = mlp.forward(norm_mlp.forward(seen, run), seen, 0.0, run);
  return call.returns(diff::reshape(out, own.shape()));
}

}  // namespace clipcap::nn
