#include "tests/source_dir.h"

namespace clipcap::testing {

const std::filesystem::path& source_dir() {
  static const std::filesystem::path path(CLIPCAP_SOURCE_DIR);
  return path;
}

}  // namespace clipcap::testing
