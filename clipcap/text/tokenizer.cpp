#include "clipcap/text/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <queue>

#include "clipcap/text/text_cleaning.h"
#include "clipcap/text/tokenizer_files.h"
#include "clipcap/text/unicode.h"
#include "clipcap/text/word_splitter.h"
#include "tensor/check.h"

namespace clipcap {

namespace {

constexpr std::string_view kWordEnd = "</w>";

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32U | static_cast<uint32_t>(right);
}

}  // namespace

// Captions repeat their words: ids of the words met first, up to a bound.
class ClipTokenizer::WordCache {
 public:
  [[nodiscard]] bool find(std::string_view word, std::vector<int32_t>& ids) {
    if (word.size() > kLongestWord) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = words_.find(std::string(word));
    if (found == words_.end()) return false;
    ids = found->second;
    return true;
  }

  void add(std::string_view word, const std::vector<int32_t>& ids) {
    if (word.size() > kLongestWord) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (words_.size() < kMostWords) words_.emplace(word, ids);
  }

 private:
  static constexpr size_t kMostWords = 1U << 16U;
  static constexpr size_t kLongestWord = 64;
  std::mutex mutex_;
  std::unordered_map<std::string, std::vector<int32_t>> words_;
};

ClipTokenizer::~ClipTokenizer() = default;
ClipTokenizer::ClipTokenizer(ClipTokenizer&&) noexcept = default;
ClipTokenizer& ClipTokenizer::operator=(ClipTokenizer&&) noexcept = default;

ClipTokenizer ClipTokenizer::load(const std::filesystem::path& file_or_folder) {
  return {read_clip_vocabulary(file_or_folder), file_or_folder.string()};
}

ClipTokenizer::ClipTokenizer(ClipVocabulary vocabulary, const std::string& where)
    : vocabulary_(std::move(vocabulary)), cache_(std::make_unique<WordCache>()) {
  const auto count = static_cast<int32_t>(vocabulary_.tokens.size());
  for (int32_t id = 0; id < count; ++id) {
    const bool added = ids_.emplace(vocabulary_.tokens[static_cast<size_t>(id)], id).second;
    CHECK_INPUT(added, where, ": token \"", token(id), "\" has two ids, the second is ", id);
  }
  for (const int32_t special : {start(), end()}) {
    CHECK_INPUT(special >= 0 && special < count, where, ": no start or end token");
    specials_.push_back(lower_case(decode_utf8(token(special))));
  }
  for (const ClipVocabulary::Added& one : vocabulary_.added) {
    std::u32string written = decode_utf8(token(one.id));
    if (one.normalized) written = clean_text(token(one.id), false);
    if (!written.empty()) added_[one.normalized ? 1 : 0].push_back({std::move(written), one});
  }
  for (std::vector<Added>& list : added_) {
    std::stable_sort(list.begin(), list.end(),
                     [](const Added& a, const Added& b) { return a.text.size() > b.text.size(); });
  }
  const ByteAlphabet& alphabet = byte_alphabet();
  for (size_t b = 0; b < 256; ++b) {
    std::string symbol;
    append_utf8(symbol, alphabet.character[b]);
    for (const bool last : {false, true}) {
      const auto found = ids_.find(last ? symbol.append(kWordEnd) : symbol);
      symbols_[last ? 1 : 0][b] = found != ids_.end() ? found->second : -1;
    }
  }
  rules_.reserve(vocabulary_.merges.size());
  for (size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const std::string& left = vocabulary_.merges[rank].left;
    const std::string& right = vocabulary_.merges[rank].right;
    const auto id = [&](const std::string& symbol) {
      const auto found = ids_.find(symbol);
      CHECK_INPUT(found != ids_.end(), where, ": merge ", rank + 1, " (\"", left, "\" and \"", right,
                  "\"): \"", symbol, "\" is not a token");
      return found->second;
    };
    CHECK_INPUT(!left.empty() && !right.empty(), where, ": merge ", rank + 1, ": a part is empty");
    const MergeRule rule{static_cast<int32_t>(rank), id(left + right)};
    const bool added = rules_.emplace(pair_key(id(left), id(right)), rule).second;
    CHECK_INPUT(added, where, ": merge ", rank + 1, " (\"", left, "\" and \"", right, "\") is there twice");
  }
}

const std::string& ClipTokenizer::token(int32_t id) const {
  CHECK_INPUT(id >= 0 && id < size(), "token id ", id, ": the vocabulary has ids 0 to ", size() - 1);
  return vocabulary_.tokens[static_cast<size_t>(id)];
}

const ClipTokenizer::MergeRule* ClipTokenizer::rule(int32_t left, int32_t right) const {
  const auto found = rules_.find(pair_key(left, right));
  return found != rules_.end() ? &found->second : nullptr;
}

// The symbols are a linked list over their first positions; a heap holds every mergeable pair of neighbours,
// so that a word of n bytes takes O(n log n). One round takes all pairs of the lowest rank, left to right,
// and only then looks at the pairs that it made, as the reference does.
std::vector<int32_t> ClipTokenizer::merge_symbols(const std::vector<int32_t>& symbols) const {
  struct Symbol {
    int32_t id;
    size_t previous;
    size_t next;
  };
  struct Pair {
    int32_t rank;
    size_t at;  // of the left symbol
    int32_t left;
    int32_t right;
    [[nodiscard]] bool operator>(const Pair& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr int32_t kMergedAway = -1;
  const size_t none = symbols.size();
  std::vector<Symbol> list(symbols.size());
  for (size_t i = 0; i < symbols.size(); ++i) list[i] = {symbols[i], i > 0 ? i - 1 : none, i + 1};

  std::priority_queue<Pair, std::vector<Pair>, std::greater<>> heap;
  const auto push = [&](size_t at) {
    if (at == none || list[at].next == none) return;
    const int32_t left = list[at].id;
    const int32_t right = list[list[at].next].id;
    if (const MergeRule* found = rule(left, right)) heap.push({found->rank, at, left, right});
  };
  for (size_t i = 0; i < symbols.size(); ++i) push(i);
  std::vector<size_t> made;
  while (!heap.empty()) {
    const int32_t rank = heap.top().rank;
    made.clear();
    for (; !heap.empty() && heap.top().rank == rank; heap.pop()) {
      const Pair pair = heap.top();
      Symbol& left = list[pair.at];
      const bool outdated = left.id != pair.left || left.next == none || list[left.next].id != pair.right;
      if (outdated) continue;
      Symbol& right = list[left.next];
      left.id = rule(pair.left, pair.right)->merged;
      left.next = right.next;
      right.id = kMergedAway;
      if (left.next != none) list[left.next].previous = pair.at;
      made.push_back(pair.at);
    }
    for (const size_t at : made) {
      push(list[at].previous);
      push(at);
    }
  }
  std::vector<int32_t> ids;
  for (size_t at = 0; at < none; at = list[at].next) ids.push_back(list[at].id);
  return ids;
}

std::vector<int32_t> ClipTokenizer::encode_word(std::string_view bytes) const {
  std::vector<int32_t> ids;
  if (cache_->find(bytes, ids)) return ids;
  std::vector<int32_t> symbols;
  symbols.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto b = static_cast<uint8_t>(bytes[i]);
    const bool last = i + 1 == bytes.size();
    symbols.push_back(symbols_[last ? 1 : 0][b]);
    CHECK_INPUT(symbols.back() >= 0, "the tokenizer's vocabulary has no symbol for byte ",
                static_cast<int>(b), last ? " at the end of a word" : "");
  }
  ids = merge_symbols(symbols);
  cache_->add(bytes, ids);
  return ids;
}

namespace {

bool is_word_character(char32_t c) { return is_letter(c) || is_number(c) || c == U'_'; }

// Cuts `text` at the tokens of a list: `plain` gets what stands between, `found` each token, in order.
template <class List, class Plain, class Found>
void cut_at_tokens(std::u32string_view text, const List& tokens, Plain&& plain, Found&& found) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size() && !tokens.empty();) {
    size_t length = 0;
    for (const auto& one : tokens) {  // the longest that begins here
      if (text.substr(at, one.text.size()) != one.text) continue;
      const size_t end = at + one.text.size();
      const bool joined =
          (at > 0 && is_word_character(text[at - 1])) || (end < text.size() && is_word_character(text[end]));
      if (one.token.single_word && joined) continue;
      size_t first = at;
      while (one.token.strip_left && first > begin && is_space(text[first - 1])) --first;
      if (first > begin) plain(text.substr(begin, first - begin));
      found(one.token.id);
      length = one.text.size();
      while (one.token.strip_right && at + length < text.size() && is_space(text[at + length])) ++length;
      break;
    }
    at += length > 0 ? length : 1;
    if (length > 0) begin = at;
  }
  if (begin < text.size()) plain(text.substr(begin));
}

}  // namespace

std::vector<int32_t> ClipTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  const auto found = [&](int32_t id) { ids.push_back(id); };
  const auto clean_and_encode = [&](std::string_view piece) {
    const std::u32string clean = clean_text(piece, repair_);
    cut_at_tokens(
        clean, added_[1], [&](std::u32string_view plain) { encode_plain(plain, ids); }, found);
  };
  if (added_[0].empty()) {
    clean_and_encode(text);
  } else {
    cut_at_tokens(
        decode_utf8(text), added_[0],
        [&](std::u32string_view piece) { clean_and_encode(encode_utf8(piece)); }, found);
  }
  return ids;
}

void ClipTokenizer::encode_plain(std::u32string_view clean, std::vector<int32_t>& ids) const {
  for (const std::u32string_view word : split_words(clean, specials_)) {
    if (word == specials_[0]) {
      ids.push_back(start());
    } else if (word == specials_[1]) {
      ids.push_back(end());
    } else {
      const std::vector<int32_t> word_ids = encode_word(encode_utf8(word));
      ids.insert(ids.end(), word_ids.begin(), word_ids.end());
    }
  }
}

TokenRows ClipTokenizer::encode_rows(std::span<const std::string> texts, const RowOptions& options) const {
  CHECK_INPUT(options.context >= 2, "a row of tokens holds at least 2, not ", options.context);
  TokenRows rows;
  rows.rows = static_cast<int64_t>(texts.size());
  rows.context = options.context;
  rows.ids.reserve(texts.size() * static_cast<size_t>(options.context));
  for (const std::string& text : texts) {
    std::vector<int32_t> ids = encode(text);
    ids.insert(ids.begin(), start());
    ids.push_back(end());
    rows.lengths.push_back(static_cast<int64_t>(ids.size()));
    if (rows.lengths.back() > options.context) {
      CHECK_INPUT(options.truncate, "\"", text.size() > 60 ? text.substr(0, 60) + "..." : text,
                  "\": ", ids.size(), " tokens with start and end; a row holds ", options.context);
      ids.resize(static_cast<size_t>(options.context));
      ids.back() = end();
    }
    const auto first_end = std::find(ids.begin(), ids.end(), end());
    rows.end_positions.push_back(static_cast<int32_t>(first_end - ids.begin()));
    ids.resize(static_cast<size_t>(options.context), options.pad_with_end ? end() : 0);
    rows.ids.insert(rows.ids.end(), ids.begin(), ids.end());
  }
  return rows;
}

std::string ClipTokenizer::decode(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (id == start() || id == end()) {
      bytes += token(id);
      continue;
    }
    for (const char32_t c : decode_utf8(token(id))) {
      const int b = byte_alphabet().byte(c);
      if (b >= 0) {
        bytes += static_cast<char>(static_cast<uint8_t>(b));
      } else {
        append_utf8(bytes, c);  // a token that somebody added, written as it is
      }
    }
  }
  std::string text = encode_utf8(decode_utf8(bytes));  // a cut character becomes U+FFFD
  std::string spaced;
  size_t from = 0;
  for (size_t at = text.find(kWordEnd); at != std::string::npos; at = text.find(kWordEnd, from)) {
    spaced.append(text, from, at - from) += ' ';
    from = at + kWordEnd.size();
  }
  return spaced.append(text, from);
}

std::string ClipTokenizer::row_text(std::span<const int32_t> row) const {
  if (!row.empty() && row.front() == start()) row = row.subspan(1);
  row = row.first(static_cast<size_t>(std::find(row.begin(), row.end(), end()) - row.begin()));
  std::string text = decode(row);
  if (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace clipcap
