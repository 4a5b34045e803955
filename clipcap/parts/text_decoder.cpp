#include "clipcap/parts/text_decoder.h"

#include <cmath>

namespace clipcap {

Variable make_token_table(int64_t vocab, int64_t dim, Generator& generator) {
  return nn::normal_parameter({vocab, dim}, 1.0 / std::sqrt(static_cast<double>(dim)), generator);
}

TextDecoder::TextDecoder(const DecoderOptions& options, Generator& generator)
    : position_embedding(nn::normal_parameter({options.max_length, options.dim}, 0.1, generator)),
      norm(options.dim),
      options_(options) {
  for (int64_t i = 0; i < options.layers; ++i) {
    layers.emplace_back(options.dim, options.heads, options.hidden, Activation::gelu, options.dropout,
                        generator);
  }
}

Variable TextDecoder::forward(const Variable& table, const Tensor& ids, const Variable& memory,
                              const Tensor& valid, const nn::Run& run) const {
  CHECK(ids.rank() == 2 && ids.dim(1) <= options_.max_length, "TextDecoder: ids are ", ids.shape(),
        "; at most ", options_.max_length, " tokens");
  nn::Call call(run, *this, "forward", ids, memory, valid);
  const double scale = std::sqrt(static_cast<double>(options_.dim));
  Variable x = diff::add(diff::scale(diff::embedding(ids, table), scale),
                         diff::slice(position_embedding, 0, 0, ids.dim(1)));
  x = run.dropout(x, options_.dropout);
  for (const nn::DecoderLayer& layer : layers) {
    x = layer.forward(x, layer.cross_attention.project(memory, valid, run), run);
  }
  return call.returns(norm.forward(x, run));
}

void TextDecoder::State::reorder(const Tensor& rows) {
  for (nn::KvCache& cache : self) cache.reorder(rows);
}

TextDecoder::State TextDecoder::start(const Variable& memory, const Tensor& valid, int64_t rows_per_clip,
                                      const nn::Run& run) const {
  const nn::Call call(run, *this, "start", memory, valid);
  State state;
  for (const nn::DecoderLayer& layer : layers) {
    const int64_t heads = layer.self_attention.heads();
    state.self.push_back(
        nn::KvCache::make(memory.dim(0) * rows_per_clip, options_.max_length, heads, options_.dim / heads));
    state.cross.push_back(layer.cross_attention.project(memory, valid, run));
  }
  return state;
}

Variable TextDecoder::step(State& state, const Variable& table, const Tensor& ids, const nn::Run& run) const {
  CHECK(state.position < options_.max_length, "TextDecoder: more than ", options_.max_length, " steps");
  nn::Call call(run, *this, "step", ids);
  const double scale = std::sqrt(static_cast<double>(options_.dim));
  const Variable embedded = diff::scale(diff::embedding(ids, table), scale);
  Variable x = diff::reshape(diff::add(embedded, diff::slice(position_embedding, 0, state.position, 1)),
                             {-1, 1, options_.dim});
  for (size_t i = 0; i < layers.size(); ++i) x = layers[i].step(x, state.self[i], state.cross[i], run);
  ++state.position;
  return call.returns(diff::reshape(norm.forward(x, run), {-1, options_.dim}));
}

}  // namespace clipcap
