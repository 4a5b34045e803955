#include "clipcap/media/image.h"

#include <algorithm>

#include "clipcap/media/bmp.h"
#include "clipcap/media/content.h"
#include "clipcap/media/jpeg.h"
#include "clipcap/media/png.h"
#include "clipcap/media/webp.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

constexpr size_t kMostBytes = 256U << 20U;

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

// Files that other systems and editors put beside people's own.
bool is_companion(const std::string& name) {
  if (name.empty() || name[0] == '.' || name.back() == '~') return true;
  const std::string known = in_lower_case(name);
  for (const char* one :
       {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "@eadir"}) {
    if (known == one) return true;
  }
  return known.ends_with(".bak");
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
  const ContentKind kind = content_of_file(path).kind;
  if (!is_read_as_picture(kind)) return false;
  if (kind == ContentKind::bmp) return true;
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  return kind == ContentKind::jpeg  ? !is_motion_jpeg(bytes)
         : kind == ContentKind::png ? !is_animated_png(bytes)
                                    : !is_animated_webp(bytes);
}

Image read_picture(const std::filesystem::path& path) {
  const std::string name = path.string();
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  CHECK_INPUT(!bytes.empty(), name, ": the file is empty");
  CHECK_INPUT(bytes.size() <= kMostBytes, name, ": ", bytes.size(), " bytes; a picture has at most ",
              kMostBytes);
  const Content content = content_of(bytes);
  switch (content.kind) {
    case ContentKind::jpeg:
      return read_jpeg(bytes, name);
    case ContentKind::png:
      return read_png(bytes, name);
    case ContentKind::bmp:
      return read_bmp(bytes, name);
    case ContentKind::webp:
      return read_webp(bytes, name);
    case ContentKind::gif:
      fail_input(name, ": a GIF, which is a clip; as pictures JPEG, PNG, BMP and WebP are read");
    case ContentKind::other_picture:
    case ContentKind::foreign:
      fail_input(name, ": ", content.what);
    case ContentKind::unknown:
      break;
  }
  fail_input(name, ": not a picture (JPEG, PNG, BMP and WebP are read)");
}

std::vector<std::filesystem::path> list_frame_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> names;
  std::error_code error;
  const std::filesystem::directory_iterator entries(folder, error);
  CHECK_INPUT(!error, folder.string(), ": ", error.message());
  for (const auto& entry : entries) {
    std::error_code ignored;
    if (is_companion(entry.path().filename().string()) || entry.is_directory(ignored)) continue;
    const Content content = content_of_file(entry.path());
    CHECK_INPUT(content.kind != ContentKind::other_picture, entry.path().string(), ": ", content.what,
                "; convert it or move it out of the folder of frames");
    CHECK_INPUT(content.kind != ContentKind::gif, entry.path().string(),
                ": a GIF in a folder of frames, where JPEG, PNG, BMP and WebP are read");
    CHECK_INPUT(is_read_as_picture(content.kind) || !has_other_picture_ending(entry.path()),
                entry.path().string(),
                ": named like a picture of a kind that is not read (JPEG, PNG, BMP and WebP are)");
    // What is called a picture and is none is not passed over: reading it says what is wrong.
    if (is_read_as_picture(content.kind) || has_picture_ending(entry.path())) names.push_back(entry.path());
  }
  CHECK_INPUT(!names.empty(), folder.string(), ": a folder without frames (JPEG, PNG, BMP or WebP pictures)");
  std::sort(names.begin(), names.end(), [](const std::filesystem::path& a, const std::filesystem::path& b) {
    return natural_less(a.filename().string(), b.filename().string());
  });
  return names;
}

}  // namespace clipcap
