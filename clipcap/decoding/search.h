// Decoding: greedy, beam and sampled, with K/V caches, a whole batch of clips at once.
#pragma once

#include <string>
#include <vector>

#include "clipcap/model.h"

namespace clipcap {

struct SearchOptions {
  int64_t beam = 1;  // 1 = greedy (or sampling)
  /// Beam scores are divided by ((5 + length) / 6)^length_penalty (Wu et al. 2016, eq. 14).
  double length_penalty = 1.0;
  bool sample = false;       // draw from the softmax instead of taking its maximum
  double temperature = 1.0;  // of sampling
  int64_t top_k = 0;         // sample among the k likeliest words; 0 = all
  double top_p = 1.0;        // sample among the likeliest words that together reach p
  uint64_t seed = 0;         // of sampling
  /// One a clip: clips of the same number draw alike, whatever stands beside them. Empty: their places.
  std::vector<uint64_t> draws{};
  nn::Observer* observer = nullptr;  // sees every module's calls
};

/// One decoded text: token ids without sos and eos, and its log-probability (natural logarithm).
struct Hypothesis {
  std::vector<int32_t> ids;
  double log_probability = 0;
  double score = 0;  // log_probability, or the length-penalised score of a beam
};

/// Decodes one text for each clip of the memory. pad, sos and unk are never produced.
/// `hidden`, when given (greedy only), receives the hidden states [B,L,d] at the inputs read (sos, w_1, …)
/// and `hidden_valid` u8 [B,L]: what the caption decoder attends to.
[[nodiscard]] std::vector<Hypothesis> search(const TextDecoder& decoder, const Variable& table,
                                             const SpecialTokens& tokens, const Memory& memory,
                                             const SearchOptions& options, Variable* hidden = nullptr,
                                             Tensor* hidden_valid = nullptr);

}  // namespace clipcap
