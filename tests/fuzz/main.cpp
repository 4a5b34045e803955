// libFuzzer's entry point for the target FUZZ_TARGET (a name in targets.cpp).
#include <cstdint>
#include <cstdlib>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const clipcap::fuzz::Target* const target = [] {
    for (const clipcap::fuzz::Target& one : clipcap::fuzz::targets()) {
      if (std::string_view(one.name) == FUZZ_TARGET) return &one;
    }
    std::abort();
  }();
  target->run({reinterpret_cast<const char*>(data), size});
  return 0;
}
