// The text decoder: a pre-LN Transformer over a memory, with tied embeddings. The caption decoder
// and the three commonsense sub-decoders (section 2.4) are this class with different depths,
// memories and vocabularies.
#pragma once

#include <vector>

#include "nn/transformer.h"

namespace clipcap {

struct DecoderOptions {
  int64_t dim = 512;
  int64_t layers = 2;
  int64_t heads = 8;
  int64_t hidden = 1024;  // of the feed-forward half
  double dropout = 0.1;
  int64_t max_length = 28;  // tokens, start and end included
};

class TextDecoder : public nn::Module {
 public:
  Variable position_embedding;  // [max_length, d]
  std::vector<nn::DecoderLayer> layers;
  nn::LayerNorm norm;

  TextDecoder(const DecoderOptions& options, Generator& generator);

  /// Teacher forcing. table [V,d] is the tied embedding; ids i32 [B,L]; memory [B,M,d], valid u8 [B,M]:
  /// hidden states [B,L,d], normalised.
  [[nodiscard]] Variable forward(const Variable& table, const Tensor& ids, const Variable& memory,
                                 const Tensor& valid, const nn::Run& run) const;
  /// hidden [...,d] to logits [...,V], the same in training and in decoding.
  [[nodiscard]] Variable logits(const Variable& hidden, const Variable& table,
                                const nn::Run& run = {}) const {
    nn::Call call(run, *this, "logits", hidden);
    return call.returns(diff::linear(hidden, table, {}));
  }

  /// Decoding token by token.
  struct State {
    std::vector<nn::KvCache> self;
    std::vector<nn::CrossMemory> cross;
    int64_t position = 0;
    void reorder(const Tensor& rows);
  };
  [[nodiscard]] State start(const Variable& memory, const Tensor& valid, int64_t rows_per_clip,
                            const nn::Run& run = {}) const;
  /// ids i32 [R] of the current position: hidden states [R,d].
  [[nodiscard]] Variable step(State& state, const Variable& table, const Tensor& ids,
                              const nn::Run& run = {}) const;

  void visit(nn::Visitor& visitor) override {
    visitor("position_embedding", position_embedding);
    visitor("layers", layers);
    visitor("norm", norm);
  }
  [[nodiscard]] const DecoderOptions& options() const { return options_; }

 private:
  DecoderOptions options_;
};

/// Embedding table of a vocabulary for TextDecoder: deviation d^-1/2, so that tied logits begin
/// near unit size.
[[nodiscard]] Variable make_token_table(int64_t vocab, int64_t dim, Generator& generator);

}  // namespace clipcap
