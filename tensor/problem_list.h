// What is wrong with a file, item by item, in a message that stays short whatever the file holds.
#pragma once

#include <string>

#include "tensor/check.h"

namespace clipcap {

/// Collects problems for one line of error: the first ten at most, fewer when they are long, then how many more
/// there are.
class ProblemList {
 public:
  template <class... Parts>
  void add(const Parts&... parts) {
    ++count_;
    if (count_ > 1 && (listed_ >= kMostListed || text_.size() >= kMostBytes)) return;
    ++listed_;
    text_ += concat_text(text_.empty() ? "" : "; ", parts...);
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] size_t count() const { return count_; }
  [[nodiscard]] std::string text() const {
    return listed_ == count_ ? text_ : concat_text(text_, "; and ", count_ - listed_, " more");
  }

 private:
  static constexpr size_t kMostListed = 10;
  static constexpr size_t kMostBytes = 160;  // with the message's other parts some three lines of a terminal
  std::string text_;
  size_t count_ = 0;
  size_t listed_ = 0;
};

/// "a, b, c and 21 more" under the same bounds.
template <class Names>
[[nodiscard]] std::string list_names(const Names& names) {
  constexpr size_t kMostListed = 10;
  constexpr size_t kMostBytes = 160;
  std::string text;
  size_t listed = 0;
  size_t count = 0;
  for (const auto& name : names) {
    ++count;
    if (listed > 0 && (listed >= kMostListed || text.size() >= kMostBytes)) continue;
    text += concat_text(listed++ > 0 ? ", " : "", name);
  }
  return listed == count ? text : concat_text(text, " and ", count - listed, " more");
}

}  // namespace clipcap
