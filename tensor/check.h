// Errors. Everything that can go wrong throws `Error` (a bug or a failed call: exit code 1) or
// `InputError` (what the user handed in is wrong: exit code 2, one line naming file and place).
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace clipcap {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The user's input is wrong: a flag, a file, a config key. The program prints what() and exits 2.
class InputError : public Error {
 public:
  using Error::Error;
};

/// Concatenates its arguments with operator<<; the small stand-in for std::format that g++ 11 allows.
template <class... Parts>
[[nodiscard]] std::string concat_text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(concat_text(parts...));
}

template <class... Parts>
[[noreturn]] void fail_input(const Parts&... parts) {
  throw InputError(concat_text(parts...));
}

}  // namespace clipcap

/// CHECK(x.rank() == 2, "linear: x is ", x.shape(), ", expected [N,D]"): throws Error unless the condition holds.
#define CHECK(condition, ...)        \
  do {                               \
    if (!(condition)) [[unlikely]] { \
      ::clipcap::fail(__VA_ARGS__);  \
    }                                \
  } while (false)

/// The same for what comes from the user: throws InputError.
#define CHECK_INPUT(condition, ...)       \
  do {                                    \
    if (!(condition)) [[unlikely]] {      \
      ::clipcap::fail_input(__VA_ARGS__); \
    }                                     \
  } while (false)
