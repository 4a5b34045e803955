// What a file is, by its first bytes and never by its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace clipcap {

enum class ContentKind : uint8_t {
  jpeg,
  png,
  bmp,
  webp,
  gif,            // a clip
  other_picture,  // a picture of a kind that is not read
  foreign,        // neither picture nor video: a web page, an archive, text
  unknown         // perhaps a video
};

struct Content {
  ContentKind kind = ContentKind::unknown;
  std::string what{};  // what to call it after "FILE: ", with what to do about it; empty where unknown
};

/// As much of a file as content_of() wants to see.
inline constexpr size_t kContentBytes = 1024;

[[nodiscard]] Content content_of(std::span<const std::byte> head);
/// Reads the file's beginning. `unknown` for what is no regular file or cannot be opened.
[[nodiscard]] Content content_of_file(const std::filesystem::path& path);

/// Whether the name ends like one of a picture that is read.
[[nodiscard]] bool has_picture_ending(const std::filesystem::path& path);
/// Whether it ends like one of a picture that is not.
[[nodiscard]] bool has_other_picture_ending(const std::filesystem::path& path);
[[nodiscard]] std::string in_lower_case(std::string text);

/// JPEG, PNG, BMP or WebP.
[[nodiscard]] constexpr bool is_read_as_picture(ContentKind kind) { return kind <= ContentKind::webp; }

}  // namespace clipcap
