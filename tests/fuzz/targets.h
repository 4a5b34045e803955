// The readers of files from elsewhere, each as a function of the file's bytes: what
// libFuzzer calls (tests/fuzz/main.cpp) and what the ordinary tests replay over the
// stored corpus (tests/fuzz/test_fuzz_corpus.cpp).
#pragma once

#include <span>
#include <string_view>

namespace clipcap::fuzz {

struct Target {
  const char* name;
  /// Returns when the bytes were read or refused with an InputError; any other exception passes through.
  void (*run)(std::string_view bytes);
};

[[nodiscard]] std::span<const Target> targets();

}  // namespace clipcap::fuzz
