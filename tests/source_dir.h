// Where the tests' data stands. The path is compiled into one small file, so that a compiler cache serves
// every checkout of the tree.
#pragma once

#include <filesystem>
#include <string>

namespace clipcap::testing {

/// The root of the source tree.
[[nodiscard]] const std::filesystem::path& source_dir();

/// A stored reference: tests/golden/`name`.
[[nodiscard]] inline std::filesystem::path golden_path(const std::string& name) {
  return source_dir() / "tests" / "golden" / name;
}

/// Test data beside the repository, not part of it. Cases that need it carry the tag [needs_shared].
[[nodiscard]] inline std::filesystem::path shared_data() { return source_dir() / ".." / "shared"; }

}  // namespace clipcap::testing
