// Catch2 v2 (Debian 12, Ubuntu 22.04) and v3 (Ubuntu 24.04) behind one include.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif

// Ends the test case with a visible notice: what it needs (a GPU, ../shared) is not there.
#define SKIP_TEST(reason)                     \
  do {                                        \
    WARN("skipped: " << reason); /* NOLINT */ \
    SUCCEED();                                \
    return;                                   \
  } while (false)
