#include "clipcap/process/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

#include "clipcap/terminal/console.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace fs = std::filesystem;
namespace {

// The process of a temporary file: 4711 of "model.safetensors.tmp.4711"; 0 when the name is none of those.
pid_t process_of(const std::string& name) {
  const size_t mark = name.rfind(".tmp.");
  if (mark == std::string::npos || mark == 0 || mark + 5 == name.size()) return 0;
  pid_t process = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + mark + 5, end, process);
  return parsed.ec == std::errc() && parsed.ptr == end && process > 0 ? process : 0;
}

template <class Wanted>
void remove_temporaries(const fs::path& folder, bool subfolders, const Wanted& wanted) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!subfolders) at.disable_recursion_pending();
    const std::string name = at->path().filename().string();
    const pid_t process = process_of(name);
    if (process > 0 && wanted(name, process) && !at->is_directory(error)) found.push_back(at->path());
  }
  for (const fs::path& path : found) fs::remove(path, error);
}

}  // namespace

void remove_leftovers(const fs::path& folder) {
  remove_temporaries(folder, true, [](const std::string&, pid_t) { return true; });
}

void remove_dead_leftovers(const fs::path& folder, const std::string& target) {
  remove_temporaries(folder, target.empty(), [&](const std::string& name, pid_t process) {
    if (!target.empty() && name != target + ".tmp." + std::to_string(process)) return false;
    return ::kill(process, 0) != 0 && errno == ESRCH;
  });
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
