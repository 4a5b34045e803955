#include "tensor/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace clipcap {
namespace {

using nlohmann::json;
static_assert(std::endian::native == std::endian::little,
              "safetensors are mapped as they lie: little-endian hosts only");

// Parsed, a header takes several times its bytes. The largest in use have some ten thousand tensors.
constexpr uint64_t kMaxHeaderBytes = 8'000'000;
constexpr size_t kMostTensors = 50'000;
constexpr size_t kMostMetadata = 10'000;

struct NamedDType {
  const char* name;
  DType dtype;
};
constexpr NamedDType kDTypes[] = {{"F32", DType::f32},     {"BF16", DType::bf16}, {"F16", DType::f16},
                                  {"F64", DType::f64},     {"I64", DType::i64},   {"I32", DType::i32},
                                  {"I16", DType::i16},     {"I8", DType::i8},     {"U8", DType::u8},
                                  {"BOOL", DType::boolean}};

// Dtypes that are known but not read, with the bits of an element. Sizes are checked all the same.
struct UnreadDType {
  const char* name;
  uint64_t bits;
};
constexpr UnreadDType kUnread[] = {{"U16", 16},        {"U32", 32},        {"U64", 64},    {"C64", 64},
                                   {"C128", 128},      {"F8_E4M3", 8},     {"F8_E5M2", 8}, {"F8_E8M0", 8},
                                   {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},      {"F6_E2M3", 6},
                                   {"F6_E3M2", 6},     {"U4", 4},          {"I4", 4}};

struct Entry {
  std::string name;
  DType dtype = DType::f32;
  std::string unread;  // the dtype's name where it is not read
  Shape shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

// Takes the header as it is parsed: nothing but the list of tensors is ever built, and parsing ends at the
// first thing that is wrong.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  HeaderReader(std::string file, std::map<std::string, std::string>& metadata)
      : file_(std::move(file)), metadata_(metadata) {}

  [[nodiscard]] std::vector<Entry>& entries() { return entries_; }

  bool start_object(size_t) override {
    ++depth_;
    if (depth_ == 1) return true;
    CHECK_INPUT(depth_ == 2 && !name_.empty_key, file_, ": the header nests deeper than a list of tensors");
    in_metadata_ = name_.text == "__metadata__";
    if (!in_metadata_) {
      CHECK_INPUT(entries_.size() < kMostTensors, file_, ": more than ", kMostTensors, " tensors");
      entries_.emplace_back().name = name_.text;
      seen_ = 0;
    }
    return true;
  }
  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) finish_entry();
    return true;
  }
  bool key(std::string& text) override {
    if (depth_ == 1) {
      CHECK_INPUT(names_.insert(text).second, file_, ": \"", text, "\" appears twice in the header");
      name_ = {text, false};
      return true;
    }
    field_ = text;
    if (in_metadata_) return true;
    const unsigned bit = field_ == "dtype" ? 1 : field_ == "shape" ? 2 : field_ == "data_offsets" ? 4 : 0;
    CHECK_INPUT(bit == 0 || (seen_ & bit) == 0, where(), ": ", field_, " appears twice");
    seen_ |= bit;
    return true;
  }
  bool start_array(size_t) override {
    CHECK_INPUT(depth_ == 2 && !in_metadata_ && !in_array_ && (field_ == "shape" || field_ == "data_offsets"),
                depth_ == 2 ? where() : file_, ": a list where none belongs");
    in_array_ = true;
    numbers_.clear();
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    Entry& entry = entries_.back();
    if (field_ == "shape") {
      for (const uint64_t size : numbers_) {
        CHECK_INPUT(size <= (1ULL << 62U), where(), ": bad size in shape");
        entry.shape.append(static_cast<int64_t>(size));
      }
      return true;
    }
    CHECK_INPUT(numbers_.size() == 2, where(), ": data_offsets is not [begin, end]");
    entry.begin = numbers_[0];
    entry.end = numbers_[1];
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) return other();
    CHECK_INPUT(numbers_.size() < kMaxRank, where(), ": ", field_, " has more than ", kMaxRank, " numbers");
    numbers_.push_back(value);
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_ && !in_array_) {
      metadata_[field_] = text;
      CHECK_INPUT(metadata_.size() <= kMostMetadata, file_, ": more than ", kMostMetadata,
                  " entries of metadata");
      return true;
    }
    if (depth_ != 2 || field_ != "dtype" || in_array_) return other();
    const auto* known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                     [&](const NamedDType& d) { return text == d.name; });
    if (known == std::end(kDTypes)) {
      CHECK_INPUT(!text.empty() && text.size() <= 40, where(), ": dtype \"", text.substr(0, 40), "\"");
      entries_.back().unread = text;
    } else {
      entries_.back().dtype = known->dtype;
    }
    return true;
  }
  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_integer(number_integer_t) override { return other(); }
  bool number_float(number_float_t, const string_t&) override { return other(); }
  bool binary(binary_t&) override { return other(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  [[nodiscard]] std::string where() const { return file_ + ": tensor \"" + name_.text.substr(0, 200) + "\""; }

  // A value that has no place where it stands. Fields that the format may get one day are passed over.
  bool other() {
    CHECK_INPUT(depth_ != 2 || !in_metadata_, file_, ": __metadata__.", field_.substr(0, 100),
                " is not a string");
    const bool unknown =
        depth_ == 2 && !in_array_ && field_ != "dtype" && field_ != "shape" && field_ != "data_offsets";
    CHECK_INPUT(unknown, depth_ >= 1 && !name_.empty_key ? where() : file_,
                ": expected an object with dtype, shape and data_offsets");
    return true;
  }

  void finish_entry() {
    const Entry& entry = entries_.back();
    CHECK_INPUT(seen_ == 7, where(), ": expected an object with dtype, shape and data_offsets");
    if (!entry.unread.empty()) return check_unread(entry);
    const uint64_t bytes = detail::bytes_of(where(), entry.shape, entry.dtype);
    CHECK_INPUT(entry.begin <= entry.end && entry.end - entry.begin == bytes, where(), ": data_offsets [",
                entry.begin, ", ", entry.end, "] hold ", entry.end - entry.begin, " bytes, ", entry.dtype,
                ' ', entry.shape, " needs ", bytes);
  }

  // Of a tensor that will be skipped only the place in the file matters: the next one begins behind it.
  void check_unread(const Entry& entry) const {
    CHECK_INPUT(entry.begin <= entry.end, where(), ": data_offsets [", entry.begin, ", ", entry.end, "]");
    const auto* known = std::find_if(std::begin(kUnread), std::end(kUnread),
                                     [&](const UnreadDType& d) { return entry.unread == d.name; });
    if (known == std::end(kUnread)) return;  // a dtype of tomorrow
    const uint64_t elements = detail::bytes_of(where(), entry.shape, DType::u8);
    uint64_t bits = 0;
    CHECK_INPUT(
        !__builtin_mul_overflow(elements, known->bits, &bits) && (bits + 7) / 8 == entry.end - entry.begin,
        where(), ": data_offsets [", entry.begin, ", ", entry.end, "] hold ", entry.end - entry.begin,
        " bytes, ", entry.unread, ' ', entry.shape, " needs ", bits / 8);
  }

  struct Name {
    std::string text;
    bool empty_key = true;  // none seen yet
  };
  std::string file_;
  std::map<std::string, std::string>& metadata_;
  std::vector<Entry> entries_;
  std::set<std::string> names_;
  Name name_;          // of the tensor
  std::string field_;  // dtype, shape, …
  std::vector<uint64_t> numbers_;
  int depth_ = 0;
  unsigned seen_ = 0;
  bool in_metadata_ = false;
  bool in_array_ = false;
};

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  return read_safetensors(MappedFile::open(path), path.string());
}

TensorFile read_safetensors(std::shared_ptr<const MappedFile> mapped, const std::string& file) {
  TensorFile result;
  result.format = "safetensors";
  result.file = std::move(mapped);
  const auto bytes = result.file->bytes();
  CHECK_INPUT(bytes.size() >= 8, file, ": ", bytes.size(), " bytes are too few for a safetensors file");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  CHECK_INPUT(header_bytes <= kMaxHeaderBytes && header_bytes <= bytes.size() - 8, file,
              ": the header claims ", header_bytes, " bytes of a file of ", bytes.size());
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  CHECK_INPUT(header_bytes > 0 && text[0] == '{', file,
              ": not a safetensors file (the header does not begin with '{')");
  HeaderReader reader(file, result.metadata);
  const bool parsed = json::sax_parse(text, text + header_bytes, &reader);
  CHECK_INPUT(parsed, file, ": the header is not a JSON object");
  const uint64_t data_bytes = bytes.size() - 8 - header_bytes;
  std::vector<Entry>& entries = reader.entries();
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t covered = 0;
  const auto storage = std::make_shared<Storage>(bytes.data(), bytes.size(), result.file);
  for (const Entry& entry : entries) {
    CHECK_INPUT(entry.begin == covered, file, ": tensor \"", entry.name, "\" begins at ", entry.begin,
                ", expected ", covered, " (holes and overlaps are not allowed)");
    covered = entry.end;
    CHECK_INPUT(covered <= data_bytes, file, ": tensor \"", entry.name, "\" ends at ", covered,
                ", the file has ", data_bytes, " bytes of data");
    if (!entry.unread.empty()) {
      detail::add_skipped_tensor(result, file, entry.name, entry.unread);
      continue;
    }
    const uint64_t at = 8 + header_bytes + entry.begin;
    const auto element = static_cast<uint64_t>(size_of(entry.dtype));
    Tensor tensor;
    if (at % element == 0) {
      tensor = Tensor::view(storage, entry.shape, contiguous_strides(entry.shape),
                            static_cast<int64_t>(at / element), entry.dtype);
    } else {  // legal, and written by some tools: a view would be misaligned
      tensor = Tensor::empty(entry.shape, entry.dtype);
      if (entry.end > entry.begin) std::memcpy(tensor.raw(), bytes.data() + at, entry.end - entry.begin);
    }
    detail::add_named_tensor(result, file, entry.name, tensor);
  }
  CHECK_INPUT(covered == data_bytes, file, ": ", data_bytes - covered, " bytes after the last tensor");
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  // Wide elements first, as other writers do: every tensor is then aligned to its elements.
  std::vector<std::pair<std::string, Tensor>> ordered(tensors.begin(), tensors.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return size_of(a.second.dtype()) > size_of(b.second.dtype());
  });
  uint64_t offset = 0;
  for (const auto& [name, tensor] : ordered) {
    const auto bytes = static_cast<uint64_t>(tensor.bytes());
    json shape = json::array();
    for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
    const auto* known =
        std::find_if(std::begin(kDTypes), std::end(kDTypes),
                     [dtype = tensor.dtype()](const NamedDType& d) { return d.dtype == dtype; });
    header[name] = {{"dtype", known->name}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream out(temporary, std::ios::binary);
    const uint64_t header_bytes = text.size();
    out.write(reinterpret_cast<const char*>(&header_bytes), 8);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto& [name, tensor] : ordered) {
      const Tensor host = tensor.to(kCpu).contiguous();
      if (host.bytes() > 0)
        out.write(reinterpret_cast<const char*>(host.raw()), static_cast<std::streamsize>(host.bytes()));
    }
    out.close();
    CHECK(!out.fail(), temporary.string(), ": cannot write (disk full?)");
  });
}

}  // namespace clipcap
