#include "tensor/kernels/onednn.h"

#if !CLIPCAP_OWN_THREADS
#include <omp.h>
#endif

#include "tensor/parallel.h"

namespace clipcap::onednn {

namespace {
constexpr int kScratchSlot = 7;
}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::stream& stream() {
  thread_local dnnl::stream own(engine());
  return own;
}

int share_threads() {
#if !CLIPCAP_OWN_THREADS  // which answer the library's questions themselves
  if (omp_in_parallel() == 0 && omp_get_max_threads() != thread_count()) omp_set_num_threads(thread_count());
#endif
  return usable_threads();  // inside a parallel region the library takes one thread by itself
}

memory read_only(const memory::desc& description, const float* data) {
  return {description, engine(), const_cast<float*>(data)};  // NOLINT: it has no handle for constant memory
}

memory scratchpad(const memory::desc& description) {
  return {description, engine(), thread_scratch(description.get_size() + 64, kScratchSlot)};
}

dnnl::primitive_attr attributes(const dnnl::post_ops& epilogue) {
  dnnl::primitive_attr result;
  result.set_post_ops(epilogue);
  result.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return result;
}

void append_activation(dnnl::post_ops& epilogue, Activation activation) {
  const auto append = [&](dnnl::algorithm kind, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
    epilogue.append_eltwise(kind, alpha, 0.0F);
#else
    epilogue.append_eltwise(1.0F, kind, alpha, 0.0F);
#endif
  };
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      append(dnnl::algorithm::eltwise_relu, 0.0F);
      break;
    case Activation::gelu:
      append(dnnl::algorithm::eltwise_gelu_erf, 0.0F);
      break;
    case Activation::quick_gelu:
      append(dnnl::algorithm::eltwise_swish, 1.702F);
      break;
    case Activation::gelu_tanh:
      append(dnnl::algorithm::eltwise_gelu_tanh, 0.0F);
      break;
  }
}

}  // namespace clipcap::onednn
