#include "tensor/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "tensor/check.h"

namespace clipcap {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK_INPUT(file.get() >= 0, path.string(), ": ", std::strerror(errno));
  struct stat status {};
  CHECK_INPUT(::fstat(file.get(), &status) == 0, path.string(), ": ", std::strerror(errno));
  CHECK_INPUT(S_ISREG(status.st_mode), path.string(), ": not a regular file");
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->size_ = static_cast<size_t>(status.st_size);
  if (mapped->size_ > 0) {
    void* data = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    CHECK_INPUT(data != MAP_FAILED, path.string(), ": cannot map the file: ", std::strerror(errno));
    mapped->data_ = static_cast<const std::byte*>(data);
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::forget_pages() const {
  if (data_ != nullptr) ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

namespace detail {

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  CHECK_INPUT(std::filesystem::is_directory(folder, error), path.string(),
              ": cannot be written: no such folder");
  CHECK_INPUT(!std::filesystem::is_directory(path, error), path.string(),
              ": cannot be written: it is a folder");
  std::filesystem::path name = path;
  name += ".tmp." + std::to_string(::getpid());
  return name;
}

void flush_and_rename(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  const FileDescriptor file(::open(temporary.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(file.get() >= 0 && ::fsync(file.get()) == 0, temporary.string(), ": ", std::strerror(errno));
  CHECK(std::rename(temporary.c_str(), path.c_str()) == 0, path.string(), ": ", std::strerror(errno));
}

}  // namespace detail

std::string read_text_file(const std::filesystem::path& path, size_t limit) {
  const auto file = MappedFile::open(path);
  CHECK_INPUT(file->bytes().size() <= limit, path.string(), ": ", file->bytes().size(), " bytes; at most ",
              limit, " expected");
  return {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()};
}

void write_text_file(const std::filesystem::path& path, const std::string& text) {
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream out(temporary, std::ios::binary);
    out << text;
    out.close();
    CHECK(!out.fail(), temporary.string(), ": cannot write: ", std::strerror(errno));
  });
}

}  // namespace clipcap
