#include "clipcap/media/png.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "clipcap/media/picture_limits.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS 65535
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace clipcap {
namespace {

uint32_t big_endian(std::span<const std::byte> bytes, size_t at, size_t width) {
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i)
    value = value << 8U | (at + i < bytes.size() ? std::to_integer<uint32_t>(bytes[at + i]) : 0U);
  return value;
}

constexpr uint32_t name_of(const char (&text)[5]) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8U | static_cast<uint8_t>(text[i]);
  return value;
}

struct Chunk {
  uint32_t name = 0;
  size_t at = 0;                      // of its length
  std::span<const std::byte> data{};  // as much of it as there is
  bool whole = true;                  // with its checksum
};

std::vector<Chunk> chunks_of(std::span<const std::byte> bytes) {
  std::vector<Chunk> chunks;
  constexpr size_t kMost = 1U << 20U;
  for (size_t at = 8; at + 8 <= bytes.size() && chunks.size() < kMost;) {
    const uint64_t length = big_endian(bytes, at, 4);
    const size_t there = std::min<uint64_t>(length, bytes.size() - at - 8);
    const bool whole = length + 12 <= bytes.size() - at;
    chunks.push_back({big_endian(bytes, at + 4, 4), at, bytes.subspan(at + 8, there), whole});
    if (!whole || chunks.back().name == name_of("IEND")) break;
    at += 12 + static_cast<size_t>(length);
  }
  return chunks;
}

struct Shape {
  int64_t width = 0;
  int64_t height = 0;
  uint32_t depth = 0;
  uint32_t kind = 0;  // colour type
  bool interlaced = false;

  [[nodiscard]] int64_t bits() const {  // a pixel
    const int64_t channels = kind == 2 ? 3 : kind == 4 ? 2 : kind == 6 ? 4 : 1;
    return channels * depth;
  }
  // Bytes of all rows with their filters' numbers.
  [[nodiscard]] int64_t raw_bytes() const {
    const auto rows = [&](int64_t w, int64_t h) { return w == 0 ? 0 : h * (1 + (w * bits() + 7) / 8); };
    if (!interlaced) return rows(width, height);
    static constexpr int64_t kPasses[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                              {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};  // first x, y; steps
    int64_t sum = 0;
    for (const auto& [x, y, dx, dy] : kPasses) {
      sum += rows(std::max<int64_t>(0, (width - x + dx - 1) / dx),
                  std::max<int64_t>(0, (height - y + dy - 1) / dy));
    }
    return sum;
  }
};

// The mode in which Pillow opens the picture.
PixelMode mode_of(const Shape& shape) {
  switch (shape.kind) {
    case 0:
      return shape.depth == 1 ? PixelMode::indexed : shape.depth == 16 ? PixelMode::grey16 : PixelMode::rgb;
    case 3:
      return PixelMode::indexed;
    case 4:
    case 6:
      return PixelMode::alpha;
    default:
      return PixelMode::rgb;
  }
}

// Unpacks as much as there is of the picture's data; false if not all rows are in it.
bool unpack_rows(const std::vector<Chunk>& chunks, std::vector<uint8_t>& rows) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return false;
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, inflateEnd);
  stream.next_out = rows.data();
  stream.avail_out = static_cast<uInt>(rows.size());
  for (const Chunk& chunk : chunks) {
    if (chunk.name != name_of("IDAT")) continue;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(chunk.data.data()));
    stream.avail_in = static_cast<uInt>(chunk.data.size());
    const int code = inflate(&stream, Z_SYNC_FLUSH);
    if (code != Z_OK && code != Z_BUF_ERROR) break;
  }
  return stream.avail_out == 0;
}

void put(std::vector<uint8_t>& file, uint32_t name, std::span<const std::byte> data) {
  const auto number = [&](uint32_t value) {
    for (unsigned shift = 32; shift > 0; shift -= 8)
      file.push_back(static_cast<uint8_t>(value >> (shift - 8)));
  };
  number(static_cast<uint32_t>(data.size()));
  number(name);
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  file.insert(file.end(), bytes, bytes + data.size());
  number(0);  // the checksum: stb_image does not look at it
}

// The file again, complete: what stb_image wants of a picture whose end is missing. Empty if
// rows are missing.
std::vector<uint8_t> completed(std::span<const std::byte> bytes, const std::vector<Chunk>& chunks,
                               const Shape& shape) {
  std::vector<uint8_t> rows(static_cast<size_t>(shape.raw_bytes()));
  if (!unpack_rows(chunks, rows)) return {};
  uLongf size = compressBound(rows.size());
  std::vector<std::byte> packed(size);
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size, rows.data(), rows.size(), 1) != Z_OK)
    return {};
  const auto* head = reinterpret_cast<const uint8_t*>(bytes.data());
  std::vector<uint8_t> file(head, head + 8);
  for (const Chunk& chunk : chunks) {
    if (chunk.name == name_of("IHDR") || chunk.name == name_of("PLTE") || chunk.name == name_of("tRNS"))
      put(file, chunk.name, chunk.data);
  }
  put(file, name_of("IDAT"), std::span(packed).first(size));
  put(file, name_of("IEND"), {});
  return file;
}

// Splits [H,W,4] into colours and alpha.
void take_rgba(const uint8_t* rgba, Image& image) {
  const auto count = static_cast<size_t>(image.width * image.height);
  image.rgb.resize(3 * count);
  image.alpha.resize(count);
  for (size_t i = 0; i < count; ++i) {
    std::copy_n(rgba + 4 * i, 3, image.rgb.data() + 3 * i);
    image.alpha[i] = rgba[4 * i + 3];
  }
}

void take_grey16(const uint16_t* grey, Image& image) {
  const auto count = static_cast<size_t>(image.width * image.height);
  image.grey16.assign(grey, grey + count);
  image.rgb.resize(3 * count);
  for (size_t i = 0; i < count; ++i)
    std::fill_n(image.rgb.data() + 3 * i, 3, static_cast<uint8_t>(std::min<uint16_t>(grey[i], 255)));
}

}  // namespace

Image read_png(std::span<const std::byte> bytes, const std::string& name) {
  CHECK_INPUT(bytes.size() >= 33 && big_endian(bytes, 12, 4) == name_of("IHDR"), name,
              ": broken picture (a PNG without its header)");
  const Shape shape{big_endian(bytes, 16, 4), big_endian(bytes, 20, 4), big_endian(bytes, 24, 1),
                    big_endian(bytes, 25, 1), big_endian(bytes, 28, 1) != 0};
  check_picture_size(name, shape.width, shape.height);
  CHECK_INPUT(shape.depth <= 16 && shape.kind <= 6, name, ": broken picture (a PNG of ", shape.depth,
              " bits, colour type ", shape.kind, ")");
  const std::vector<Chunk> chunks = chunks_of(bytes);
  // stb_image believes chunk lengths and unpacks whatever the data hold: a file that has more data than its
  // pixels can need is refused.
  const auto raw = static_cast<uint64_t>(shape.raw_bytes());
  uint64_t data = 0;
  for (const Chunk& chunk : chunks) data += chunk.name == name_of("IDAT") ? chunk.data.size() : 0;
  CHECK_INPUT(data <= raw + raw / 8 + 65536, name, ": broken picture (more data than pixels)");
  std::vector<uint8_t> repaired;
  if (!chunks.back().whole || chunks.back().name != name_of("IEND")) {
    repaired = completed(bytes, chunks, shape);
    CHECK_INPUT(!repaired.empty(), name, ": broken picture (the PNG ends before its last row)");
    bytes = std::as_bytes(std::span(repaired));
  }
  const auto* begin = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0;
  int height = 0;
  int channels = 0;
  Image image{shape.width, shape.height, {}, mode_of(shape)};
  const auto decoded = [&](auto* pixels) {
    CHECK_INPUT(pixels != nullptr, name, ": broken picture (", stbi_failure_reason(), ")");
    return std::unique_ptr<std::remove_pointer_t<decltype(pixels)>, void (*)(void*)>(pixels, stbi_image_free);
  };
  if (image.mode == PixelMode::grey16) {
    take_grey16(decoded(stbi_load_16_from_memory(begin, size, &width, &height, &channels, 1)).get(), image);
  } else if (image.mode == PixelMode::alpha) {
    take_rgba(decoded(stbi_load_from_memory(begin, size, &width, &height, &channels, 4)).get(), image);
  } else {
    const auto pixels = decoded(stbi_load_from_memory(begin, size, &width, &height, &channels, 3));
    image.rgb.assign(pixels.get(),
                     pixels.get() + static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  }
  return image;
}

bool is_animated_png(std::span<const std::byte> bytes) {
  for (const Chunk& chunk : chunks_of(bytes)) {
    if (chunk.name == name_of("IDAT")) return false;
    if (chunk.name == name_of("acTL")) return big_endian(chunk.data, 0, 4) > 1;
  }
  return false;
}

}  // namespace clipcap
