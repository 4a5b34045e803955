#include "tensor/io/zip_archive.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;
constexpr uint64_t kLocalHeaderBytes = 30;
constexpr uint64_t kDirectoryHeaderBytes = 46;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kLocatorBytes = 20;
constexpr uint64_t kMostEntries = 200'000;

// Little-endian numbers at any place of the file; out of bounds is an error of the file.
class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}
  [[nodiscard]] uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] uint64_t number(uint64_t at, uint64_t width) const {
    check(at, width);
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + at, width);
    return value;
  }
  [[nodiscard]] std::string_view text(uint64_t at, uint64_t length) const {
    check(at, length);
    return {reinterpret_cast<const char*>(bytes_.data()) + at, length};
  }
  [[nodiscard]] std::span<const std::byte> span(uint64_t at, uint64_t length) const {
    check(at, length);
    return bytes_.subspan(at, length);
  }

 private:
  void check(uint64_t at, uint64_t length) const {
    CHECK_INPUT(at <= bytes_.size() && length <= bytes_.size() - at, file_,
                ": the ZIP archive points to byte ", at, " + ", length, " of a file of ", bytes_.size());
  }
  std::span<const std::byte> bytes_;
  const std::string& file_;
};

struct Directory {
  uint64_t count;
  uint64_t begin;
  uint64_t end;
};

Directory find_directory(const Bytes& bytes, const std::string& file) {
  CHECK_INPUT(bytes.size() >= kEndBytes, file, ": ", bytes.size(), " bytes are too few for a ZIP archive");
  // The end record is last but for a comment of at most 65,535 bytes.
  const uint64_t last = bytes.size() - kEndBytes;
  const uint64_t first = last > 65535 ? last - 65535 : 0;
  std::optional<uint64_t> end;
  for (uint64_t at = last + 1; at-- > first && !end;) {
    if (bytes.number(at, 4) == kEnd && bytes.number(at + 20, 2) == last - at) end = at;
  }
  CHECK_INPUT(end, file, ": the ZIP archive has no end record: the file is truncated");
  Directory directory{bytes.number(*end + 10, 2), bytes.number(*end + 16, 4), 0};
  uint64_t size = bytes.number(*end + 12, 4);
  uint64_t limit = *end;
  const bool wide = directory.count == 0xffff || directory.begin == 0xffffffff || size == 0xffffffff;
  if (*end >= kLocatorBytes && bytes.number(*end - kLocatorBytes, 4) == kEnd64Locator) {
    const uint64_t at = bytes.number(*end - kLocatorBytes + 8, 8);
    CHECK_INPUT(bytes.number(at, 4) == kEnd64, file, ": the ZIP64 locator points to byte ", at,
                ", where no end record is");
    static_cast<void>(bytes.span(at, kEnd64Bytes));
    directory.count = bytes.number(at + 32, 8);
    size = bytes.number(at + 40, 8);
    directory.begin = bytes.number(at + 48, 8);
    limit = at;
  } else {
    CHECK_INPUT(!wide, file, ": the ZIP archive lacks its ZIP64 end record");
  }
  CHECK_INPUT(directory.begin <= limit && size <= limit - directory.begin, file,
              ": the ZIP directory does not fit: ", size, " bytes at ", directory.begin);
  directory.end = directory.begin + size;
  CHECK_INPUT(directory.count <= kMostEntries && directory.count * kDirectoryHeaderBytes <= size, file,
              ": the ZIP directory claims ", directory.count, " entries in ", size, " bytes");
  return directory;
}

struct Found {
  ZipArchive::Entry entry;
  uint64_t begin;  // of the local header
  uint64_t end;    // of the data
};

// One record of the directory at `at`, which is moved past it.
Found read_record(const Bytes& bytes, const Directory& directory, uint64_t& at, const std::string& file) {
  CHECK_INPUT(directory.end - at >= kDirectoryHeaderBytes && bytes.number(at, 4) == kDirectoryHeader, file,
              ": the ZIP directory is damaged at byte ", at);
  const uint64_t flags = bytes.number(at + 8, 2);
  const uint64_t method = bytes.number(at + 10, 2);
  uint64_t packed = bytes.number(at + 20, 4);
  uint64_t size = bytes.number(at + 24, 4);
  const uint64_t name_bytes = bytes.number(at + 28, 2);
  const uint64_t extra_bytes = bytes.number(at + 30, 2);
  const uint64_t comment_bytes = bytes.number(at + 32, 2);
  uint64_t local = bytes.number(at + 42, 4);
  const std::string_view name = bytes.text(at + kDirectoryHeaderBytes, name_bytes);
  // The ZIP64 extra field holds, in this order, those numbers that did not fit.
  uint64_t extra = at + kDirectoryHeaderBytes + name_bytes;
  const uint64_t extra_end = extra + extra_bytes;
  at = extra_end + comment_bytes;
  CHECK_INPUT(at <= directory.end, file, ": the ZIP directory is damaged");
  while (extra_end - extra >= 4) {
    const uint64_t id = bytes.number(extra, 2);
    const uint64_t length = bytes.number(extra + 2, 2);
    extra += 4;
    CHECK_INPUT(length <= extra_end - extra, file, ": the ZIP directory's extra field is damaged");
    uint64_t field = extra;
    extra += length;
    if (id != 1) continue;
    for (uint64_t* number : {&size, &packed, &local}) {
      if (*number != 0xffffffff) continue;
      CHECK_INPUT(extra - field >= 8, file, ": the ZIP directory's ZIP64 field is too short");
      *number = bytes.number(field, 8);
      field += 8;
    }
  }
  const std::string where = file + ": ZIP entry \"" + std::string(name.substr(0, 100)) + '"';
  CHECK_INPUT(bytes.number(local, 4) == kLocalHeader, where, ": no local header at byte ", local);
  const uint64_t local_name = bytes.number(local + 26, 2);
  CHECK_INPUT(bytes.text(local + kLocalHeaderBytes, local_name) == name, where,
              ": its local header has another name");
  const uint64_t data = local + kLocalHeaderBytes + local_name + bytes.number(local + 28, 2);
  const bool stored = method == 0 && (flags & 1U) == 0;
  CHECK_INPUT(!stored || packed == size, where, ": stored, yet ", packed, " bytes for ", size);
  CHECK_INPUT(data <= directory.begin && packed <= directory.begin - data, where, ": ", packed,
              " bytes at byte ", data, " do not fit the file");
  return {{name, bytes.span(data, packed), stored}, local, data + packed};
}

}  // namespace

ZipArchive::ZipArchive(const MappedFile& file, const std::string& name) : file_(name) {
  const Bytes bytes(file.bytes(), name);
  const Directory directory = find_directory(bytes, name);
  std::vector<Found> found;
  uint64_t at = directory.begin;
  for (uint64_t i = 0; i < directory.count; ++i) found.push_back(read_record(bytes, directory, at, name));
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < found.size(); ++i) {
    CHECK_INPUT(found[i - 1].end <= found[i].begin, name, ": ZIP entries \"",
                found[i - 1].entry.name.substr(0, 100), "\" and \"", found[i].entry.name.substr(0, 100),
                "\" overlap");
  }
  for (const Found& one : found) entries_.push_back(one.entry);
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  for (size_t i = 1; i < entries_.size(); ++i) {
    CHECK_INPUT(entries_[i - 1].name != entries_[i].name, name, ": two ZIP entries are called \"",
                entries_[i].name.substr(0, 100), '"');
  }
}

const ZipArchive::Entry* ZipArchive::find(std::string_view name) const {
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; });
  if (found == entries_.end() || found->name != name) return nullptr;
  CHECK_INPUT(found->stored, file_, ": ZIP entry \"", name.substr(0, 100),
              "\" is compressed or encrypted; torch.save stores entries as they are");
  return &*found;
}

}  // namespace clipcap
