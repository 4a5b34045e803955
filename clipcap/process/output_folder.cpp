#include "clipcap/process/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "clipcap/terminal/console.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace fs = std::filesystem;
namespace {

// "model.safetensors.tmp.4711"
bool is_temporary(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot + 1 == name.size()) return false;
  const bool number = std::all_of(name.begin() + static_cast<std::ptrdiff_t>(dot) + 1, name.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  return number && dot > 4 && name.compare(dot - 4, 4, ".tmp") == 0;
}

}  // namespace

void remove_leftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (is_temporary(at->path().filename().string()) && !at->is_directory(error)) found.push_back(at->path());
  }
  for (const fs::path& path : found) fs::remove(path, error);
}

OutputFolder::OutputFolder(fs::path path) : path_(std::move(path)) {
  try {
    make();
    lock();
    probe();
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    std::error_code error;
    for (auto made = made_.rbegin(); made != made_.rend(); ++made) fs::remove(*made, error);
    throw;
  }
  remove_leftovers(path_);
}

OutputFolder::~OutputFolder() {
  // Removed while it is locked still: another process that waits for nothing finds it locked or gone.
  std::error_code error;
  for (auto made = made_.rbegin(); made != made_.rend(); ++made) {
    if (!fs::is_empty(*made, error) || error || !fs::remove(*made, error)) break;
  }
  if (fd_ >= 0) ::close(fd_);
}

void OutputFolder::make() {
  std::error_code error;
  std::vector<fs::path> missing;
  for (fs::path at = fs::absolute(path_).lexically_normal(); !at.empty(); at = at.parent_path()) {
    const fs::file_status status = fs::status(at, error);
    if (fs::exists(status)) {
      CHECK_INPUT(fs::is_directory(status), at.string(), ": is a file; ", path_.string(),
                  " cannot be a folder to write to");
      break;
    }
    if (at.has_filename()) missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    const bool made = fs::create_directory(*at, error);
    CHECK_INPUT(!error, path_.string(), ": cannot be made: ", error.message());
    if (made) made_.push_back(*at);
  }
}

void OutputFolder::lock() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK_INPUT(fd_ >= 0, path_.string(), ": ", std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  CHECK_INPUT(errno != EWOULDBLOCK, path_.string(),
              ": another process is writing there; choose another folder, "
              "or wait for its end");
  // Some network file systems lock no folders. Better to go on than to refuse them altogether.
  log_warning(path_.string(), " cannot be locked (", std::strerror(errno),
              "): see to it that no other process writes there");
}

void OutputFolder::probe() const {
  const fs::path file = path_ / (".probe.tmp." + std::to_string(::getpid()));
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const bool written = fd >= 0 && ::write(fd, "?", 1) == 1;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  ::unlink(file.c_str());
  CHECK_INPUT(written, path_.string(), ": cannot be written to: ", std::strerror(why));
}

}  // namespace clipcap
