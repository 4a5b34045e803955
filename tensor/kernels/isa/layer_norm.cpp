#include "tensor/kernels/layer_norm.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

constexpr int64_t kRowsAThread = 8;

// The sum of body(index, width) over the vectors of a row, in four running sums: one addition need not wait
// for the other.
template <class Body>
CLIPCAP_INLINE float sum_vectors(int64_t dim, Body body) {
  Vec totals[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
    totals[0] += body(i, static_cast<int64_t>(kLanes));
    totals[1] += body(i + kLanes, static_cast<int64_t>(kLanes));
    totals[2] += body(i + 2 * kLanes, static_cast<int64_t>(kLanes));
    totals[3] += body(i + 3 * kLanes, static_cast<int64_t>(kLanes));
  }
  for (; i + kLanes <= dim; i += kLanes) totals[0] += body(i, static_cast<int64_t>(kLanes));
  if (i < dim) totals[1] += body(i, dim - i);
  return sum((totals[0] + totals[1]) + (totals[2] + totals[3]));
}

void forward_row(const LayerNormFwd<float>& p, int64_t r) {
  const float* s = p.x + r * p.dim;
  float* y = p.y + r * p.dim;
  float total = 0;
  if (p.residual != nullptr) {
    // The sum is kept where backward wants it, or else in y, which is overwritten last.
    const float* other = p.residual + r * p.dim;
    float* kept = p.sum != nullptr ? p.sum + r * p.dim : y;
    total = sum_vectors(p.dim, [&](int64_t i, int64_t width) {
      const Vec value = load_width(s + i, width) + load_width(other + i, width);
      store_width(kept + i, value, width);
      return value;
    });
    s = kept;
  } else {
    float* kept = p.sum != nullptr ? p.sum + r * p.dim : nullptr;
    total = sum_vectors(p.dim, [&](int64_t i, int64_t width) {
      const Vec value = load_width(s + i, width);
      if (kept != nullptr) store_width(kept + i, value, width);
      return value;
    });
  }
  const float mean = total / static_cast<float>(p.dim);
  const float squares = sum_vectors(p.dim, [&](int64_t i, int64_t width) {
    const Vec centred = load_width(s + i, width, mean) - mean;
    return centred * centred;
  });
  const float rstd = 1.0F / __builtin_sqrtf(squares / static_cast<float>(p.dim) + p.eps);
  each_vector(p.dim, [&](int64_t i, int64_t width) {
    const Vec normal = (load_width(s + i, width) - mean) * rstd;
    store_width(y + i, normal * load_width(p.gamma + i, width) + load_width(p.beta + i, width), width);
  });
  if (p.mean != nullptr) p.mean[r] = mean;
  if (p.rstd != nullptr) p.rstd[r] = rstd;
}

// The row's share of dgamma and dbeta is added to `partial` [2,D].
void backward_row(const LayerNormBwd<float>& p, int64_t r, float* partial) {
  const float* dy = p.dy + r * p.dim;
  const float* s = p.s + r * p.dim;
  float* ds = p.ds + r * p.dim;
  const float mean = p.mean[r];
  const float rstd = p.rstd[r];
  Vec total_g{};
  Vec total_gx{};
  each_vector(p.dim, [&](int64_t i, int64_t width) {
    const Vec grad = load_width(dy + i, width);
    const Vec normal = (load_width(s + i, width) - mean) * rstd;
    const Vec g = grad * load_width(p.gamma + i, width);
    total_g += g;
    total_gx += g * normal;
    store_width(partial + i, load_width(partial + i, width) + grad * normal, width);
    store_width(partial + p.dim + i, load_width(partial + p.dim + i, width) + grad, width);
  });
  const float mean_g = sum(total_g) / static_cast<float>(p.dim);
  const float mean_gx = sum(total_gx) / static_cast<float>(p.dim);
  each_vector(p.dim, [&](int64_t i, int64_t width) {
    const Vec normal = (load_width(s + i, width) - mean) * rstd;
    Vec value =
        (load_width(dy + i, width) * load_width(p.gamma + i, width) - mean_g - normal * mean_gx) * rstd;
    if (p.ds_in != nullptr) value += load_width(p.ds_in + r * p.dim + i, width);
    store_width(ds + i, value, width);
  });
}

}  // namespace

void layer_norm_fwd(const LayerNormFwd<float>& p) {
  if (p.dim == 0) return;
  parallel_for(p.rows, kRowsAThread, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) forward_row(p, r);
  });
}

void layer_norm_bwd(const LayerNormBwd<float>& p) {
  if (p.dim == 0) return;
  // Cut by the thread count alone, so that the sums have the same bits whatever else runs in parallel.
  const int64_t most = (p.rows + kRowsAThread - 1) / kRowsAThread;
  const int64_t chunks = most < thread_count() ? most : thread_count();
  const int64_t stride = 2 * p.dim;
  const size_t bytes = static_cast<size_t>(chunks * stride) * sizeof(float);
  auto* partial = static_cast<float*>(thread_scratch(bytes + 1, 1));
  __builtin_memset(partial, 0, bytes);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t r = p.rows * c / chunks; r < p.rows * (c + 1) / chunks; ++r) {
        backward_row(p, r, partial + c * stride);
      }
    }
  });
  for (int64_t i = 0; i < p.dim; ++i) {
    float dgamma = 0;
    float dbeta = 0;
    for (int64_t c = 0; c < chunks; ++c) {
      dgamma += partial[c * stride + i];
      dbeta += partial[c * stride + p.dim + i];
    }
    p.dgamma[i] = dgamma;
    p.dbeta[i] = dbeta;
  }
}

}  // namespace clipcap::CLIPCAP_ISA
