#include "tensor/library_versions.h"

#include <oneapi/dnnl/dnnl.h>

#include "tensor/check.h"

namespace clipcap {

std::string compute_library_version() {
  const dnnl_version_t* version = dnnl_version();
  return concat_text("oneDNN ", version->major, '.', version->minor, '.', version->patch);
}

}  // namespace clipcap
