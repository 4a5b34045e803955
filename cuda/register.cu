// The index of the GPU: one line per op and element type. `OP(name, T)` says that the op `name`
// (tensor/kernels/*.h) has a launcher name_cuda for params of T in some cuda/*.cu; a launcher with other
// arguments, or none, does not link.
#include "cuda/register.h"

#include "tensor/kernels/l1_distill.h"
#include "tensor/kernels/layer_norm.h"

#define CLIPCAP_CUDA_OPS(OP) \
  OP(layer_norm_fwd, float)  \
  OP(layer_norm_bwd, float)  \
  OP(l1_distill, float)

namespace clipcap::cuda {
namespace {

// Not defined: only its type is used.
template <class T, template <class> class Params>
Params<T> params_of(const Op<Params>&);

}  // namespace

#define DECLARE(op, T) void op##_cuda(const decltype(params_of<T>(op))& params);
CLIPCAP_CUDA_OPS(DECLARE)

void register_cuda_ops() {
#define REGISTER(op, T) op.set<T>(DeviceType::cuda, op##_cuda);
  CLIPCAP_CUDA_OPS(REGISTER)
}

}  // namespace clipcap::cuda
