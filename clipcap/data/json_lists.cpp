#include "clipcap/data/json_lists.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr size_t kDeepest = 64;
constexpr size_t kElementsAPage = 8192;  // after so many, the pages of the file read so far are given back

// Builds the elements of lists under the root's keys, and nothing else.
class ListReader : public nlohmann::json_sax<json> {
 public:
  ListReader(const MappedFile& file, const std::string& name, const std::string& expected,
             const JsonListHandler& handler)
      : file_(file), name_(name), expected_(expected), handler_(handler) {}

  [[nodiscard]] bool rooted() const { return rooted_; }

  bool null() override { return value(json()); }
  bool boolean(bool v) override { return value(json(v)); }
  bool number_integer(number_integer_t v) override { return value(json(v)); }
  bool number_unsigned(number_unsigned_t v) override { return value(json(v)); }
  bool number_float(number_float_t v, const string_t&) override { return value(json(v)); }
  bool string(string_t& v) override { return value(json(std::move(v))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return start(json::object()); }
  bool start_array(size_t) override { return start(json::array()); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool key(string_t& text) override {
    if (depth_ == 1) {
      key_ = std::move(text);
    } else if (!open_.empty()) {
      member_.push_back(std::move(text));
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const std::string_view text(reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size());
    if (error.id == 406) fail_input(name_, ": not valid JSON (a number is out of range)");
    const auto upto = static_cast<std::ptrdiff_t>(std::min(text.size(), position));
    fail_input(name_, ": line ", 1 + std::count(text.begin(), text.begin() + upto, '\n'), " (byte ", upto,
               "): not valid JSON");
  }

 private:
  // The root's own list or another value under one of its keys begins at depth 1; an element at depth 2.
  bool start(json container) {
    CHECK_INPUT(depth_ + 1 < kDeepest, name_, ": JSON nested deeper than ", kDeepest, " levels");
    if (depth_ == 0) {
      CHECK_INPUT(container.is_object(), name_, ": expected ", expected_, ", found ", container.type_name());
      rooted_ = true;
    } else if (depth_ == 1) {
      in_list_ = container.is_array();
      wanted_ = in_list_ && handler_.list(key_);
      index_ = 0;
      if (!in_list_) handler_.other(key_, container.type_name());
    } else if (wanted_) {
      open_.push_back(std::move(container));
    }
    ++depth_;
    return true;
  }
  bool end() {
    --depth_;
    if (open_.empty()) return true;
    json done = std::move(open_.back());
    open_.pop_back();
    return put(std::move(done));
  }
  bool value(json v) {
    CHECK_INPUT(depth_ > 0, name_, ": expected ", expected_, ", found ", v.type_name());
    if (depth_ == 1) {
      handler_.other(key_, v.type_name());
      return true;
    }
    return wanted_ ? put(std::move(v)) : true;
  }
  bool put(json v) {
    if (open_.empty()) {
      handler_.element(key_, index_++, v);
      if (++given_ % kElementsAPage == 0) file_.forget_pages();
      return true;
    }
    json& parent = open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
    } else {
      parent[member_.back()] = std::move(v);
      member_.pop_back();
    }
    return true;
  }

  const MappedFile& file_;
  const std::string& name_;
  const std::string& expected_;
  const JsonListHandler& handler_;
  size_t depth_ = 0;
  bool rooted_ = false;
  bool in_list_ = false;
  bool wanted_ = false;
  size_t index_ = 0;
  size_t given_ = 0;
  std::string key_;
  std::vector<json> open_;           // containers of the element, from outside in
  std::vector<std::string> member_;  // keys whose values are being read
};

}  // namespace

void read_json_lists(const std::filesystem::path& path, const std::string& expected,
                     const JsonListHandler& handler) {
  constexpr size_t kMostBytes = 4ULL << 30U;
  const auto file = MappedFile::open(path);
  const std::string name = path.string();
  const auto bytes = file->bytes();
  CHECK_INPUT(bytes.size() <= kMostBytes, name, ": ", bytes.size(), " bytes; at most ", kMostBytes,
              " expected");
  ListReader reader(*file, name, expected, handler);
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const bool parsed = json::sax_parse(text, text + bytes.size(), &reader);
  CHECK_INPUT(parsed && reader.rooted(), name, ": not valid JSON");
}

}  // namespace clipcap
