#include "tensor/io/foreign_file.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr size_t kLooked = 4096;  // bytes at the beginning that are looked at

struct Magic {
  size_t at;
  std::string_view bytes;
  const char* what;
};
constexpr Magic kMagics[] = {
    {0, std::string_view("\x89PNG\r\n\x1a\n", 8), "a PNG picture"},
    {0, "\xff\xd8\xff", "a JPEG picture"},
    {0, "GIF8", "a GIF picture"},
    {0, "%PDF-", "a PDF document"},
    {0, std::string_view("\x1f\x8b\x08", 3), "a gzip archive (unpack it first)"},
    {0,
     std::string_view("\xfd"
                      "7zXZ",
                      5),
     "an xz archive (unpack it first)"},
    {0, "BZh", "a bzip2 archive (unpack it first)"},
    {0, std::string_view("\x28\xb5\x2f\xfd", 4), "a zstd archive (unpack it first)"},
    {0, std::string_view("7z\xbc\xaf\x27\x1c", 6), "a 7z archive (unpack it first)"},
    {0, "Rar!", "a RAR archive (unpack it first)"},
    {257, "ustar", "a tar archive (unpack it first)"},
    {0, std::string_view("\x89HDF\r\n\x1a\n", 8), "an HDF5 file (Keras, TensorFlow)"},
    {0, "GGUF", "a GGUF file (llama.cpp)"},
    {0, "ggml", "a GGML file (llama.cpp)"},
    {0, "lmgg", "a GGML file (llama.cpp)"},
    {4, "TFL3", "a TensorFlow Lite model"},
    {0,
     "\x7f"
     "ELF",
     "a program"},
    {0, "MZ", "a program for Windows"},
    {8, "WEBP", "a WebP picture"},
    {8, "AVI ", "a video (AVI)"},
    {8, "WAVE", "a sound file (WAV)"},
    {0, "\x1a\x45\xdf\xa3", "a video (Matroska, WebM)"},
    {4, "ftypheic", "a HEIC picture"},
    {4, "ftypheix", "a HEIC picture"},
    {4, "ftypmif1", "a HEIF picture"},
    {4, "ftypavif", "an AVIF picture"},
    {4, "ftyp", "a video (MP4)"},
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool is_text(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == 0x7f || (byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f');
  });
}

// "size 605247071" of a pointer.
std::string pointer_size(std::string_view text) {
  const size_t at = text.find("\nsize ");
  if (at == std::string_view::npos) return {};
  std::string_view digits = text.substr(at + 6);
  digits = digits.substr(0, std::min<size_t>(18, digits.find_first_not_of("0123456789")));
  return digits.empty() ? std::string() : " of " + std::string(digits) + " bytes";
}

}  // namespace

std::string foreign_content(std::span<const std::byte> bytes) {
  if (bytes.empty()) return "an empty file";
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kLooked));
  for (const Magic& magic : kMagics) {
    if (text.size() >= magic.at + magic.bytes.size() &&
        text.substr(magic.at, magic.bytes.size()) == magic.bytes)
      return magic.what;
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \t\r\n")));
  if (text.starts_with("version https://git-lfs.github.com/spec") ||
      text.starts_with("version https://hawser.github.com/spec") ||
      text.starts_with("version http://git-media.io")) {
    return concat_text("a Git LFS pointer, not the file", pointer_size(text),
                       " that it stands for (git lfs pull fetches that)");
  }
  const std::string start = lower(text.substr(0, 1024));
  if (text.starts_with("/annex/objects/") || start.find(".git/annex/objects/") < 64)
    return "a git-annex pointer, not the file that it stands for (git annex get fetches that)";
  for (const char* tag : {"<!doctype html", "<html", "<head", "<body", "<title", "<script", "<meta"}) {
    if (start.starts_with(tag))
      return "a web page (HTML), not the file: the download gave a page in its place";
  }
  if (start.starts_with("<!--") && start.find("<html") != std::string::npos)
    return "a web page (HTML), not the file: the download gave a page in its place";
  if (start.starts_with("<?xml") || start.starts_with("<error")) {
    return start.find("<html") != std::string::npos
               ? "a web page (HTML), not the file: the download gave a page in its place"
               : "an XML text (a server's answer in the file's place?)";
  }
  if (!is_text(text)) {
    const auto first = static_cast<unsigned char>(text[0]);
    if (text.size() > 1 && first == 0x80 && text[1] >= 2 && text[1] <= 5)
      return "a Python pickle that torch.save did not write";
    return {};
  }
  if (start.starts_with("{") || start.starts_with("[")) return "a JSON text";
  return "a text file";
}

}  // namespace clipcap
