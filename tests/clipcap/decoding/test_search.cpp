// Search over a vocabulary so small that every text can be written down: beams against all texts and against
// a plain beam search, greedy against its definition, sampling against the frequencies that it promises. The
// reference runs the decoder by teacher forcing on one clip, without caches, batches or reordering.
#include "clipcap/decoding/search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "tests/golden_file.h"

using namespace clipcap;
using testing::difference;

namespace {

using Ids = std::vector<int32_t>;

constexpr int64_t kDim = 8;
constexpr double kNever = -std::numeric_limits<double>::infinity();

// A decoder with sharp opinions, and clips of different memories: clip b has 2 + b rows of its own.
struct World {
  World(int64_t vocab, int64_t max_length, int64_t clips, uint64_t seed, double deviation = 0.7)
      : decoder(make_decoder(max_length, seed, deviation)),
        table(Variable(random({vocab, kDim}, seed + 1, 0.0, deviation))),
        memory{Variable(random({clips, 1 + clips, kDim}, seed + 2, 0.0, 1.5)),
               valid_mask(lengths(clips), 1 + clips)} {}

  static Tensor random(const Shape& shape, uint64_t seed, double mean, double deviation) {
    return Tensor::from(testing::random_values<float>(shape.numel(), seed, mean, deviation), shape);
  }
  static std::vector<int32_t> lengths(int64_t clips) {
    std::vector<int32_t> result;
    for (int64_t b = 0; b < clips; ++b) result.push_back(static_cast<int32_t>(std::min(2 + b, 1 + clips)));
    return result;
  }
  static TextDecoder make_decoder(int64_t max_length, uint64_t seed, double deviation) {
    Generator generator(seed);
    TextDecoder decoder({kDim, 2, 2, 12, 0.0, max_length}, generator);
    uint64_t n = 0;
    for (const nn::NamedParameter& p : nn::parameters(decoder))
      p.variable.set_value(random(p.variable.shape(), seed + 100 + n++, 0.0, deviation));
    return decoder;
  }

  [[nodiscard]] Memory one(int64_t clip) const {
    return {Variable(memory.rows.value().slice(0, clip, 1).contiguous()),
            memory.valid.slice(0, clip, 1).contiguous()};
  }
  // The same clip many times.
  [[nodiscard]] Memory repeated(int64_t clip, int64_t times) const {
    const Memory single = one(clip);
    const Shape rows{times, single.rows.dim(1), kDim};
    return {Variable(single.rows.value().expand(rows).contiguous()),
            single.valid.expand({times, single.rows.dim(1)}).contiguous()};
  }

  // States [T,d] at the inputs sos, words…
  [[nodiscard]] Tensor states(int64_t clip, const Ids& words) const {
    const NoGrad guard;
    Ids inputs{tokens.sos};
    inputs.insert(inputs.end(), words.begin(), words.end());
    const auto count = static_cast<int64_t>(inputs.size());
    const Memory own = one(clip);
    return decoder.forward(table, Tensor::from(inputs, {1, count}), own.rows, own.valid, {})
        .value()
        .reshape({count, kDim});
  }
  // Log-probability of each next token after sos, words…; kNever for pad and sos, which no text contains.
  [[nodiscard]] std::vector<double> next(int64_t clip, const Ids& words) const {
    const Tensor hidden = states(clip, words);
    const Tensor last = hidden.slice(0, hidden.dim(0) - 1, 1).contiguous();
    std::vector<double> logits =
        decoder.logits(Variable(last), table).value().to(DType::f64).to_vector<double>();
    for (const int32_t id : {tokens.pad, tokens.sos, tokens.unk}) {
      if (id >= 0 && id != tokens.eos) logits[static_cast<size_t>(id)] = kNever;
    }
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit);
    for (double& logit : logits) logit -= std::log(sum);
    return logits;
  }
  [[nodiscard]] std::vector<Hypothesis> search(const SearchOptions& options) const {
    return clipcap::search(decoder, table, tokens, memory, options);
  }

  TextDecoder decoder;
  Variable table;
  SpecialTokens tokens{};  // 0 pad, 2 sos, 3 eos
  Memory memory;
};

int32_t best_of(const std::vector<double>& chances) {
  return static_cast<int32_t>(std::max_element(chances.begin(), chances.end()) - chances.begin());
}

// Wu et al. 2016, equation 14; the end counts as a token.
double penalised(double log_probability, size_t words, double penalty) {
  return log_probability / std::pow((5.0 + static_cast<double>(words + 1)) / 6.0, penalty);
}

// Every text that `decoder` can write for a clip. The last place belongs to eos, written or not: whatever
// stands there ends the text and is not part of it.
std::vector<Hypothesis> every_text(const World& world, int64_t clip) {
  std::vector<Hypothesis> result;
  const auto most = static_cast<size_t>(world.decoder.options().max_length - 1);
  const std::function<void(Ids&, double)> extend = [&](Ids& words, double log_probability) {
    const std::vector<double> chances = world.next(clip, words);
    for (int32_t id = 0; id < static_cast<int32_t>(chances.size()); ++id) {
      const double chance = chances[static_cast<size_t>(id)];
      if (chance == kNever) continue;
      const double now = log_probability + chance;
      if (id == world.tokens.eos || words.size() + 1 == most) {
        result.push_back({words, now, 0.0});
      } else {
        words.push_back(id);
        extend(words, now);
        words.pop_back();
      }
    }
  };
  Ids words;
  extend(words, 0.0);
  return result;
}

// Beam search as it is written in textbooks: extend all, keep the best `width` unfinished; what ends
// within the best `width` continuations is finished. Ends when `width` texts are and none alive can
// overtake the best.
Hypothesis plain_beam_search(const World& world, int64_t clip, size_t width, double penalty) {
  struct Live {
    Ids words;
    double log_probability;
  };
  const auto most = static_cast<size_t>(world.decoder.options().max_length - 1);
  std::vector<Live> alive{{{}, 0.0}};
  std::vector<Hypothesis> finished;
  const auto better = [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; };
  for (size_t step = 1; step <= most && !alive.empty(); ++step) {
    std::vector<std::pair<Live, int32_t>> continuations;
    for (const Live& live : alive) {
      const std::vector<double> chances = world.next(clip, live.words);
      for (int32_t id = 0; id < static_cast<int32_t>(chances.size()); ++id) {
        if (chances[static_cast<size_t>(id)] == kNever) continue;
        continuations.push_back({{live.words, live.log_probability + chances[static_cast<size_t>(id)]}, id});
      }
    }
    std::stable_sort(continuations.begin(), continuations.end(), [](const auto& a, const auto& b) {
      return a.first.log_probability > b.first.log_probability;
    });
    alive.clear();
    for (size_t rank = 0; rank < continuations.size() && alive.size() < width; ++rank) {
      auto [live, id] = continuations[rank];
      const double score = penalised(live.log_probability, live.words.size(), penalty);
      if (step == most) {
        if (rank < 2 * width) finished.push_back({live.words, live.log_probability, score});
      } else if (id == world.tokens.eos) {
        if (rank < width) finished.push_back({live.words, live.log_probability, score});
      } else if (rank < 2 * width) {
        live.words.push_back(id);
        alive.push_back(live);
      }
    }
    if (finished.size() >= width && !alive.empty()) {
      const double best = std::max_element(finished.begin(), finished.end(), better)->score;
      if (penalised(alive[0].log_probability, most - 1, penalty) <= best) break;
    }
  }
  return *std::max_element(finished.begin(), finished.end(), better);
}

void check_same(const Hypothesis& got, const Hypothesis& expected) {
  CHECK(got.ids == expected.ids);
  CHECK(got.log_probability == Approx(expected.log_probability).epsilon(1e-4));
  CHECK(got.score == Approx(expected.score).epsilon(1e-4));
}

// The first token of each of many texts; eos when a text is empty.
std::map<int32_t, int64_t> first_tokens(const World& world, int64_t clip, SearchOptions options,
                                        int64_t texts) {
  options.sample = true;
  std::map<int32_t, int64_t> counts;
  for (const Hypothesis& text :
       search(world.decoder, world.table, world.tokens, world.repeated(clip, texts), options)) {
    ++counts[text.ids.empty() ? world.tokens.eos : text.ids[0]];
  }
  return counts;
}

// Pearson's chi-square of the counts against probabilities; an id of probability 0 must not occur. With at
// most seven classes, right frequencies stay below 30 in all but one of ten thousand seeds.
void check_frequencies(const std::map<int32_t, int64_t>& counts, const std::vector<double>& probabilities,
                       int64_t texts) {
  double chi_square = 0;
  for (size_t id = 0; id < probabilities.size(); ++id) {
    const auto found = counts.find(static_cast<int32_t>(id));
    const double count = found == counts.end() ? 0.0 : static_cast<double>(found->second);
    const double expected = probabilities[id] * static_cast<double>(texts);
    INFO("id " << id << ": " << count << " times, expected " << expected);
    if (probabilities[id] == 0.0) {
      CHECK(count == 0.0);
    } else {
      REQUIRE(expected > 20.0);  // too few would say nothing
      chi_square += (count - expected) * (count - expected) / expected;
    }
  }
  CHECK(chi_square < 30.0);
}

std::vector<double> normalised(std::vector<double> weights) {
  double sum = 0;
  for (const double weight : weights) sum += weight;
  for (double& weight : weights) weight /= sum;
  return weights;
}

// exp(log_probability / temperature), normalised.
std::vector<double> tempered(const std::vector<double>& log_probabilities, double temperature) {
  std::vector<double> weights;
  for (const double value : log_probabilities) weights.push_back(std::exp(value / temperature));
  return normalised(weights);
}

// The ids from the likeliest on.
std::vector<size_t> ranked(const std::vector<double>& probabilities) {
  std::vector<size_t> order(probabilities.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  return order;
}

std::vector<double> only_first(std::vector<double> probabilities, size_t count) {
  const std::vector<size_t> order = ranked(probabilities);
  for (size_t i = count; i < order.size(); ++i) probabilities[order[i]] = 0.0;
  return normalised(probabilities);
}

}  // namespace

TEST_CASE("search: a beam that holds everything finds the best of all texts, for every length penalty",
          "[search]") {
  std::set<std::pair<uint64_t, Ids>> winners;
  for (const uint64_t seed : {40U, 41U, 42U}) {
    const World world(7, 6, 2, seed, 0.4);
    for (int64_t clip = 0; clip < 2; ++clip) {
      std::vector<Hypothesis> all = every_text(world, clip);
      CHECK(all.size() == 1 + 4 + 16 + 64 + 256 * 5);
      for (const double penalty : {0.0, 0.6, 1.0, 3.0}) {
        INFO("seed " << seed << ", clip " << clip << ", penalty " << penalty);
        for (Hypothesis& text : all) text.score = penalised(text.log_probability, text.ids.size(), penalty);
        const Hypothesis& best =
            *std::max_element(all.begin(), all.end(),
                              [](const Hypothesis& a, const Hypothesis& b) { return a.score < b.score; });
        SearchOptions options;
        options.beam = 400;
        options.length_penalty = penalty;
        check_same(world.search(options)[static_cast<size_t>(clip)], best);
        winners.insert({seed * 2 + static_cast<uint64_t>(clip), best.ids});
      }
    }
  }
  CHECK(winners.size() > 9);  // of six clips: else the penalty would not have been tried
}

TEST_CASE("search: narrow beams are a plain beam search", "[search]") {
  int wrong_for_greedy = 0;
  for (const uint64_t seed : {11U, 22U, 33U, 44U, 55U, 66U, 77U, 88U}) {
    // Flat opinions and a late end: many texts that compete, some of them long after others have ended.
    const World world(9, 12, 3, seed, 0.35);
    const std::vector<Hypothesis> greedy = world.search({});
    for (const int64_t width : {2, 3}) {
      for (const double penalty : {0.0, 1.0, 4.0}) {
        SearchOptions options;
        options.beam = width;
        options.length_penalty = penalty;
        const std::vector<Hypothesis> found = world.search(options);
        for (int64_t clip = 0; clip < 3; ++clip) {
          INFO("seed " << seed << ", width " << width << ", penalty " << penalty << ", clip " << clip);
          const auto at = static_cast<size_t>(clip);
          check_same(found[at], plain_beam_search(world, clip, static_cast<size_t>(width), penalty));
          wrong_for_greedy += found[at].ids != greedy[at].ids;
        }
      }
    }
  }
  CHECK(wrong_for_greedy > 20);  // else a beam of one would have passed
}

TEST_CASE("search: greedy takes the likeliest word each time, and adds up its chances", "[search]") {
  size_t longest = 0;
  size_t shortest = 100;
  for (const uint64_t seed : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U}) {
    const World world(9, 7, 4, seed);
    const std::vector<Hypothesis> found = world.search({});
    for (int64_t clip = 0; clip < 4; ++clip) {
      INFO("seed " << seed << ", clip " << clip);
      Hypothesis expected;
      for (int64_t step = 0; step < 6; ++step) {
        const std::vector<double> chances = world.next(clip, expected.ids);
        const int32_t word = best_of(chances);
        expected.log_probability += chances[static_cast<size_t>(word)];
        if (word == world.tokens.eos) break;
        if (step < 5) expected.ids.push_back(word);  // the last place belongs to eos
      }
      expected.score = expected.log_probability;
      check_same(found[static_cast<size_t>(clip)], expected);
      longest = std::max(longest, expected.ids.size());
      shortest = std::min(shortest, expected.ids.size());
    }
  }
  CHECK(longest == 5);  // both ends were tried: cut off, and ended at once or soon
  CHECK(shortest <= 1);
}

TEST_CASE("search: a clip's text does not depend on its neighbours", "[search]") {
  const World world(9, 8, 4, 77, 0.45);
  for (const int64_t beam : {1, 3}) {
    SearchOptions options;
    options.beam = beam;
    const std::vector<Hypothesis> together = world.search(options);
    for (int64_t clip = 0; clip < 4; ++clip) {
      INFO("beam " << beam << ", clip " << clip);
      const auto alone = search(world.decoder, world.table, world.tokens, world.one(clip), options);
      REQUIRE(alone.size() == 1);
      check_same(together[static_cast<size_t>(clip)], alone[0]);
    }
  }
  CHECK(search(world.decoder, world.table, world.tokens,
               {Variable(Tensor::zeros({0, 2, kDim})), Tensor::zeros({0, 2}, DType::u8)}, {})
            .empty());
}

TEST_CASE("search: sampling has the softmax's frequencies, at any temperature", "[search]") {
  const World world(9, 3, 2, 5, 0.4);
  constexpr int64_t kTexts = 20'000;
  for (const double temperature : {1.0, 0.5, 2.0}) {
    INFO("temperature " << temperature);
    SearchOptions options;
    options.temperature = temperature;
    options.seed = 3;
    check_frequencies(first_tokens(world, 0, options, kTexts), tempered(world.next(0, {}), temperature),
                      kTexts);
  }
  SearchOptions other;
  other.seed = 4;
  CHECK(first_tokens(world, 0, other, 200) == first_tokens(world, 0, other, 200));
  SearchOptions another;
  another.seed = 5;
  CHECK(first_tokens(world, 0, other, 200) != first_tokens(world, 0, another, 200));
}

TEST_CASE("search: top-k and top-p sample among the likeliest only, with their shares", "[search]") {
  const World world(9, 3, 2, 5, 0.4);
  constexpr int64_t kTexts = 20'000;
  const std::vector<double> chances = world.next(0, {});
  const std::vector<double> all = tempered(chances, 1.0);
  for (const int64_t k : {1, 2, 4, 100}) {
    INFO("top-k " << k);
    SearchOptions options;
    options.top_k = k;
    check_frequencies(first_tokens(world, 0, options, kTexts), only_first(all, static_cast<size_t>(k)),
                      kTexts);
  }
  // p between the sums of the likeliest n and n + 1: n + 1 words are kept, the last being the one
  // that reaches p.
  const std::vector<size_t> order = ranked(all);
  double below = 0;
  for (size_t n = 0; n < 4; ++n) {
    const double p = below + 0.5 * all[order[n]];
    below += all[order[n]];
    INFO("top-p " << p << ": " << n + 1 << " words");
    SearchOptions options;
    options.top_p = p;
    check_frequencies(first_tokens(world, 0, options, kTexts), only_first(all, n + 1), kTexts);
  }
  // All three: p counts among the k likeliest, at the temperature asked for.
  const std::vector<double> warm = only_first(tempered(chances, 2.0), 4);
  const std::vector<size_t> warm_order = ranked(warm);
  SearchOptions options;
  options.temperature = 2.0;
  options.top_k = 4;
  options.top_p = warm[warm_order[0]] + warm[warm_order[1]] + 0.5 * warm[warm_order[2]];
  check_frequencies(first_tokens(world, 0, options, kTexts), only_first(warm, 3), kTexts);
}

TEST_CASE("search: no text contains pad, sos, eos or unk, wherever the vocabulary has them", "[search]") {
  for (const SpecialTokens tokens :
       {SpecialTokens{}, SpecialTokens{.pad = 0, .sos = 1, .eos = 0},
        SpecialTokens{.pad = 5, .sos = 0, .eos = 8, .unk = 2}, SpecialTokens{.unk = 1}}) {
    World world(9, 8, 3, 9, 0.3);
    world.tokens = tokens;
    size_t words = 0;
    size_t ended = 0;
    for (uint64_t seed = 0; seed < 200; ++seed) {
      SearchOptions options;
      options.sample = true;
      options.temperature = 3.0;
      options.seed = seed;
      for (const Hypothesis& text : world.search(options)) {
        for (const int32_t id : text.ids) {
          CHECK(id != tokens.pad);
          CHECK(id != tokens.unk);
          CHECK(id != tokens.sos);
          CHECK(id != tokens.eos);
        }
        words += text.ids.size();
        ended += text.ids.size() < 6;
      }
    }
    CHECK(words > 1000);
    CHECK(ended > 100);  // eos was chosen, also where it is pad too
  }
}

TEST_CASE("search: hidden states are those of teacher forcing, masked past each text's end", "[search]") {
  for (const uint64_t seed : {2U, 3U, 13U}) {
    const World world(9, 7, 4, seed);
    Variable hidden;
    Tensor valid;
    const std::vector<Hypothesis> found =
        search(world.decoder, world.table, world.tokens, world.memory, {}, &hidden, &valid);
    size_t longest = 0;
    for (const Hypothesis& text : found) longest = std::max(longest, text.ids.size());
    REQUIRE(hidden.shape() == Shape{4, static_cast<int64_t>(longest) + 1, kDim});
    REQUIRE(valid.shape() == Shape{4, static_cast<int64_t>(longest) + 1});
    for (int64_t clip = 0; clip < 4; ++clip) {
      INFO("seed " << seed << ", clip " << clip);
      const Ids& words = found[static_cast<size_t>(clip)].ids;
      const auto read = static_cast<int64_t>(words.size()) + 1;  // sos and all words
      std::vector<uint8_t> expected(longest + 1, 0);
      std::fill_n(expected.begin(), read, uint8_t{1});
      CHECK(valid.slice(0, clip, 1).to_vector<uint8_t>() == expected);
      const Tensor own = hidden.value().slice(0, clip, 1).slice(1, 0, read).reshape({read, kDim});
      CHECK(difference(own, world.states(clip, words)) < 1e-4);
    }
  }
}

TEST_CASE("search: options that contradict each other are refused", "[search]") {
  const World world(9, 4, 1, 1);
  SearchOptions none;
  none.beam = 0;
  CHECK_THROWS_AS(world.search(none), Error);
  SearchOptions both;
  both.beam = 2;
  both.sample = true;
  CHECK_THROWS_AS(world.search(both), Error);
  SearchOptions cold;
  cold.sample = true;
  cold.temperature = 0.0;
  CHECK_THROWS_AS(world.search(cold), Error);
}

TEST_CASE("search: a clip draws by its number, whatever stands beside it", "[search]") {
  const World world(9, 8, 3, 9, 0.3);
  SearchOptions options;
  options.sample = true;
  options.temperature = 3.0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    options.seed = seed;
    options.draws = {5, 1ULL << 60, 5};
    const std::vector<Hypothesis> together = world.search(options);
    for (int64_t clip = 0; clip < 3; ++clip) {
      SearchOptions alone = options;
      alone.draws = {options.draws[static_cast<size_t>(clip)]};
      const Hypothesis own = search(world.decoder, world.table, world.tokens, world.one(clip), alone).front();
      CHECK(own.ids == together[static_cast<size_t>(clip)].ids);
    }
    SearchOptions same = options;
    same.draws = {7, 7};
    const std::vector<Hypothesis> twins =
        search(world.decoder, world.table, world.tokens, world.repeated(1, 2), same);
    CHECK(twins[0].ids == twins[1].ids);
  }
  options.draws = {1};
  CHECK_THROWS_AS(world.search(options), Error);
}

TEST_CASE("search: probabilities that are no numbers are an error, not a text", "[search]") {
  World world(9, 6, 2, 3);
  Tensor rows = world.memory.rows.value().clone();
  rows.host<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  world.memory.rows = Variable(rows);
  for (const int64_t beam : {1, 3}) {
    SearchOptions options;
    options.beam = beam;
    CHECK_THROWS_AS(world.search(options), Error);
  }
}
