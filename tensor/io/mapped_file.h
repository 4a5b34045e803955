// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace clipcap {

class MappedFile {
 public:
  /// Throws InputError naming the file and the reason.
  [[nodiscard]] static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Tells the system that the pages read so far are not needed again soon: they leave this process's memory.
  void forget_pages() const;

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// Writes `path` so that a kill at any moment leaves either the old file or the new one: `write` fills a
/// temporary file beside it, which is flushed to the disk and renamed. Throws InputError when there is no
/// such folder or `path` is one, Error when the disk does not take it.
template <class Write>
void replace_file(const std::filesystem::path& path, Write&& write);

namespace detail {
[[nodiscard]] std::filesystem::path temporary_name(const std::filesystem::path& path);
void flush_and_rename(const std::filesystem::path& temporary, const std::filesystem::path& path);
}  // namespace detail

template <class Write>
void replace_file(const std::filesystem::path& path, Write&& write) {
  const std::filesystem::path temporary = detail::temporary_name(path);
  try {
    write(temporary);
    detail::flush_and_rename(temporary, path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

/// The whole of a small text file; InputError when it cannot be read or is larger than `limit` bytes.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path, size_t limit);
/// Through replace_file.
void write_text_file(const std::filesystem::path& path, const std::string& text);

}  // namespace clipcap
