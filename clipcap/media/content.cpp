#include "clipcap/media/content.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

namespace clipcap {
namespace {

using namespace std::string_view_literals;

struct Magic {
  size_t at;
  std::string_view bytes;
  ContentKind kind;
  const char* name;
};

constexpr Magic kMagics[] = {
    {0, "\xff\xd8\xff"sv, ContentKind::jpeg, "a JPEG picture"},
    {0, "\x89PNG\r\n\x1a\n"sv, ContentKind::png, "a PNG picture"},
    {8, "WEBP"sv, ContentKind::webp, "a WebP picture"},
    {0, "GIF8"sv, ContentKind::gif, "a GIF"},
    {0, "II*\0"sv, ContentKind::other_picture, "TIFF"},
    {0, "MM\0*"sv, ContentKind::other_picture, "TIFF"},
    {0, "II+\0"sv, ContentKind::other_picture, "TIFF"},
    {0, "MM\0+"sv, ContentKind::other_picture, "TIFF"},
    {0, "8BPS"sv, ContentKind::other_picture, "Photoshop"},
    {0, "\0\0\0\x0cjP  "sv, ContentKind::other_picture, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, ContentKind::other_picture, "JPEG 2000"},
    {0, "\xff\x0a"sv, ContentKind::other_picture, "JPEG XL"},
    {0, "\0\0\0\x0cJXL "sv, ContentKind::other_picture, "JPEG XL"},
    {0, "\x76\x2f\x31\x01"sv, ContentKind::other_picture, "OpenEXR"},
    {0, "#?RADIANCE"sv, ContentKind::other_picture, "Radiance HDR"},
    {0, "DDS "sv, ContentKind::other_picture, "DDS"},
    {0, "qoif"sv, ContentKind::other_picture, "QOI"},
    {0, "gimp xcf"sv, ContentKind::other_picture, "GIMP"},
    {0, "\x59\xa6\x6a\x95"sv, ContentKind::other_picture, "Sun raster"},
    {0, "/* XPM */"sv, ContentKind::other_picture, "XPM"},
    {0, "farbfeld"sv, ContentKind::other_picture, "farbfeld"},
    {0, "BPG\xfb"sv, ContentKind::other_picture, "BPG"},
    {0, "FLIF"sv, ContentKind::other_picture, "FLIF"},
    {0, "FUJIFILMCCD-RAW"sv, ContentKind::other_picture, "camera raw"},
    {0, "version https://git-lfs"sv, ContentKind::foreign,
     "a Git LFS pointer in the file's place (git lfs pull fetches the file itself)"},
    {0, "%PDF"sv, ContentKind::foreign, "a PDF document, neither picture nor video"},
    {0, "PK\3\4"sv, ContentKind::foreign, "a ZIP archive, neither picture nor video"},
    {0, "\x1f\x8b\x08"sv, ContentKind::foreign, "a gzip archive, neither picture nor video"},
    {0, "7z\xbc\xaf\x27\x1c"sv, ContentKind::foreign, "a 7-Zip archive, neither picture nor video"},
    {0, "Rar!\x1a\x07"sv, ContentKind::foreign, "a RAR archive, neither picture nor video"},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     ContentKind::foreign, "an xz archive, neither picture nor video"},
    {0, "\x28\xb5\x2f\xfd"sv, ContentKind::foreign, "a Zstandard archive, neither picture nor video"},
};

std::string not_read(const std::string& name) {
  return "a picture of the kind " + name + ", which is not read (JPEG, PNG, BMP and WebP are)";
}

// HEIC, AVIF and Canon's raw pictures are MP4 files by their build: the brands tell.
std::string_view picture_brand(std::string_view head) {
  if (head.size() < 16 || head.substr(4, 4) != "ftyp") return {};
  const auto size =
      std::min<size_t>(head.size(), static_cast<uint8_t>(head[3]) + 256U * static_cast<uint8_t>(head[2]));
  const std::string_view major = head.substr(8, 4);
  const auto compatible = [&](std::string_view brand) {
    for (size_t at = 16; at + 4 <= size; at += 4) {
      if (head.substr(at, 4) == brand) return true;
    }
    return major == brand;
  };
  if (major == "crx ") return "camera raw";
  if (major == "avif" || (major == "mif1" && compatible("avif"))) return "AVIF";
  for (const std::string_view brand : {"heic"sv, "heix"sv, "heim"sv, "heis"sv, "mif1"sv, "mif2"sv}) {
    if (major == brand) return compatible("heic") || compatible("heix") || brand[0] == 'h' ? "HEIC" : "HEIF";
  }
  return {};
}

bool is_netpbm(std::string_view head) {
  return head.size() > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '7' &&
         (head[2] == '\n' || head[2] == ' ' || head[2] == '\r' || head[2] == '\t');
}

bool is_icon(std::string_view head) {
  return head.size() > 22 && head[0] == 0 && head[1] == 0 && (head[2] == 1 || head[2] == 2) && head[3] == 0 &&
         head[4] != 0 && head[5] == 0 && head[9] == 0 && (head[10] == 0 || head[10] == 1 || head[2] == 2);
}

bool is_pcx(std::string_view head) {
  return head.size() > 4 && head[0] == 10 && head[1] >= 0 && head[1] <= 5 && head[2] == 1 &&
         (head[3] == 1 || head[3] == 2 || head[3] == 4 || head[3] == 8);
}

// Targa has no magic number: true colours or greys without a palette, of a known depth.
bool is_targa(std::string_view head) {
  if (head.size() < 18 || head.substr(3, 5) != "\0\0\0\0\0"sv || head[1] != 0) return false;
  const bool kind = head[2] == 2 || head[2] == 3 || head[2] == 10 || head[2] == 11;
  const bool depth = head[16] == 8 || head[16] == 16 || head[16] == 24 || head[16] == 32;
  return kind && depth && (head[12] != 0 || head[13] != 0) && (head[14] != 0 || head[15] != 0);
}

// A BMP's header has one of a few lengths.
bool is_bmp(std::string_view head) {
  if (head.substr(0, 2) != "BM" || head.size() < 18 || head.substr(15, 3) != "\0\0\0"sv) return false;
  const auto length = static_cast<uint8_t>(head[14]);
  return length == 12 || length == 16 || length == 40 || length == 52 || length == 56 || length == 64 ||
         length == 108 || length == 124;
}

// Marked-up text in lower case, without what may stand before it.
std::string begin_of_text(std::string_view head) {
  if (head.substr(0, 3) == "\xef\xbb\xbf") head.remove_prefix(3);
  while (!head.empty() && (head[0] == ' ' || (head[0] >= '\t' && head[0] <= '\r'))) head.remove_prefix(1);
  return in_lower_case(std::string(head));
}

bool is_text(std::string_view head) {
  return !head.empty() && std::all_of(head.begin(), head.end(), [](char c) {
    return static_cast<uint8_t>(c) >= 0x20 ? c != 0x7f : c >= '\t' && c <= '\r';
  });
}

}  // namespace

std::string in_lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

bool has_picture_ending(const std::filesystem::path& path) {
  const std::string ending = in_lower_case(path.extension().string());
  for (const char* one : {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp"}) {
    if (ending == one) return true;
  }
  return false;
}

bool has_other_picture_ending(const std::filesystem::path& path) {
  const std::string ending = in_lower_case(path.extension().string());
  for (const char* one : {".tif", ".tiff", ".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k",
                          ".tga", ".pcx",  ".ppm", ".pgm",  ".pnm",  ".psd",  ".exr", ".hdr", ".dng",
                          ".cr2", ".cr3",  ".nef", ".arw",  ".raf",  ".orf",  ".rw2", ".raw"}) {
    if (ending == one) return true;
  }
  return false;
}

Content content_of(std::span<const std::byte> bytes) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kContentBytes));
  for (const Magic& magic : kMagics) {
    if (head.size() < magic.at || head.substr(magic.at, magic.bytes.size()) != magic.bytes) continue;
    if (magic.kind == ContentKind::webp && head.substr(0, 4) != "RIFF") continue;
    return {magic.kind, magic.kind == ContentKind::other_picture ? not_read(magic.name) : magic.name};
  }
  if (is_bmp(head)) return {ContentKind::bmp, "a BMP picture"};
  if (const std::string_view brand = picture_brand(head); !brand.empty())
    return {ContentKind::other_picture, not_read(std::string(brand))};
  if (is_netpbm(head)) return {ContentKind::other_picture, not_read("PBM, PGM or PPM")};
  if (is_icon(head)) return {ContentKind::other_picture, not_read("icon")};
  if (is_pcx(head)) return {ContentKind::other_picture, not_read("PCX")};
  if (is_targa(head)) return {ContentKind::other_picture, not_read("Targa (TGA)")};
  const std::string text = begin_of_text(head);
  const auto begins = [&](std::string_view with) {
    return std::string_view(text).substr(0, with.size()) == with;
  };
  if (begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body") ||
      (begins("<?xml") && text.find("<html") != std::string::npos))
    return {ContentKind::foreign, "a web page (HTML) in the file's place"};
  if (begins("<svg") ||
      ((begins("<?xml") || begins("<!doctype svg")) && text.find("<svg") != std::string::npos))
    return {ContentKind::other_picture, not_read("SVG")};
  if (begins("<?xml") && !begins("<?xml-stylesheet"))
    return {ContentKind::foreign, "an XML text, neither picture nor video"};
  // Subtitles, playlists and the like are text that FFmpeg knows: it says so better.
  if (is_text(head) && (begins("{") || begins("[")))
    return {ContentKind::foreign, "a JSON text, neither picture nor video"};
  return {};
}

Content content_of_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) return {};
  std::array<std::byte, kContentBytes> head{};
  const size_t got = std::fread(head.data(), 1, head.size(), file.get());
  return content_of(std::span(head).first(got));
}

}  // namespace clipcap
