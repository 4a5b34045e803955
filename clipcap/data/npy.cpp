#include "clipcap/data/npy.h"

#include <charconv>
#include <cstring>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

// The value of 'key': in the header's Python dictionary, up to `end`.
std::string_view value_of(std::string_view header, std::string_view key, char end) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) return {};
  const size_t colon = header.find(':', at);
  if (colon == std::string_view::npos) return {};
  const size_t stop = header.find(end, colon);
  if (stop == std::string_view::npos) return {};
  std::string_view value = header.substr(colon + 1, stop - colon);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  return value;
}

}  // namespace

NpyArray read_npy(const std::filesystem::path& path) {
  const std::string name = path.string();
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  CHECK_INPUT(bytes.size() >= 12 && std::memcmp(bytes.data(), "\x93NUMPY", 6) == 0, name,
              ": not a .npy file");
  const int version = std::to_integer<int>(bytes[6]);
  CHECK_INPUT(version >= 1 && version <= 3, name, ": .npy version ", version, " is not supported");
  uint64_t header_bytes = std::to_integer<uint64_t>(bytes[8]) | (std::to_integer<uint64_t>(bytes[9]) << 8);
  const uint64_t prefix = version == 1 ? 10 : 12;
  if (version > 1)
    header_bytes |=
        (std::to_integer<uint64_t>(bytes[10]) << 16) | (std::to_integer<uint64_t>(bytes[11]) << 24);
  CHECK_INPUT(header_bytes <= bytes.size() - prefix, name, ": truncated header");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + prefix, header_bytes);
  const std::string_view order = value_of(header, "'fortran_order'", ',');
  CHECK_INPUT(order.starts_with("False"), name, ": expected C order");
  const std::string_view type = value_of(header, "'descr'", ',');
  const DType dtype = type.starts_with("'<f4'")   ? DType::f32
                      : type.starts_with("'<f8'") ? DType::f64
                      : type.starts_with("'<f2'") ? DType::f16
                                                  : DType::u8;
  CHECK_INPUT(dtype != DType::u8, name, ": element type ", std::string(type),
              " is not supported (<f4, <f8, <f2 are)");
  std::string_view sizes = value_of(header, "'shape'", ')');
  CHECK_INPUT(sizes.starts_with("("), name, ": no shape in the header");
  sizes.remove_prefix(1);
  NpyArray array;
  int64_t count = 1;
  while (!sizes.empty() && sizes.front() != ')') {
    int64_t size = -1;
    const auto [end, error] = std::from_chars(sizes.data(), sizes.data() + sizes.size(), size);
    CHECK_INPUT(error == std::errc() && size >= 0 && array.shape.size() < 6 &&
                    !__builtin_mul_overflow(count, size, &count),
                name, ": bad shape in the header");
    array.shape.push_back(size);
    sizes.remove_prefix(static_cast<size_t>(end - sizes.data()));
    while (!sizes.empty() && (sizes.front() == ',' || sizes.front() == ' ')) sizes.remove_prefix(1);
  }
  const uint64_t have = bytes.size() - prefix - header_bytes;
  const auto element = static_cast<uint64_t>(size_of(dtype));
  CHECK_INPUT(
      static_cast<uint64_t>(count) <= have / element && static_cast<uint64_t>(count) * element == have, name,
      ": ", have, " bytes of data for ", count, " numbers");
  array.values.resize(static_cast<size_t>(count));
  const std::byte* data = bytes.data() + prefix + header_bytes;
  visit_dtype(dtype, [&](auto tag) {
    using T = decltype(tag);
    for (size_t i = 0; i < array.values.size(); ++i) {
      T value;
      std::memcpy(&value, data + i * sizeof(T), sizeof(T));
      array.values[i] = static_cast<float>(value);
    }
  });
  return array;
}

}  // namespace clipcap
