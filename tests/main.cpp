// The one main. Every test_*.cpp names its cases with the tag [stem], and those that can be skipped with
// [needs_shared] or [needs_gpu] too. Exit code: 0; kSkippedExitCode when what ran passed and something was
// skipped; else Catch2's.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#endif
#include "clipcap/process/interrupt.h"
#include "tests/catch.h"

int main(int argc, char** argv) {
  clipcap::watch_signals();
  const int code = Catch::Session().run(argc, argv);
  using clipcap::testing::skipped_cases;
  if (skipped_cases > 0) std::cout << skipped_cases << " test cases were skipped" << std::endl;
  return code == 0 && skipped_cases > 0 ? clipcap::testing::kSkippedExitCode : code;
}
