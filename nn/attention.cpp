#include "nn/attention.h"

#include "tensor/ops.h"

namespace clipcap::nn {
namespace {

void check_heads(const char* op, int64_t dim, int64_t heads) {
  CHECK(heads > 0 && dim % heads == 0, op, ": width ", dim, " does not divide into ", heads, " heads");
}

// The part-th third (or half) of a fused projection [B,T,parts*d] as heads [B,T,H,K], without a copy.
Variable heads_view(const Variable& fused, int64_t part, int64_t dim, int64_t heads) {
  const Variable own = diff::slice(fused, 2, part * dim, dim);
  const Tensor& value = own.value();
  if (!own.requires_grad()) {
    const Shape shape{value.dim(0), value.dim(1), heads, dim / heads};
    const Strides strides{value.stride(0), value.stride(1), dim / heads, 1, 0, 0};
    const int64_t offset = (value.raw() - value.storage()->data()) / size_of(value.dtype());
    return Variable(Tensor::view(value.storage(), shape, strides, offset, value.dtype()));
  }
  return diff::reshape(own, {value.dim(0), value.dim(1), heads, dim / heads});
}

Variable merged(const Variable& heads) {
  return diff::reshape(heads, {heads.dim(0), heads.dim(1), heads.dim(2) * heads.dim(3)});
}

Variable projected(const Linear& out_proj, const Variable& attended, const Variable& residual, double dropout,
                   const Run& run) {
  const Variable rows = merged(attended);
  if (!run.training || dropout == 0.0) return out_proj.forward(rows, residual);
  return diff::add(run.dropout(diff::linear(rows, out_proj.weight, out_proj.bias), dropout), residual);
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
  const Variable fused = in_proj.forward(x);
  const int64_t dim = fused.dim(2) / 3;
  const int64_t queries = residual.dim(1);
  const Variable asking = queries < fused.dim(1) ? diff::slice(fused, 1, 0, queries) : fused;
  diff::AttentionOptions options;
  options.key_valid = valid;
  options.causal = causal;
  const Variable attended =
      diff::attention(heads_view(asking, 0, dim, heads_), heads_view(fused, 1, dim, heads_),
                      heads_view(fused, 2, dim, heads_), options);
  return projected(out_proj, attended, residual, dropout, run);
}

Variable SelfAttention::step(const Variable& x, const Variable& residual, KvCache& cache) const {
  const Variable fused = in_proj.forward(x);
  const int64_t dim = fused.dim(2) / 3;
  const int64_t steps = x.dim(1);
  CHECK(cache.length + steps <= cache.key.dim(1), "SelfAttention: the cache holds ", cache.key.dim(1),
        " positions, ", cache.length + steps, " needed");
  cache.key.slice(1, cache.length, steps).copy_from(heads_view(fused, 1, dim, heads_).value());
  cache.value.slice(1, cache.length, steps).copy_from(heads_view(fused, 2, dim, heads_).value());
  diff::AttentionOptions options;
  options.causal = true;
  options.causal_offset = cache.length;
  cache.length += steps;
  const Variable attended =
      diff::attention(heads_view(fused, 0, dim, heads_), Variable(cache.key.slice(1, 0, cache.length)),
                      Variable(cache.value.slice(1, 0, cache.length)), options);
  return projected(out_proj, attended, residual, 0.0, Run{});
}

CrossAttention::CrossAttention(int64_t dim, int64_t memory_dim, int64_t heads, Generator& generator)
    : query(dim, dim, generator),
      kv_proj(memory_dim, 2 * dim, generator),
      out_proj(dim, dim, generator, {.residual = true}),
      heads_(heads) {
  check_heads("CrossAttention", dim, heads);
}

CrossMemory CrossAttention::project(const Variable& memory, const Tensor& valid) const {
  const Variable fused = kv_proj.forward(memory);
  const int64_t dim = fused.dim(2) / 2;
  return {heads_view(fused, 0, dim, heads_), heads_view(fused, 1, dim, heads_), valid};
}

Variable CrossAttention::forward(const Variable& x, const Variable& residual, const CrossMemory& memory,
                                 double dropout, const Run& run) const {
  const Variable q = query.forward(x);
  diff::AttentionOptions options;
  options.key_valid = memory.valid;
  const Variable attended =
      diff::attention(heads_view(q, 0, q.dim(2), heads_), memory.key, memory.value, options);
  return projected(out_proj, attended, residual, dropout, run);
}

}  // namespace clipcap::nn
