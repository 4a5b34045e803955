// The index of the GPU: one line per op. `OP(name)` says that the op `name` (tensor/kernels/*.h) has a
// launcher name_cuda with the same arguments in some cuda/*.cu; a launcher with other arguments, or none,
// does not link.
#include "cuda/register.h"

#include "tensor/kernels/l1_distill.h"
#include "tensor/kernels/layer_norm.h"

#define CLIPCAP_CUDA_OPS(OP) \
  OP(layer_norm_fwd)         \
  OP(layer_norm_bwd)         \
  OP(l1_distill)

namespace clipcap::cuda {
namespace {

template <class Signature>
Signature* kernel_of(const Op<Signature>&);  // not defined: only its type is used

}  // namespace

#define DECLARE(op) std::remove_pointer_t<decltype(kernel_of(op))> op##_cuda;
CLIPCAP_CUDA_OPS(DECLARE)

void register_cuda_ops() {
#define REGISTER(op) op.set(DeviceType::cuda, op##_cuda);
  CLIPCAP_CUDA_OPS(REGISTER)
}

}  // namespace clipcap::cuda
