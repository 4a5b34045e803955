// The seeds of the fuzz targets and what fuzzing has found, through the same
// functions (tests/fuzz/targets.cpp).
#include <filesystem>

#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/fuzz/targets.h"
#include "tests/temporary_folder.h"

namespace clipcap {

TEST_CASE("every seed of the fuzz targets is read or refused", "[fuzz_corpus]") {
  const std::filesystem::path corpus = testing::source_dir() / "tests/fuzz/corpus";
  for (const fuzz::Target& target : fuzz::targets()) {
    int seeds = 0;
    for (const auto& entry : std::filesystem::directory_iterator(corpus / target.name)) {
      INFO(target.name << ' ' << entry.path().filename().string());
      const std::string whole = file_bytes(entry.path());
      CHECK_NOTHROW(target.run(whole));
      for (unsigned variant = 0; variant < 20; ++variant) {
        INFO(variant);
        CHECK_NOTHROW(target.run(damaged(whole, variant)));
      }
      ++seeds;
    }
    INFO(target.name);
    CHECK(seeds > 0);
  }
}

}  // namespace clipcap
