#include "tensor/io/npy.h"

#include <charconv>
#include <cstring>
#include <string_view>

namespace clipcap {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kLongestHeader = 1 << 16;

struct Header {
  DType dtype = DType::f32;
  bool fortran_order = false;
  bool swapped = false;  // big-endian numbers
  Shape shape;
};

// The header is the text of a Python dictionary with three known keys, in any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Header parse() {
    Header header;
    bool have[3] = {};
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr") {
        parse_type(quoted(), header);
        have[0] = true;
      } else if (key == "fortran_order") {
        header.fortran_order = truth();
        have[1] = true;
      } else if (key == "shape") {
        header.shape = sizes();
        have[2] = true;
      } else {
        fail_input(file_, ": unknown key in the .npy header");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    CHECK_INPUT(have[0] && have[1] && have[2], file_,
                ": the .npy header lacks descr, fortran_order or shape");
    return header;
  }

 private:
  void skip_spaces() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n' || text_.front() == '\t')) {
      text_.remove_prefix(1);
    }
  }
  bool accept(char c) {
    skip_spaces();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    CHECK_INPUT(accept(c), file_, ": the .npy header is malformed (expected '", c, "')");
  }
  std::string_view quoted() {
    skip_spaces();
    const char quote = text_.empty() ? '\0' : text_.front();
    CHECK_INPUT(quote == '\'' || quote == '"', file_,
                ": the .npy header is malformed (expected a string; records are not read)");
    text_.remove_prefix(1);
    const size_t end = text_.find(quote);
    CHECK_INPUT(end != std::string_view::npos, file_, ": the .npy header is malformed (open string)");
    const std::string_view value = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return value;
  }
  bool truth() {
    skip_spaces();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    fail_input(file_, ": the .npy header is malformed (expected True or False)");
  }
  Shape sizes() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      skip_spaces();
      int64_t size = -1;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      CHECK_INPUT(error == std::errc() && size >= 0 && shape.rank() < kMaxRank, file_,
                  ": bad shape in the .npy header (at most ", kMaxRank, " sizes from 0 on)");
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      accept('L');  // Python 2 wrote long integers so
      shape.append(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }
  void parse_type(std::string_view type, Header& header) const {
    struct Known {
      std::string_view name;
      DType dtype;
    };
    constexpr Known kKnown[] = {{"f4", DType::f32}, {"f8", DType::f64}, {"f2", DType::f16},
                                {"i8", DType::i64}, {"i4", DType::i32}, {"i2", DType::i16},
                                {"i1", DType::i8},  {"u1", DType::u8},  {"b1", DType::boolean}};
    const std::string_view order = "<>|=";
    for (const Known& known : kKnown) {
      if (type.size() != 3 || order.find(type[0]) == std::string_view::npos || type.substr(1) != known.name)
        continue;
      header.dtype = known.dtype;
      header.swapped = type[0] == '>';
      return;
    }
    fail_input(file_, ": elements of type \"", std::string(type.substr(0, 20)),
               "\" are not read (f2 f4 f8 i1 i2 i4 i8 u1 b1 are)");
  }

  std::string_view text_;
  const std::string& file_;
};

}  // namespace

bool is_npy(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

TensorFile read_npy(std::shared_ptr<const MappedFile> file, const std::string& name) {
  const auto bytes = file->bytes();
  CHECK_INPUT(is_npy(bytes), name, ": not a .npy file");
  CHECK_INPUT(bytes.size() >= 12, name, ": truncated .npy header");
  const auto byte = [&](size_t at) { return std::to_integer<uint64_t>(bytes[at]); };
  const uint64_t version = byte(6);
  CHECK_INPUT(version >= 1 && version <= 3, name, ": .npy version ", version, " is not read (1 to 3 are)");
  const uint64_t prefix = version == 1 ? 10 : 12;
  uint64_t header_bytes = byte(8) | (byte(9) << 8);
  if (version > 1) header_bytes |= (byte(10) << 16) | (byte(11) << 24);
  CHECK_INPUT(header_bytes <= bytes.size() - prefix, name, ": truncated .npy header");
  CHECK_INPUT(header_bytes <= kLongestHeader, name, ": a .npy header of ", header_bytes, " bytes; at most ",
              kLongestHeader, " expected");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + prefix, header_bytes);
  const Header header = HeaderParser(text, name).parse();
  const auto element = static_cast<uint64_t>(size_of(header.dtype));
  const uint64_t have = bytes.size() - prefix - header_bytes;
  const uint64_t need = detail::bytes_of(name, header.shape, header.dtype);
  CHECK_INPUT(need == have, name, ": ", have, " bytes of data, the .npy header needs ", need);

  const std::byte* data = bytes.data() + prefix + header_bytes;
  std::shared_ptr<Storage> storage;
  if (!header.swapped && reinterpret_cast<uintptr_t>(data) % element == 0) {
    storage = std::make_shared<Storage>(data, have, file);
  } else {
    storage = std::make_shared<Storage>(have, kCpu);
    if (have > 0) std::memcpy(storage->data(), data, have);
    if (header.swapped) detail::swap_bytes(storage->data(), have, element);
  }
  Strides strides = contiguous_strides(header.shape);
  if (header.fortran_order) {
    int64_t step = 1;
    for (int i = 0; i < header.shape.rank(); ++i) {
      strides[static_cast<size_t>(i)] = step;
      step *= std::max<int64_t>(1, header.shape[i]);
    }
  }
  TensorFile result;
  result.format = concat_text("NumPy .npy, version ", version, header.fortran_order ? ", Fortran order" : "");
  result.tensors.emplace("array", Tensor::view(storage, header.shape, strides, 0, header.dtype));
  result.file = std::move(file);
  return result;
}

Tensor read_npy(const std::filesystem::path& path) {
  return read_npy(MappedFile::open(path), path.string()).tensors.at("array");
}

}  // namespace clipcap
