#include "clipcap/scores/meteor_aligner.h"

#include <algorithm>
#include <cstdlib>

#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr size_t kBeam = 40;
constexpr size_t kMostMatches = 4U << 20U;

using Words = std::span<const MeteorWord* const>;

bool share_a_synset(const MeteorWord& a, const MeteorWord& b) {
  auto i = a.synsets.begin();
  auto j = b.synsets.begin();
  while (i != a.synsets.end() && j != b.synsets.end()) {
    if (*i == *j) return true;
    if (*i < *j) {
      ++i;
    } else {
      ++j;
    }
  }
  return false;
}

// Every possible match, by the place in the reference where it begins.
class Candidates {
 public:
  Candidates(Words hypothesis, Words reference, const ParaphraseTable* paraphrases)
      : by_place_(reference.size()),
        hypothesis_cover_(hypothesis.size(), 0),
        reference_cover_(reference.size(), 0) {
    add_words(hypothesis, reference, MeteorStage::exact);
    add_words(hypothesis, reference, MeteorStage::stem);
    add_words(hypothesis, reference, MeteorStage::synonym);
    if (paraphrases != nullptr) add_paraphrases(hypothesis, reference, *paraphrases);
  }

  [[nodiscard]] const std::vector<MeteorMatch>& at(size_t place) const { return by_place_[place]; }

  // A match whose words, on both sides, no other match wants.
  [[nodiscard]] bool is_undisputed(const MeteorMatch& match) const {
    for (int32_t k = 0; k < match.reference_length; ++k) {
      if (reference_cover_[static_cast<size_t>(match.reference_start + k)] != 1) return false;
    }
    for (int32_t k = 0; k < match.hypothesis_length; ++k) {
      if (hypothesis_cover_[static_cast<size_t>(match.hypothesis_start + k)] != 1) return false;
    }
    return true;
  }

 private:
  static bool matches(const MeteorWord& a, const MeteorWord& b, MeteorStage stage) {
    if (stage == MeteorStage::exact) return a.hash == b.hash;
    if (a.hash == b.hash) return false;
    return stage == MeteorStage::stem ? a.stem_hash == b.stem_hash : share_a_synset(a, b);
  }

  void add_words(Words hypothesis, Words reference, MeteorStage stage) {
    for (size_t j = 0; j < reference.size(); ++j) {
      for (size_t i = 0; i < hypothesis.size(); ++i) {
        if (matches(*hypothesis[i], *reference[j], stage))
          add({static_cast<int32_t>(j), 1, static_cast<int32_t>(i), 1, stage});
      }
    }
  }

  struct Phrase {
    int32_t number;
    int32_t start;
    int32_t length;
  };

  static std::vector<Phrase> phrases_of(Words words, const ParaphraseTable& table) {
    std::vector<int32_t> numbers;
    for (const MeteorWord* word : words) numbers.push_back(word->number);
    std::vector<Phrase> phrases;
    for (size_t begin = 0; begin < words.size(); ++begin) {
      const size_t most = std::min(table.longest(), words.size() - begin);
      for (size_t length = 1; length <= most; ++length) {
        const int32_t number = table.find(std::span(numbers).subspan(begin, length));
        if (number >= 0)
          phrases.push_back({number, static_cast<int32_t>(begin), static_cast<int32_t>(length)});
      }
    }
    return phrases;
  }

  // Every pair of the table whose first phrase is in `firsts` and whose second one is in `seconds`. The order
  // counts where matches are equally good.
  template <class Visit>
  static void each_pair(const std::vector<Phrase>& firsts, const std::vector<Phrase>& seconds,
                        const ParaphraseTable& table, Visit visit) {
    std::vector<Phrase> sorted = seconds;
    const auto by_number = [](const Phrase& a, const Phrase& b) { return a.number < b.number; };
    std::stable_sort(sorted.begin(), sorted.end(), by_number);
    for (const Phrase& first : firsts) {
      for (const int32_t number : table.paraphrases(first.number)) {
        const auto [begin, end] =
            std::equal_range(sorted.begin(), sorted.end(), Phrase{number, 0, 0}, by_number);
        for (auto second = begin; second != end; ++second) visit(first, *second);
      }
    }
  }

  void add_paraphrases(Words hypothesis, Words reference, const ParaphraseTable& table) {
    const std::vector<Phrase> own = phrases_of(hypothesis, table);
    const std::vector<Phrase> others = phrases_of(reference, table);
    const auto add_phrases = [&](const Phrase& other, const Phrase& phrase) {
      add({other.start, other.length, phrase.start, phrase.length, MeteorStage::paraphrase});
    };
    each_pair(others, own, table, add_phrases);
    each_pair(own, others, table,
              [&](const Phrase& phrase, const Phrase& other) { add_phrases(other, phrase); });
  }

  void add(const MeteorMatch& match) {
    CHECK_INPUT(++count_ <= kMostMatches, "more than ", kMostMatches,
                " pairs of words for METEOR to weigh between a caption and a reference");
    by_place_[static_cast<size_t>(match.reference_start)].push_back(match);
    for (int32_t k = 0; k < match.reference_length; ++k)
      ++reference_cover_[static_cast<size_t>(match.reference_start + k)];
    for (int32_t k = 0; k < match.hypothesis_length; ++k)
      ++hypothesis_cover_[static_cast<size_t>(match.hypothesis_start + k)];
  }

  std::vector<std::vector<MeteorMatch>> by_place_;
  std::vector<int32_t> hypothesis_cover_;
  std::vector<int32_t> reference_cover_;
  size_t count_ = 0;
};

// A partial alignment. What it has chosen stands in a chain of links.
struct Path {
  int32_t hypothesis_weight = 0;
  int32_t reference_weight = 0;
  int32_t chunks = 0;
  int32_t distance = 0;
  int32_t next = 0;       // the first place that no match has settled
  int32_t last_end = -1;  // in the hypothesis, of the match before; -1: none right before
  int32_t link = -1;

  // Weights are added in whole numbers: METEOR keeps them in Java's int.
  void take(const MeteorMatch& match) {
    const int32_t divisor = match.stage == MeteorStage::exact ? 1 : 2;
    hypothesis_weight += match.hypothesis_length / divisor;
    reference_weight += match.reference_length / divisor;
    if (last_end != -1 && match.hypothesis_start != last_end) ++chunks;
    next = match.reference_start + match.reference_length;
    last_end = match.hypothesis_start + match.hypothesis_length;
  }
  void skip() {
    if (last_end != -1) ++chunks;
    last_end = -1;
    ++next;
  }
  [[nodiscard]] bool better_than(const Path& other) const {
    const int32_t own = hypothesis_weight + reference_weight;
    const int32_t others = other.hypothesis_weight + other.reference_weight;
    if (own != others) return own > others;
    if (chunks != other.chunks) return chunks < other.chunks;
    return distance < other.distance;
  }
};

int32_t distance_of(const MeteorMatch& match) {
  return std::abs(match.reference_start - match.hypothesis_start);
}

class Search {
 public:
  Search(Words hypothesis, Words reference, const ParaphraseTable* paraphrases)
      : candidates_(hypothesis, reference, paraphrases),
        places_(reference.size()),
        hypothesis_blocks_((hypothesis.size() + 63) / 64),
        blocks_(hypothesis_blocks_ + (reference.size() + 63) / 64),
        fixed_(reference.size(), nullptr),
        used_(blocks_, 0) {
    for (size_t place = 0; place < places_; ++place) {
      if (candidates_.at(place).size() != 1) continue;
      const MeteorMatch& match = candidates_.at(place)[0];
      if (!candidates_.is_undisputed(match)) continue;
      fixed_[place] = &match;
      mark(used_.data(), match);
    }
    paths_.emplace_back();
  }

  MeteorAlignment run() {
    for (size_t place = 0; place < places_; ++place) step(place);
    for (Path& path : paths_) {
      if (path.last_end != -1) ++path.chunks;
    }
    const auto better = [](const Path& a, const Path& b) { return a.better_than(b); };
    const Path& best = *std::min_element(paths_.begin(), paths_.end(), better);  // the first of the best
    MeteorAlignment alignment;
    alignment.chunks = best.chunks;
    for (int32_t link = best.link; link >= 0; link = links_[static_cast<size_t>(link)].before)
      alignment.matches.push_back(*links_[static_cast<size_t>(link)].match);
    std::reverse(alignment.matches.begin(), alignment.matches.end());
    return alignment;
  }

 private:
  struct Link {
    const MeteorMatch* match;
    int32_t before;
  };
  // A path to be: where it comes from and what it takes there.
  struct Option {
    Path path;
    size_t from;
    const MeteorMatch* match;  // nullptr: nothing new
    bool fixed;                // its words are marked already
  };

  [[nodiscard]] bool is_set(const uint64_t* bits, size_t at) const {
    return (bits[at / 64] >> (at % 64)) & 1U;
  }

  template <class Visit>
  void each_word(const MeteorMatch& match, Visit visit) const {
    for (int32_t k = 0; k < match.hypothesis_length; ++k)
      visit(static_cast<size_t>(match.hypothesis_start + k));
    for (int32_t k = 0; k < match.reference_length; ++k)
      visit(hypothesis_blocks_ * 64 + static_cast<size_t>(match.reference_start + k));
  }
  void mark(uint64_t* bits, const MeteorMatch& match) const {
    each_word(match, [&](size_t at) { bits[at / 64] |= uint64_t{1} << (at % 64); });
  }
  [[nodiscard]] bool is_free(const uint64_t* bits, const MeteorMatch& match) const {
    bool free = true;
    each_word(match, [&](size_t at) { free = free && !is_set(bits, at); });
    return free;
  }

  // All ways on from the paths at one place of the reference.
  void step(size_t place) {
    options_.clear();
    for (size_t from = 0; from < paths_.size(); ++from) {
      Path path = paths_[from];
      const uint64_t* bits = used_.data() + from * blocks_;
      if (is_set(bits, hypothesis_blocks_ * 64 + place)) {
        const MeteorMatch* fixed = static_cast<int32_t>(place) < path.next ? nullptr : fixed_[place];
        if (fixed != nullptr) {
          path.take(*fixed);
          path.distance += distance_of(*fixed);
        }
        options_.push_back({path, from, fixed, true});
        continue;
      }
      for (const MeteorMatch& match : candidates_.at(place)) {
        if (!is_free(bits, match)) continue;
        Path with = path;
        with.take(match);
        options_.push_back({with, from, &match, false});
        // METEOR adds the distance to the path that it came from: a match's own falls on its later rivals.
        path.distance += distance_of(match);
      }
      path.skip();
      options_.push_back({path, from, nullptr, false});
    }
    keep_best();
  }

  void keep_best() {
    const auto better = [](const Option& a, const Option& b) { return a.path.better_than(b.path); };
    std::stable_sort(options_.begin(), options_.end(), better);
    if (options_.size() > kBeam) options_.resize(kBeam);
    next_used_.resize(options_.size() * blocks_);
    paths_.clear();
    for (size_t i = 0; i < options_.size(); ++i) {
      Option& option = options_[i];
      uint64_t* bits = next_used_.data() + i * blocks_;
      std::copy_n(used_.data() + option.from * blocks_, blocks_, bits);
      if (option.match != nullptr) {
        if (!option.fixed) mark(bits, *option.match);
        links_.push_back({option.match, option.path.link});
        option.path.link = static_cast<int32_t>(links_.size()) - 1;
      }
      paths_.push_back(option.path);
    }
    used_.swap(next_used_);
  }

  Candidates candidates_;
  size_t places_;
  size_t hypothesis_blocks_;
  size_t blocks_;  // of 64 words: the hypothesis's, then the reference's
  std::vector<const MeteorMatch*> fixed_;
  std::vector<uint64_t> used_;  // words that each path has used, `blocks_` a path
  std::vector<uint64_t> next_used_;
  std::vector<Path> paths_;
  std::vector<Option> options_;
  std::vector<Link> links_;
};

}  // namespace

MeteorAlignment align(std::span<const MeteorWord* const> hypothesis,
                      std::span<const MeteorWord* const> reference, const ParaphraseTable* paraphrases) {
  if (hypothesis.empty() || reference.empty()) return {};
  return Search(hypothesis, reference, paraphrases).run();
}

}  // namespace clipcap
