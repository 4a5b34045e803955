#include "clipcap/scores/paraphrase_table.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "clipcap/scores/segment.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr size_t kMostLineBytes = 64U << 10U;
constexpr size_t kMostBytes = size_t{8} << 30U;  // inflated
constexpr size_t kMostPhraseWords = 64;

// Lines of a file that may be gzipped (zlib reads both).
class GzipLines {
 public:
  explicit GzipLines(const std::filesystem::path& path)
      : name_(path.string()), file_(gzopen(path.c_str(), "rb"), &gzclose), buffer_(1U << 20U) {
    CHECK_INPUT(file_ != nullptr && std::filesystem::is_regular_file(path), name_, ": cannot open");
    gzbuffer(file_.get(), 1U << 18U);
  }

  bool next(std::string_view& line) {
    ++number_;
    while (true) {
      const void* end = std::memchr(buffer_.data() + begin_, '\n', end_ - begin_);
      if (end != nullptr) {
        const auto length = static_cast<size_t>(static_cast<const char*>(end) - (buffer_.data() + begin_));
        line = {buffer_.data() + begin_, length};
        begin_ += length + 1;
        return true;
      }
      if (finished_) {
        line = {buffer_.data() + begin_, end_ - begin_};
        begin_ = end_;
        return !line.empty();
      }
      fill();
    }
  }
  [[nodiscard]] std::string where() const { return concat_text(name_, ": line ", number_); }

 private:
  void fill() {
    CHECK_INPUT(end_ - begin_ <= kMostLineBytes, where(), ": longer than ", kMostLineBytes, " bytes");
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    const int read = gzread(file_.get(), buffer_.data() + end_, static_cast<unsigned>(buffer_.size() - end_));
    int error = Z_OK;
    const char* message = gzerror(file_.get(), &error);
    CHECK_INPUT(read >= 0 && (error == Z_OK || error == Z_STREAM_END), where(), ": damaged gzip data (",
                error == Z_ERRNO ? "cannot read" : message, ")");
    end_ += static_cast<size_t>(read);
    all_ += static_cast<size_t>(read);
    CHECK_INPUT(all_ <= kMostBytes, name_, ": inflates to more than ", kMostBytes, " bytes");
    finished_ = read == 0;
  }

  std::string name_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t all_ = 0;
  size_t number_ = 0;
  bool finished_ = false;
};

std::u32string key(std::span<const int32_t> words) {
  std::u32string text(words.size(), U'\0');
  std::transform(words.begin(), words.end(), text.begin(),
                 [](int32_t word) { return static_cast<char32_t>(word); });
  return text;
}

// False where a word has no number; then the rest is not looked at.
bool numbers(std::string_view phrase, const std::function<int32_t(std::string_view)>& word_id,
             std::vector<int32_t>& words) {
  words.clear();
  for (size_t begin = 0; begin < phrase.size();) {
    const size_t end = std::min(phrase.find_first_of(" \t\r", begin), phrase.size());
    if (end > begin) {
      const int32_t word = word_id(phrase.substr(begin, end - begin));
      if (word < 0 || words.size() >= kMostPhraseWords) return false;
      words.push_back(word);
    }
    begin = end + 1;
  }
  return !words.empty();
}

}  // namespace

ParaphraseTable ParaphraseTable::read(const std::filesystem::path& path,
                                      const std::function<int32_t(std::string_view)>& word_id) {
  ParaphraseTable table;
  GzipLines lines(path);
  std::string_view line;
  std::vector<int32_t> first;
  std::vector<int32_t> second;
  while (lines.next(line)) {
    const bool number = !line.empty() && ((line[0] >= '0' && line[0] <= '9') || line[0] == '.');
    CHECK_INPUT(number, lines.where(), ": expected a probability, found \"", line.substr(0, 40), "\"");
    CHECK_INPUT(lines.next(line), lines.where(), ": expected a phrase");
    const bool wanted = numbers(line, word_id, first);
    CHECK_INPUT(lines.next(line), lines.where(), ": expected the other phrase");
    if (!wanted || !numbers(line, word_id, second)) continue;
    const int32_t a = table.add_phrase(first);
    const int32_t b = table.add_phrase(second);
    table.pairs_[static_cast<size_t>(a)].push_back(b);
    ++table.count_;
  }
  return table;
}

int32_t ParaphraseTable::add_phrase(const std::vector<int32_t>& words) {
  const auto [found, fresh] = phrases_.try_emplace(key(words), static_cast<int32_t>(phrases_.size()));
  if (fresh) pairs_.emplace_back();
  longest_ = std::max(longest_, words.size());
  return found->second;
}

int32_t ParaphraseTable::find(std::span<const int32_t> words) const {
  const auto found = phrases_.find(key(words));
  return found == phrases_.end() ? -1 : found->second;
}

}  // namespace clipcap
