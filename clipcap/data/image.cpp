#include "clipcap/data/image.h"

#include <algorithm>
#include <cstring>
#include <memory>

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

// Old releases of stb_image (2.27 is in Debian 12 and Ubuntu 22.04) write past their tables when a JPEG
// declares more than 256 Huffman codes, or component sizes that do not divide each other. This walks through
// the segments as stb_image does and gives the reason for refusing such a file, or nothing.
const char* jpeg_defect(std::span<const std::byte> bytes) {
  const auto at = [&](size_t i) { return i < bytes.size() ? std::to_integer<uint32_t>(bytes[i]) : 0U; };
  const auto huffman_defect = [&](size_t segment) {
    auto left = static_cast<int64_t>(at(segment) << 8U | at(segment + 1)) - 2;
    for (size_t table = segment + 2; left > 0 && table < bytes.size();) {
      uint32_t codes = 0;
      for (size_t i = 1; i <= 16; ++i) codes += at(table + i);
      if (codes > 256) return true;
      table += 17 + codes;
      left -= 17 + codes;
    }
    return false;
  };
  size_t i = 2;
  while (i + 1 < bytes.size()) {
    if (at(i) != 0xff) {
      ++i;
      continue;
    }
    while (at(i) == 0xff) ++i;
    const uint32_t marker = at(i++);
    if (marker == 0 || (marker >= 0xd0 && marker <= 0xd7)) continue;  // an escaped byte of a scan, a restart
    if (marker == 0xd9) break;                                        // the end; phones append films to it
    if (marker == 0xc4 && huffman_defect(i)) return "bad Huffman table";
    if (marker >= 0xc0 && marker <= 0xc2) {
      const uint32_t components = at(i + 7);
      uint32_t most[2] = {1, 1};
      for (uint32_t c = 0; c < components; ++c) {
        most[0] = std::max(most[0], at(i + 9 + 3 * c) >> 4U);
        most[1] = std::max(most[1], at(i + 9 + 3 * c) & 15U);
      }
      for (uint32_t c = 0; c < components; ++c) {
        const uint32_t size[2] = {at(i + 9 + 3 * c) >> 4U, at(i + 9 + 3 * c) & 15U};
        for (int side = 0; side < 2; ++side) {
          if (size[side] == 0 || most[side] % size[side] != 0) return "bad component size";
        }
      }
    }
    i += std::max(2U, at(i) << 8U | at(i + 1));
  }
  return nullptr;
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
  if (begins_with(bytes, "\xff\xd8")) {
    const char* defect = jpeg_defect(bytes);
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
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(data, size, &width, &height, &channels, 3), stbi_image_free);
  CHECK_INPUT(pixels != nullptr, path.string(), ": broken picture (", stbi_failure_reason(), ")");
  Image image{width, height, {}};
  image.rgb.assign(pixels.get(), pixels.get() + static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
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
