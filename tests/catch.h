// Catch2 v2 (Debian 12, Ubuntu 22.04) and v3 (Ubuntu 24.04) behind one include, and skipping for both.
#pragma once

#include <iostream>
#include <sstream>
#include <string>

#include "tensor/check.h"  // first: in tests, CHECK is Catch2's

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

namespace clipcap::testing {

/// Exit code of the test program when everything that ran passed, but something was skipped. ctest calls an
/// entry skipped for it; tests/CMakeLists.txt allows that to the entries of [needs_…] cases only, so that a
/// skip anywhere else is a failure.
inline constexpr int kSkippedExitCode = 77;

/// Cases skipped so far.
inline int skipped_cases = 0;

inline void skip(const std::string& reason) {
  ++skipped_cases;
  std::cout << "SKIPPED: " << Catch::getResultCapture().getCurrentTestName() << ": " << reason << std::endl;
}

}  // namespace clipcap::testing

// Ends the test case: what it needs is not there. The case carries the tag [needs_shared] (../shared) or
// [needs_gpu]; its ctest entry then says "Skipped".
#define SKIP_TEST(reason)                      \
  do {                                         \
    std::ostringstream skip_reason;            \
    skip_reason << reason; /* NOLINT */        \
    clipcap::testing::skip(skip_reason.str()); \
    SUCCEED();                                 \
    return;                                    \
  } while (false)
