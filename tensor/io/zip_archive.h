// The entries of a ZIP archive of stored (not compressed) files, as torch.save writes it: views into the
// mapped file. Sizes come from the central directory: PyTorch leaves them 0 in the local headers. Format:
// PKWARE's APPNOTE.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/io/mapped_file.h"

namespace clipcap {

class ZipArchive {
 public:
  struct Entry {
    std::string_view name;
    std::span<const std::byte> data;  // as it lies in the file
    bool stored = true;               // false: compressed or encrypted, and not readable here
  };

  /// Checks the whole directory: every entry lies inside the file, none overlaps another. Throws InputError
  /// that begins with `name` (the file's).
  ZipArchive(const MappedFile& file, const std::string& name);

  [[nodiscard]] std::span<const Entry> entries() const { return entries_; }  // sorted by name
  /// nullptr when there is none. InputError when it is there but compressed.
  [[nodiscard]] const Entry* find(std::string_view name) const;

 private:
  std::string file_;
  std::vector<Entry> entries_;
};

}  // namespace clipcap
