#include "tensor/kernels/l2_normalize.h"

#include <algorithm>
#include <cmath>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

// Some rows of the reference: a row is little work, so threads share rows and nothing more.
constexpr int64_t kGrain = 64;

void forward_cpu(const L2NormalizeFwd<float>& p) {
  parallel_for(p.rows, kGrain, [&](int64_t begin, int64_t end) {
    L2NormalizeFwd<float> part = p;
    part.x += begin * p.dim;
    part.y += begin * p.dim;
    part.norm += begin;
    part.rows = end - begin;
    reference::l2_normalize_fwd(part);
  });
}

void backward_cpu(const L2NormalizeBwd<float>& p) {
  parallel_for(p.rows, kGrain, [&](int64_t begin, int64_t end) {
    L2NormalizeBwd<float> part = p;
    part.y += begin * p.dim;
    part.norm += begin;
    part.dy += begin * p.dim;
    part.dx += begin * p.dim;
    part.rows = end - begin;
    reference::l2_normalize_bwd(part);
  });
}

}  // namespace

Op<L2NormalizeFwd> l2_normalize_fwd{"l2_normalize_fwd", forward_cpu, reference::l2_normalize_fwd,
                                    reference::l2_normalize_fwd, reference::l2_normalize_fwd};
Op<L2NormalizeBwd> l2_normalize_bwd{"l2_normalize_bwd", backward_cpu, reference::l2_normalize_bwd,
                                    reference::l2_normalize_bwd, reference::l2_normalize_bwd};

namespace reference {

template <class T>
void l2_normalize_fwd(const L2NormalizeFwd<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.dim;
    double squares = 0;
    for (int64_t d = 0; d < p.dim; ++d)
      squares += static_cast<double>(real(x[d])) * static_cast<double>(real(x[d]));
    // max() the other way round would turn NaN into eps.
    const double length = std::sqrt(squares);
    const double norm = length <= kL2NormalizeEps ? kL2NormalizeEps : length;
    p.norm[row] = static_cast<Real<T>>(norm);
    for (int64_t d = 0; d < p.dim; ++d)
      p.y[row * p.dim + d] = static_cast<T>(static_cast<Real<T>>(static_cast<double>(real(x[d])) / norm));
  }
}

template <class T>
void l2_normalize_bwd(const L2NormalizeBwd<T>& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    const T* y = p.y + row * p.dim;
    const T* dy = p.dy + row * p.dim;
    const auto norm = static_cast<double>(p.norm[row]);
    double along = 0;
    if (norm > kL2NormalizeEps * (1 + 1e-6))
      for (int64_t d = 0; d < p.dim; ++d)
        along += static_cast<double>(real(y[d])) * static_cast<double>(real(dy[d]));
    for (int64_t d = 0; d < p.dim; ++d) {
      const double dx = (static_cast<double>(real(dy[d])) - static_cast<double>(real(y[d])) * along) / norm;
      p.dx[row * p.dim + d] = static_cast<T>(static_cast<Real<T>>(dx));
    }
  }
}

template void l2_normalize_fwd(const L2NormalizeFwd<float>&);
template void l2_normalize_fwd(const L2NormalizeFwd<double>&);
template void l2_normalize_fwd(const L2NormalizeFwd<bfloat16>&);
template void l2_normalize_bwd(const L2NormalizeBwd<float>&);
template void l2_normalize_bwd(const L2NormalizeBwd<double>&);
template void l2_normalize_bwd(const L2NormalizeBwd<bfloat16>&);

}  // namespace reference
}  // namespace clipcap
