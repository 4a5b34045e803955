#include "tools/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tensor/check.h"

namespace clipcap::tools {
namespace {

[[noreturn]] void fail_output(int code) {
  fail("standard output: ", code != 0 ? std::strerror(code) : "cannot be written");
}

}  // namespace

void guard_standard_streams() {
  // stdin and stdout are opened the wrong way round, so that using them fails as it would have failed closed;
  // who starts a program without stderr does not want to hear from it.
  for (const auto& [stream, mode] : {std::pair{STDIN_FILENO, O_WRONLY}, std::pair{STDOUT_FILENO, O_RDONLY},
                                     std::pair{STDERR_FILENO, O_WRONLY}}) {
    if (::fcntl(stream, F_GETFD) == -1 && errno == EBADF) {
      if (::open("/dev/null", mode) == -1) ::_exit(1);
    }
  }
}

void print(std::string_view text, bool flush) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || (flush && std::fflush(stdout) != 0))
    fail_output(errno);
}

void finish_output() {
  errno = 0;
  if (std::fflush(stdout) != 0) fail_output(errno);
  if (std::ferror(stdout) != 0) fail_output(0);
}

}  // namespace clipcap::tools
