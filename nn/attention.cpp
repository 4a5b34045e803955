#include "nn/attention.h"

#include "tensor/ops.h"

namespace clipcap::nn {
namespace {

void check_heads(const char* op, int64_t dim, int64_t heads) {
  CHECK(heads > 0 && dim % heads == 0, op, ": width ", dim, " does not divide into ", heads, " heads");
}

// A projection [B,T,parts*d] as [B,T,parts,H,K].
Variable split(const Variable& fused, int64_t parts, int64_t heads) {
  const int64_t dim = fused.dim(2) / parts;
  return diff::reshape(fused, {fused.dim(0), fused.dim(1), parts, heads, dim / heads});
}

// Part i of that, [B,T,H,K], without a copy.
Tensor part(const Variable& fused, int64_t i) {
  const Tensor& x = fused.value();
  return x.slice(2, i, 1).reshape({x.dim(0), x.dim(1), x.dim(3), x.dim(4)});
}

Variable merged(const Variable& heads) {
  return diff::reshape(heads, {heads.dim(0), heads.dim(1), heads.dim(2) * heads.dim(3)});
}

}  // namespace

KvCache KvCache::make(int64_t batch, int64_t max_length, int64_t heads, int64_t head_dim) {
  const Shape shape{batch, max_length, heads, head_dim};
  return {Tensor::zeros(shape), Tensor::zeros(shape), 0};
}

void KvCache::reorder(const Tensor& rows) {
  if (length == 0) return;
  for (const Tensor& part : {key, value}) {
    const Tensor filled = part.slice(1, 0, length);
    filled.copy_from(ops::gather_rows(filled.contiguous(), rows));
  }
}

SelfAttention::SelfAttention(int64_t dim, int64_t heads, Generator& generator)
    : in_proj(dim, 3 * dim, generator), out_proj(dim, dim, generator, {.residual = true}), heads_(heads) {
  check_heads("SelfAttention", dim, heads);
}

Variable SelfAttention::forward(const Variable& x, const Variable& residual, const Tensor& valid, bool causal,
                                double dropout, const Run& run) const {
  Call call(run, *this, "forward", x, residual, valid);
  const Variable fused = split(in_proj.forward(x, run), 3, heads_);
  const int64_t queries = residual.dim(1);
  diff::AttentionOptions options;
  options.key_valid = valid;
  options.causal = causal;
  call.note("probabilities", [&] {
    return diff::attention_probabilities(part(fused, 0).slice(1, 0, queries), part(fused, 1), options);
  });
  const Variable attended = diff::self_attention(fused, queries, options);
  return call.returns(out_proj.forward(merged(attended), residual, run, dropout));
}

Variable SelfAttention::step(const Variable& x, const Variable& residual, KvCache& cache,
                             const Run& run) const {
  Call call(run, *this, "step", x, residual);
  const Variable fused = split(in_proj.forward(x, run), 3, heads_);
  CHECK(!fused.requires_grad(), "SelfAttention::step: the cache keeps no history; decode under NoGrad");
  const int64_t steps = x.dim(1);
  CHECK(cache.length + steps <= cache.key.dim(1), "SelfAttention: the cache holds ", cache.key.dim(1),
        " positions, ", cache.length + steps, " needed");
  cache.key.slice(1, cache.length, steps).copy_from(part(fused, 1));
  cache.value.slice(1, cache.length, steps).copy_from(part(fused, 2));
  diff::AttentionOptions options;
  options.causal = true;
  options.causal_offset = cache.length;
  cache.length += steps;
  const Variable query(part(fused, 0));
  const Variable key(cache.key.slice(1, 0, cache.length));
  const Variable value(cache.value.slice(1, 0, cache.length));
  call.note("probabilities",
            [&] { return diff::attention_probabilities(query.value(), key.value(), options); });
  return call.returns(out_proj.forward(merged(diff::attention(query, key, value, options)), residual, run));
}

CrossAttention::CrossAttention(int64_t dim, int64_t memory_dim, int64_t heads, Generator& generator)
    : query(dim, dim, generator),
      kv_proj(memory_dim, 2 * dim, generator),
      out_proj(dim, dim, generator, {.residual = true}),
      heads_(heads) {
  check_heads("CrossAttention", dim, heads);
}

CrossMemory CrossAttention::project(const Variable& memory, const Tensor& valid, const Run& run) const {
  Call call(run, *this, "project", memory, valid);
  return {call.returns(split(kv_proj.forward(memory, run), 2, heads_)), valid};
}

Variable CrossAttention::forward(const Variable& x, const Variable& residual, const CrossMemory& memory,
                                 double dropout, const Run& run) const {
  Call call(run, *this, "forward", x, residual, memory.key_value, memory.valid);
  const Variable q = query.forward(x, run);
  const Variable heads = diff::reshape(q, {q.dim(0), q.dim(1), heads_, q.dim(2) / heads_});
  diff::AttentionOptions options;
  options.key_valid = memory.valid;
  call.note("probabilities",
            [&] { return diff::attention_probabilities(heads.value(), part(memory.key_value, 0), options); });
  const Variable attended = diff::cross_attention(heads, memory.key_value, options);
  return call.returns(out_proj.forward(merged(attended), residual, run, dropout));
}

}  // namespace clipcap::nn
