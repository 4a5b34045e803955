#include "clipcap/data/dataset.h"

#include <algorithm>

#include "clipcap/data/media_files.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return result;
}

}  // namespace

uint32_t WordList::add(std::string_view word) {
  const auto found = numbers_.find(word);
  if (found != numbers_.end()) return found->second;
  CHECK_INPUT(words_.size() < ~0U, "more different words than 32 bits count");
  const auto number = static_cast<uint32_t>(words_.size());
  words_.emplace_back(word);
  numbers_.emplace(words_.back(), number);
  return number;
}

Caption Dataset::written_out(const Rows& caption) const {
  Caption result;
  result.text = text(caption);
  const auto write = [&](std::span<const uint32_t> numbers) {
    std::vector<std::string> list;
    for (const uint32_t number : numbers) list.push_back(words.word(number));
    return list;
  };
  result.tokens = write(tokens[caption.text]);
  for (size_t k = 0; k < kAnnotationKinds; ++k) {
    for (uint32_t i = 0; i < caption.count[k]; ++i)
      result.annotations[k].push_back(write(annotations[k][caption.first[k] + i]));
  }
  return result;
}

size_t Dataset::clips_in(std::string_view name) const {
  size_t count = 0;
  for (const Clip& clip : clips) count += split(clip) == name ? 1 : 0;
  return count;
}

std::string split_name(const std::string& written) {
  const std::string name = lower(written);
  for (const char* other : {"val", "valid", "validation", "validate", "dev"}) {
    if (name == other) return "validate";
  }
  if (name == "train" || name == "training") return "train";
  if (name == "test" || name == "testing") return "test";
  return written;
}

std::string plain_id(std::string_view id) {
  const size_t slash = id.find_last_of("/\\");
  if (slash != std::string_view::npos) id.remove_prefix(slash + 1);
  const size_t dot = id.rfind('.');
  if (dot != std::string_view::npos && dot > 0 && is_media_ending(id.substr(dot))) id = id.substr(0, dot);
  std::string plain = lower(id);
  const bool number =
      !plain.empty() && std::all_of(plain.begin(), plain.end(), [](char c) { return c >= '0' && c <= '9'; });
  return number ? "video" + plain : plain;
}

}  // namespace clipcap
