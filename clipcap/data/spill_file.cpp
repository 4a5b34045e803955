#include "clipcap/data/spill_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "clipcap/cache/cache_folder.h"

namespace clipcap {
namespace {

struct Mapping {
  void* data;
  size_t bytes;
  Mapping(void* at, size_t size) : data(at), bytes(size) {}
  ~Mapping() { ::munmap(data, bytes); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
};

int open_unnamed(const std::filesystem::path& folder) {
  if (folder.empty()) return -1;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
#ifdef O_TMPFILE
  const int unnamed = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (unnamed >= 0) return unnamed;
#endif
  std::string name = (folder / "spill.XXXXXX").string();  // a file system without unnamed files
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file >= 0) ::unlink(name.c_str());
  return file;
}

}  // namespace

SpillFile::SpillFile(int64_t columns) : columns_(columns) {
  file_ = open_unnamed(cache_folder());
  std::error_code error;
  if (file_ < 0) file_ = open_unnamed(std::filesystem::temp_directory_path(error));
}

SpillFile::~SpillFile() {
  if (file_ >= 0) ::close(file_);
}

int64_t SpillFile::add(const Tensor& rows) {
  CHECK(rows.dtype() == DType::f32 && rows.rank() == 2 && rows.dim(1) == columns_,
        "SpillFile: ", rows.shape(), " in a file of ", columns_, " columns");
  const int64_t first = rows_;
  const Tensor own = rows.contiguous();
  if (file_ < 0) {
    kept_.emplace_back(first, own.clone());
  } else {
    const char* at = reinterpret_cast<const char*>(own.host<float>());
    auto left = static_cast<size_t>(own.numel()) * sizeof(float);
    while (left > 0) {
      const ssize_t written = ::write(file_, at, left);
      if (written < 0 && errno == EINTR) continue;
      CHECK(written > 0, "features: cannot write to the folder for temporary files: ", std::strerror(errno));
      at += written;
      left -= static_cast<size_t>(written);
    }
  }
  rows_ += own.dim(0);
  return first;
}

Tensor SpillFile::rows(int64_t first, int64_t count) const {
  CHECK(first >= 0 && count > 0 && first + count <= rows_, "SpillFile: rows [", first, ", ", first + count,
        ") of ", rows_);
  if (file_ < 0) {
    const auto own = std::lower_bound(kept_.begin(), kept_.end(), first,
                                      [](const auto& entry, int64_t row) { return entry.first < row; });
    CHECK(own != kept_.end() && own->first == first && own->second.dim(0) == count, "SpillFile: row ", first);
    return own->second;
  }
  if (!mapped_.defined() || mapped_.dim(0) < first + count) {
    const auto bytes = static_cast<size_t>(rows_ * columns_) * sizeof(float);
    void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file_, 0);
    CHECK(data != MAP_FAILED, "features: cannot map the temporary file: ", std::strerror(errno));
    const auto mapping = std::make_shared<Mapping>(data, bytes);
    const auto storage = std::make_shared<Storage>(static_cast<const std::byte*>(data), bytes, mapping);
    mapped_ = Tensor::view(storage, {rows_, columns_}, contiguous_strides({rows_, columns_}), 0, DType::f32);
  }
  return mapped_.slice(0, first, count);
}

}  // namespace clipcap
