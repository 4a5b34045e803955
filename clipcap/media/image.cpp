#include "clipcap/media/image.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "clipcap/media/jpeg.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_JPEG
#define STBI_NO_HDR
#define STBI_NO_GIF
#define STBI_NO_LINEAR
#define STBI_NO_PSD
#define STBI_NO_TGA
#define STBI_NO_PIC
#define STBI_NO_PNM
#define STBI_MAX_DIMENSIONS 16384
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace clipcap {
namespace {

constexpr size_t kMostBytes = 256U << 20U;
constexpr int64_t kMostPixels = int64_t{1} << 27;

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// Numbers of a PNG's or BMP's header; 0 past its end.
uint32_t big_endian(std::span<const std::byte> bytes, size_t at, size_t width) {
  uint32_t value = 0;
  for (size_t i = 0; i < width; ++i)
    value = value << 8U | (at + i < bytes.size() ? std::to_integer<uint32_t>(bytes[at + i]) : 0U);
  return value;
}
uint32_t little_endian(std::span<const std::byte> bytes, size_t at, size_t width) {
  uint32_t value = 0;
  for (size_t i = width; i-- > 0;) value = value << 8U | big_endian(bytes, at + i, 1);
  return value;
}

// Whether a BMP's palette is no more than grey levels in order: Pillow then opens it as greyscale.
bool has_grey_palette(std::span<const std::byte> bytes, uint32_t bits) {
  const uint32_t header = little_endian(bytes, 14, 4);
  const size_t entry = header == 12 ? 3 : 4;
  uint32_t colours = header == 12 ? 0 : little_endian(bytes, 46, 4);
  if (colours == 0) colours = 1U << bits;
  for (uint32_t i = 0; i < std::min(colours, 256U); ++i) {
    const uint32_t level = colours == 2 ? i * 255 : i;
    for (size_t c = 0; c < 3; ++c) {
      if (big_endian(bytes, 14 + header + i * entry + c, 1) != level) return false;
    }
  }
  return true;
}

// stb_image believes a PNG's chunk lengths and unpacks whatever its data hold: gives the reason for refusing
// a file whose chunks do not fit it, or that has more data than its pixels can need.
const char* png_defect(std::span<const std::byte> bytes) {
  const uint64_t channels = 4;
  const uint64_t row = uint64_t{big_endian(bytes, 16, 4)} * channels * 2 + 8;
  const uint64_t raw = 2 * row * big_endian(bytes, 20, 4);  // twice: interlaced rows are padded
  uint64_t data = 0;
  for (size_t at = 8; at + 8 <= bytes.size();) {
    const uint64_t length = big_endian(bytes, at, 4);
    if (length + 12 > bytes.size() - at) return "a chunk reaches past the end";
    const uint32_t name = big_endian(bytes, at + 4, 4);
    if (name == 0x49444154) data += length;  // IDAT
    if (name == 0x49454e44) break;           // IEND
    at += 12 + static_cast<size_t>(length);
  }
  return data > raw + raw / 8 + 65536 ? "more data than pixels" : nullptr;
}

// The mode in which Pillow opens the picture.
PixelMode mode_of(std::span<const std::byte> bytes) {
  if (begins_with(bytes, "BM")) {
    const uint32_t bits = little_endian(bytes, little_endian(bytes, 14, 4) == 12 ? 24 : 28, 2);
    if (bits == 1) return PixelMode::indexed;
    return bits <= 8 && !has_grey_palette(bytes, bits) ? PixelMode::indexed : PixelMode::rgb;
  }
  const uint32_t depth = big_endian(bytes, 24, 1);
  switch (big_endian(bytes, 25, 1)) {  // the PNG's colour type
    case 0:
      return depth == 1 ? PixelMode::indexed : depth == 16 ? PixelMode::grey16 : PixelMode::rgb;
    case 3:
      return PixelMode::indexed;
    case 4:
    case 6:
      return PixelMode::alpha;
    default:
      return PixelMode::rgb;
  }
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

// Digits compare by value, everything else by character.
bool natural_less(const std::string& a, const std::string& b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      size_t i_end = i;
      size_t j_end = j;
      while (i_end < a.size() && digit(a[i_end])) ++i_end;
      while (j_end < b.size() && digit(b[j_end])) ++j_end;
      while (i + 1 < i_end && a[i] == '0') ++i;
      while (j + 1 < j_end && b[j] == '0') ++j;
      if (i_end - i != j_end - j) return i_end - i < j_end - j;
      const int order = a.compare(i, i_end - i, b, j, j_end - j);
      if (order != 0) return order < 0;
      i = i_end;
      j = j_end;
      continue;
    }
    if (a[i] != b[j]) return a[i] < b[j];
    ++i;
    ++j;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;
}

}  // namespace

std::vector<uint8_t> rgb_of_ink(const std::vector<uint8_t>& ink) {
  std::vector<uint8_t> rgb;
  rgb.reserve(ink.size() / 4 * 3);
  for (size_t i = 0; i + 3 < ink.size(); i += 4) {
    const unsigned light = 255U - ink[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const unsigned product = ink[i + c] * light + 128;
      const unsigned share = ((product >> 8U) + product) >> 8U;
      rgb.push_back(static_cast<uint8_t>(light > share ? light - share : 0));
    }
  }
  return rgb;
}

bool is_picture(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  using namespace std::string_view_literals;
  return begins_with(bytes, "\xff\xd8\xff"sv) || begins_with(bytes, "\x89PNG\r\n\x1a\n"sv) ||
         begins_with(bytes, "BM"sv);
}

Image read_picture(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  CHECK_INPUT(!bytes.empty(), path.string(), ": the file is empty");
  CHECK_INPUT(bytes.size() <= kMostBytes, path.string(), ": ", bytes.size(), " bytes; a picture has at most ",
              kMostBytes);
  if (begins_with(bytes, "\xff\xd8")) return read_jpeg(bytes, path.string());
  if (begins_with(bytes, "\x89PNG")) {
    const char* defect = png_defect(bytes);
    CHECK_INPUT(defect == nullptr, path.string(), ": broken picture (", defect, ")");
  }
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0;
  int height = 0;
  int channels = 0;
  CHECK_INPUT(stbi_info_from_memory(data, size, &width, &height, &channels) == 1, path.string(),
              ": not a picture (", stbi_failure_reason(), ")");
  CHECK_INPUT(width > 0 && height > 0 && int64_t{width} * height <= kMostPixels, path.string(), ": ", width,
              " x ", height, " pixels are too many");
  Image image{width, height, {}, mode_of(bytes)};
  const auto decoded = [&](auto* pixels) {
    CHECK_INPUT(pixels != nullptr, path.string(), ": broken picture (", stbi_failure_reason(), ")");
    return std::unique_ptr<std::remove_pointer_t<decltype(pixels)>, void (*)(void*)>(pixels, stbi_image_free);
  };
  if (image.mode == PixelMode::grey16) {
    take_grey16(decoded(stbi_load_16_from_memory(data, size, &width, &height, &channels, 1)).get(), image);
  } else if (image.mode == PixelMode::alpha) {
    take_rgba(decoded(stbi_load_from_memory(data, size, &width, &height, &channels, 4)).get(), image);
  } else {
    const auto pixels = decoded(stbi_load_from_memory(data, size, &width, &height, &channels, 3));
    image.rgb.assign(pixels.get(),
                     pixels.get() + static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  }
  return image;
}

std::vector<std::filesystem::path> list_frame_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> names;
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  CHECK_INPUT(!error, folder.string(), ": ", error.message());
  for (const auto& entry : entries) {
    std::string ending = entry.path().extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (ending == ".jpg" || ending == ".jpeg" || ending == ".png" || ending == ".bmp")
      names.push_back(entry.path());
  }
  CHECK_INPUT(!names.empty(), folder.string(), ": a folder without JPEG or PNG frames");
  std::sort(names.begin(), names.end(), [](const std::filesystem::path& a, const std::filesystem::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return names;
}

}  // namespace clipcap
