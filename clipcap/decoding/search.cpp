#include "clipcap/decoding/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/ops.h"

namespace clipcap {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr uint64_t kDrawBits = 20;  // a text draws fewer numbers than that

// Log-probabilities [R,V] of the next word; pad, sos and unk, which no text contains, are ruled out first.
Tensor next_log_probabilities(const TextDecoder& decoder, const Variable& hidden, const Variable& table,
                              const SpecialTokens& tokens, const nn::Run& run) {
  const Tensor logits = decoder.logits(hidden, table, run).value().contiguous();
  const int64_t vocab = logits.dim(1);
  float* at = logits.host<float>();
  for (int64_t r = 0; r < logits.dim(0); ++r) {
    for (const int32_t id : {tokens.pad, tokens.sos, tokens.unk}) {
      if (id != tokens.eos && id >= 0 && id < vocab) at[r * vocab + id] = kNever;
    }
  }
  Tensor log_probabilities = ops::softmax(logits, true);
  const float* value = log_probabilities.host<float>();
  for (int64_t i = 0; i < log_probabilities.numel(); ++i)
    CHECK(!std::isnan(value[i]),
          "decoding: the words' probabilities are not numbers: the model's weights or the ",
          "clip's features are too large");
  return log_probabilities;
}

int32_t draw(const float* log_probabilities, int64_t vocab, const SearchOptions& options,
             Generator& generator) {
  std::vector<int32_t> order(static_cast<size_t>(vocab));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return log_probabilities[a] > log_probabilities[b]; });
  const auto limit = options.top_k > 0 ? std::min<int64_t>(options.top_k, vocab) : vocab;
  const double top = log_probabilities[order[0]];
  std::vector<double> weights;
  double total = 0;
  for (int64_t i = 0; i < limit; ++i) {
    weights.push_back(
        std::exp((log_probabilities[order[static_cast<size_t>(i)]] - top) / options.temperature));
    total += weights.back();
  }
  double kept = 0;
  size_t count = 0;
  while (count < weights.size() && (count == 0 || kept < options.top_p * total)) kept += weights[count++];
  double point = generator.uniform() * kept;
  for (size_t i = 0; i < count; ++i) {
    point -= weights[i];
    if (point < 0) return order[i];
  }
  return order[0];
}

std::vector<Hypothesis> one_row_a_clip(const TextDecoder& decoder, const Variable& table,
                                       const SpecialTokens& tokens, const Memory& memory,
                                       const SearchOptions& options, Variable* hidden, Tensor* hidden_valid) {
  const int64_t clips = memory.rows.dim(0);
  const int64_t most = decoder.options().max_length - 1;  // inputs read: sos and all words but eos
  std::vector<Hypothesis> result(static_cast<size_t>(clips));
  std::vector<int32_t> current(static_cast<size_t>(clips), tokens.sos);
  std::vector<bool> ended(static_cast<size_t>(clips), false);
  std::vector<Tensor> states;
  std::vector<std::vector<uint8_t>> read;
  std::vector<Generator> generators;
  for (size_t b = 0; b < result.size(); ++b)
    generators.emplace_back(options.seed, (options.draws.empty() ? b : options.draws[b]) << kDrawBits);
  const nn::Run run{.observer = options.observer};
  TextDecoder::State state = decoder.start(memory.rows, memory.valid, 1, run);
  for (int64_t step = 0; step < most; ++step) {
    const Variable row = decoder.step(state, table, Tensor::from(current, {clips}), run);
    if (hidden != nullptr) {
      states.push_back(row.value().reshape({clips, 1, -1}));
      read.emplace_back();
      for (const bool done : ended) read.back().push_back(done ? 0 : 1);
    }
    const Tensor log_probabilities = next_log_probabilities(decoder, row, table, tokens, run);
    const int64_t vocab = log_probabilities.dim(1);
    const std::vector<int32_t> best = ops::argmax_rows(log_probabilities);
    for (size_t b = 0; b < ended.size(); ++b) {
      if (ended[b]) continue;
      const float* chances = log_probabilities.host<float>() + static_cast<int64_t>(b) * vocab;
      const int32_t word = options.sample ? draw(chances, vocab, options, generators[b]) : best[b];
      result[b].log_probability += chances[word];
      current[b] = word;
      ended[b] = word == tokens.eos;
      // The last place belongs to eos, written or not.
      if (!ended[b] && step + 1 < most) result[b].ids.push_back(word);
    }
    if (std::all_of(ended.begin(), ended.end(), [](bool done) { return done; })) break;
  }
  for (Hypothesis& hypothesis : result) hypothesis.score = hypothesis.log_probability;
  if (hidden != nullptr) {
    *hidden = Variable(ops::concat(states, 1));
    Tensor valid = Tensor::empty({clips, static_cast<int64_t>(read.size())}, DType::u8);
    for (size_t step = 0; step < read.size(); ++step) {
      for (int64_t b = 0; b < clips; ++b) {
        valid.host<uint8_t>()[b * static_cast<int64_t>(read.size()) + static_cast<int64_t>(step)] =
            read[step][static_cast<size_t>(b)];
      }
    }
    *hidden_valid = valid;
  }
  return result;
}

double penalised(double log_probability, size_t length, double penalty) {
  return log_probability / std::pow((5.0 + static_cast<double>(length)) / 6.0, penalty);
}

struct Beam {
  std::vector<int32_t> ids;
  double log_probability = 0;
};

struct Candidate {
  double log_probability;
  size_t beam;
  int32_t word;
};

std::vector<Hypothesis> beam_search(const TextDecoder& decoder, const Variable& table,
                                    const SpecialTokens& tokens, const Memory& memory,
                                    const SearchOptions& options) {
  const auto clips = static_cast<size_t>(memory.rows.dim(0));
  const auto width = static_cast<size_t>(options.beam);
  const int64_t most = decoder.options().max_length - 1;
  // All beams of a clip start equal: only the first is alive, so that they do not all continue alike.
  std::vector<std::vector<Beam>> alive(clips, std::vector<Beam>(1));
  std::vector<std::vector<Hypothesis>> finished(clips);
  std::vector<int32_t> current(clips * width, tokens.sos);
  const nn::Run run{.observer = options.observer};
  TextDecoder::State state = decoder.start(memory.rows, memory.valid, options.beam, run);
  const auto finish = [&](size_t clip, const Beam& beam, size_t length) {
    finished[clip].push_back(
        {beam.ids, beam.log_probability, penalised(beam.log_probability, length, options.length_penalty)});
  };
  for (int64_t step = 0; step < most; ++step) {
    const Variable row =
        decoder.step(state, table, Tensor::from(current, {static_cast<int64_t>(current.size())}), run);
    const Tensor log_probabilities = next_log_probabilities(decoder, row, table, tokens, run);
    const int64_t vocab = log_probabilities.dim(1);
    std::vector<int32_t> from(clips * width);
    bool any_alive = false;
    for (size_t clip = 0; clip < clips; ++clip) {
      std::vector<Candidate> candidates;
      for (size_t k = 0; k < alive[clip].size(); ++k) {
        const float* chances =
            log_probabilities.host<float>() + static_cast<int64_t>(clip * width + k) * vocab;
        for (int32_t word = 0; word < vocab; ++word) {
          if (chances[word] == kNever) continue;
          candidates.push_back({alive[clip][k].log_probability + chances[word], k, word});
        }
      }
      // Twice the width is enough: at most `width` of them can end here.
      const size_t kept = std::min(candidates.size(), 2 * width);
      std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(kept),
                        candidates.end(), [](const Candidate& a, const Candidate& b) {
                          if (a.log_probability != b.log_probability)
                            return a.log_probability > b.log_probability;
                          return a.beam != b.beam ? a.beam < b.beam : a.word < b.word;
                        });
      std::vector<Beam> next;
      for (size_t i = 0; i < kept && next.size() < width; ++i) {
        Beam beam = alive[clip][candidates[i].beam];
        beam.log_probability = candidates[i].log_probability;
        if (candidates[i].word == tokens.eos) {
          if (i < width) finish(clip, beam, beam.ids.size() + 1);
          continue;
        }
        if (step + 1 == most) {  // no room for another word: eos takes its place
          finish(clip, beam, beam.ids.size() + 1);
          continue;
        }
        beam.ids.push_back(candidates[i].word);
        from[clip * width + next.size()] = static_cast<int32_t>(clip * width + candidates[i].beam);
        current[clip * width + next.size()] = candidates[i].word;
        next.push_back(std::move(beam));
      }
      // Done when enough texts ended and no living one can still beat the best of them.
      if (finished[clip].size() >= width && !next.empty()) {
        double best = finished[clip][0].score;
        for (const Hypothesis& h : finished[clip]) best = std::max(best, h.score);
        const size_t longest = static_cast<size_t>(most);
        if (penalised(next[0].log_probability, longest, options.length_penalty) <= best) next.clear();
      }
      for (size_t k = next.size(); k < width; ++k)
        from[clip * width + k] = static_cast<int32_t>(clip * width);
      alive[clip] = std::move(next);
      any_alive = any_alive || !alive[clip].empty();
    }
    if (!any_alive) break;
    state.reorder(Tensor::from(from, {static_cast<int64_t>(from.size())}));
  }
  std::vector<Hypothesis> result;
  for (std::vector<Hypothesis>& ended : finished) {
    result.push_back(
        *std::max_element(ended.begin(), ended.end(),
                          [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; }));
  }
  return result;
}

}  // namespace

std::vector<Hypothesis> search(const TextDecoder& decoder, const Variable& table, const SpecialTokens& tokens,
                               const Memory& memory, const SearchOptions& options, Variable* hidden,
                               Tensor* hidden_valid) {
  const NoGrad guard;
  CHECK(options.beam >= 1, "search: beam ", options.beam, "; expected at least 1");
  CHECK(!options.sample || (options.beam == 1 && options.temperature > 0),
        "search: sampling takes one beam and a temperature > 0");
  CHECK(options.draws.empty() || static_cast<int64_t>(options.draws.size()) == memory.rows.dim(0),
        "search: ", options.draws.size(), " streams of draws for ", memory.rows.dim(0), " clips");
  if (memory.rows.dim(0) == 0) return {};
  if (options.beam == 1) return one_row_a_clip(decoder, table, tokens, memory, options, hidden, hidden_valid);
  CHECK(hidden == nullptr, "search: hidden states are kept in greedy decoding only");
  return beam_search(decoder, table, tokens, memory, options);
}

}  // namespace clipcap
