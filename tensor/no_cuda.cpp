// The door of backend.h when the build has no CUDA.
#include "tensor/backend.h"
#include "tensor/check.h"

namespace clipcap {
namespace {
constexpr const char* kReason = "built without CUDA";
}

int cuda_device_count() { return 0; }
std::string cuda_unavailable_reason() { return kReason; }
void* cuda_allocate(size_t, int) { fail("cuda: ", kReason); }
void cuda_free(void*, size_t, int) {}
void cuda_copy(void*, Device, const void*, Device, size_t) { fail("cuda: ", kReason); }
void cuda_fill_zero(void*, size_t, int) { fail("cuda: ", kReason); }
void cuda_synchronize(int) {}
int cuda_enter_device(int) { fail("cuda: ", kReason); }
void cuda_leave_device(int) {}

}  // namespace clipcap
