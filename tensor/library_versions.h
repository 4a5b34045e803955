// Releases of the libraries that compute: another one may round otherwise.
#pragma once

#include <string>

namespace clipcap {

/// "oneDNN 2.7.0".
[[nodiscard]] std::string compute_library_version();

}  // namespace clipcap
