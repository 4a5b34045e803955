// Layer normalisation on the GPU (tensor/kernels/layer_norm.h says what is computed).
//
// v1    One thread a row. The equation and nothing else: read this first. Neighbouring threads read addresses
//       a whole row apart, so almost all of every memory transaction is thrown away, and the row is read
//       three times.
// v2    One warp a row, the row in registers: read once, 16 bytes a lane and access; mean and variance are
//       two sums over registers and shuffles, so the exact two-pass variance costs no second read. For
//       D <= 1024. Backward: a block keeps its share of dgamma and dbeta in registers over all its rows and
//       writes it once; a second kernel adds the blocks' shares in a fixed order. No atomics, so the result
//       is the same every time.
// wide  One block a row, the row read from memory (the cache, mostly) three times: any D.
//
// None of this has been timed: the reasons above are arithmetic on bytes.
#include "tensor/kernels/layer_norm.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "cuda/device.cuh"
#include "cuda/reduce.cuh"

namespace clipcap::CLIPCAP_CUDA_NAMESPACE {
namespace {

constexpr int kThreads = 128;  // v1: rows a block; v2: four warps, four rows
constexpr int kWarps = kThreads / kWarp;
constexpr int kWideThreads = 256;
constexpr int kWideWarps = kWideThreads / kWarp;
constexpr int kMaxRegisterDim = 1024;        // 32 elements of a row a lane
constexpr int64_t kMaxBackwardBlocks = 512;  // about four blocks on each of the 132 processors of an H100
constexpr int64_t kMaxRowSlices = 64;

// ---- v1

template <class T>
__global__ void __launch_bounds__(kThreads) layer_norm_fwd_v1_kernel(LayerNormFwd<T> p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= p.rows) return;
  const int64_t start = row * p.dim;
  const auto input = [&](int64_t d) {
    const float x = to_float(p.x[start + d]);
    return p.residual != nullptr ? x + to_float(p.residual[start + d]) : x;
  };
  float total = 0.0F;
  for (int64_t d = 0; d < p.dim; ++d) total += input(d);
  const float mean = total / static_cast<float>(p.dim);
  float squares = 0.0F;
  for (int64_t d = 0; d < p.dim; ++d) squares += (input(d) - mean) * (input(d) - mean);
  const float rstd = 1.0F / sqrtf(squares / static_cast<float>(p.dim) + to_float(p.eps));
  for (int64_t d = 0; d < p.dim; ++d) {
    const float s = input(d);
    if (p.sum != nullptr) p.sum[start + d] = from_float<T>(s);
    p.y[start + d] = from_float<T>((s - mean) * rstd * to_float(p.gamma[d]) + to_float(p.beta[d]));
  }
  if (p.mean != nullptr) p.mean[row] = from_float<T>(mean);
  if (p.rstd != nullptr) p.rstd[row] = from_float<T>(rstd);
}

// ds of one row by one thread.
template <class T>
__global__ void __launch_bounds__(kThreads) layer_norm_bwd_v1_rows_kernel(LayerNormBwd<T> p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= p.rows) return;
  const int64_t start = row * p.dim;
  const float mean = to_float(p.mean[row]);
  const float rstd = to_float(p.rstd[row]);
  const auto gradient = [&](int64_t d) { return to_float(p.dy[start + d]) * to_float(p.gamma[d]); };
  const auto normalised = [&](int64_t d) { return (to_float(p.s[start + d]) - mean) * rstd; };
  float sum_g = 0.0F;
  float sum_gx = 0.0F;
  for (int64_t d = 0; d < p.dim; ++d) {
    sum_g += gradient(d);
    sum_gx += gradient(d) * normalised(d);
  }
  const float mean_g = sum_g / static_cast<float>(p.dim);
  const float mean_gx = sum_gx / static_cast<float>(p.dim);
  for (int64_t d = 0; d < p.dim; ++d) {
    float ds = rstd * (gradient(d) - mean_g - normalised(d) * mean_gx);
    if (p.ds_in != nullptr) ds += to_float(p.ds_in[start + d]);
    p.ds[start + d] = from_float<T>(ds);
  }
}

// dgamma and dbeta of one column by one thread.
template <class T>
__global__ void __launch_bounds__(kThreads) layer_norm_bwd_v1_columns_kernel(LayerNormBwd<T> p) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= p.dim) return;
  float dgamma = 0.0F;
  float dbeta = 0.0F;
  for (int64_t row = 0; row < p.rows; ++row) {
    const float dy = to_float(p.dy[row * p.dim + column]);
    dgamma += dy * (to_float(p.s[row * p.dim + column]) - to_float(p.mean[row])) * to_float(p.rstd[row]);
    dbeta += dy;
  }
  p.dgamma[column] = from_float<T>(dgamma);
  p.dbeta[column] = from_float<T>(dbeta);
}

// ---- v2

// What one lane holds of a row: kChunks times kVector neighbours. A warp's chunk is 32 * kVector columns
// beside each other.
template <int kVector, int kChunks>
struct RowShare {
  float values[kChunks][kVector];

  static __device__ __forceinline__ int64_t column(int chunk) {
    return (static_cast<int64_t>(chunk) * kWarp + threadIdx.x % kWarp) * kVector;
  }
  // Columns from `dim` on are 0. kVector divides dim, so a vector is either in or out.
  template <class T>
  __device__ __forceinline__ void load(const T* row, int64_t dim) {
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (column(c) < dim) {
        load_vector(values[c], row + column(c));
      } else {
#pragma unroll
        for (int i = 0; i < kVector; ++i) values[c][i] = 0.0F;
      }
    }
  }
  template <class T>
  __device__ __forceinline__ void store(T* row, int64_t dim) const {
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (column(c) < dim) store_vector(row + column(c), values[c]);
    }
  }
  template <class T>
  __device__ __forceinline__ void add(const T* row, int64_t dim) {
    RowShare other;
    other.load(row, dim);
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) values[c][i] += other.values[c][i];
    }
  }
};

template <class T, int kVector, int kChunks>
__global__ void __launch_bounds__(kThreads) layer_norm_fwd_v2_kernel(LayerNormFwd<T> p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= p.rows) return;  // a whole warp, and there is no barrier below
  const int64_t start = row * p.dim;
  using Share = RowShare<kVector, kChunks>;
  Share share;
  share.load(p.x + start, p.dim);
  if (p.residual != nullptr) share.add(p.residual + start, p.dim);
  if (p.sum != nullptr) share.store(p.sum + start, p.dim);

  float total = 0.0F;
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) total += share.values[c][i];
  }
  const float mean = warp_sum(total) / static_cast<float>(p.dim);
  float squares = 0.0F;
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    if (Share::column(c) < p.dim) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float centred = share.values[c][i] - mean;
        squares += centred * centred;
      }
    }
  }
  const float rstd = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(p.dim) + to_float(p.eps));

  // All reads of gamma and beta before the first write of y: the compiler has to assume that they overlap.
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    if (Share::column(c) < p.dim) {
      float gamma[kVector];
      float beta[kVector];
      load_vector(gamma, p.gamma + Share::column(c));
      load_vector(beta, p.beta + Share::column(c));
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        share.values[c][i] = (share.values[c][i] - mean) * rstd * gamma[i] + beta[i];
      }
    }
  }
  share.store(p.y + start, p.dim);
  if (threadIdx.x % kWarp == 0) {
    if (p.mean != nullptr) p.mean[row] = from_float<T>(mean);
    if (p.rstd != nullptr) p.rstd[row] = from_float<T>(rstd);
  }
}

// ds, and each block's share of dgamma and dbeta into partials [gridDim.x,2,D]. Shared memory: float [2,D].
template <class T, int kVector, int kChunks>
__global__ void __launch_bounds__(kThreads) layer_norm_bwd_v2_kernel(LayerNormBwd<T> p, float* partials) {
  using Share = RowShare<kVector, kChunks>;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const float scale = 1.0F / static_cast<float>(p.dim);
  float dgamma[kChunks][kVector] = {};
  float dbeta[kChunks][kVector] = {};
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp; row < p.rows; row += step) {
    const int64_t start = row * p.dim;
    const float mean = to_float(p.mean[row]);
    const float rstd = to_float(p.rstd[row]);
    Share g;     // dy, then dy * gamma, then ds
    Share xhat;  // s, then normalised
    g.load(p.dy + start, p.dim);
    xhat.load(p.s + start, p.dim);
    float sum_g = 0.0F;
    float sum_gx = 0.0F;
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (Share::column(c) < p.dim) {
        float gamma[kVector];
        load_vector(gamma, p.gamma + Share::column(c));
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const float dy = g.values[c][i];
          const float x = (xhat.values[c][i] - mean) * rstd;
          dgamma[c][i] += dy * x;
          dbeta[c][i] += dy;
          xhat.values[c][i] = x;
          g.values[c][i] = dy * gamma[i];
          sum_g += g.values[c][i];
          sum_gx += g.values[c][i] * x;
        }
      }
    }
    const float mean_g = warp_sum(sum_g) * scale;
    const float mean_gx = warp_sum(sum_gx) * scale;
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        g.values[c][i] = rstd * (g.values[c][i] - mean_g - xhat.values[c][i] * mean_gx);
      }
    }
    if (p.ds_in != nullptr) g.add(p.ds_in + start, p.dim);
    g.store(p.ds + start, p.dim);
  }

  // The warps add their shares one after another.
  float* sums = shared_memory<float>();
  for (int turn = 0; turn < kWarps; ++turn) {
    if (turn == warp) {
#pragma unroll
      for (int c = 0; c < kChunks; ++c) {
        if (Share::column(c) < p.dim) {
#pragma unroll
          for (int i = 0; i < kVector; ++i) {
            const int64_t column = Share::column(c) + i;
            sums[column] = turn == 0 ? dgamma[c][i] : sums[column] + dgamma[c][i];
            sums[p.dim + column] = turn == 0 ? dbeta[c][i] : sums[p.dim + column] + dbeta[c][i];
          }
        }
      }
    }
    __syncthreads();
  }
  float* mine = partials + static_cast<int64_t>(blockIdx.x) * 2 * p.dim;
  for (int64_t i = threadIdx.x; i < 2 * p.dim; i += kThreads) mine[i] = sums[i];
}

// dgamma and dbeta = the sum of partials [count,2,D] over count. A block has 32 of the 2D columns; its warps
// take every eighth partial each. Shared memory: float [8,32].
template <class T>
__global__ void __launch_bounds__(kWideThreads)
    layer_norm_bwd_sum_kernel(const float* partials, int64_t count, int64_t dim, T* dgamma, T* dbeta) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  float total = 0.0F;
  if (column < 2 * dim) {
    for (int64_t i = warp; i < count; i += kWideWarps) total += partials[i * 2 * dim + column];
  }
  float* sums = shared_memory<float>();
  sums[warp * kWarp + lane] = total;
  __syncthreads();
  if (warp != 0 || column >= 2 * dim) return;
  for (int i = 1; i < kWideWarps; ++i) total += sums[i * kWarp + lane];
  if (column < dim) {
    dgamma[column] = from_float<T>(total);
  } else {
    dbeta[column - dim] = from_float<T>(total);
  }
}

// ---- wide

// Shared memory of both: float [8].
template <class T>
__global__ void __launch_bounds__(kWideThreads) layer_norm_fwd_wide_kernel(LayerNormFwd<T> p) {
  float* scratch = shared_memory<float>();
  const int64_t row = blockIdx.x;
  const int64_t start = row * p.dim;
  // The second and third pass read the sum back if it was written: it may be where x was.
  const T* x = p.sum != nullptr ? p.sum : p.x;
  const T* residual = p.sum != nullptr ? nullptr : p.residual;
  const auto input = [&](int64_t d) {
    const float value = to_float(x[start + d]);
    return residual != nullptr ? value + to_float(residual[start + d]) : value;
  };
  float total = 0.0F;
  for (int64_t d = threadIdx.x; d < p.dim; d += kWideThreads) {
    float s = to_float(p.x[start + d]);
    if (p.residual != nullptr) s += to_float(p.residual[start + d]);
    if (p.sum != nullptr) p.sum[start + d] = from_float<T>(s);
    total += s;
  }
  const float mean = block_sum(total, scratch) / static_cast<float>(p.dim);
  float squares = 0.0F;
  for (int64_t d = threadIdx.x; d < p.dim; d += kWideThreads) {
    const float centred = input(d) - mean;
    squares += centred * centred;
  }
  const float rstd = 1.0F / sqrtf(block_sum(squares, scratch) / static_cast<float>(p.dim) + to_float(p.eps));
  for (int64_t d = threadIdx.x; d < p.dim; d += kWideThreads) {
    p.y[start + d] = from_float<T>((input(d) - mean) * rstd * to_float(p.gamma[d]) + to_float(p.beta[d]));
  }
  if (threadIdx.x == 0) {
    if (p.mean != nullptr) p.mean[row] = from_float<T>(mean);
    if (p.rstd != nullptr) p.rstd[row] = from_float<T>(rstd);
  }
}

template <class T>
__global__ void __launch_bounds__(kWideThreads) layer_norm_bwd_wide_kernel(LayerNormBwd<T> p) {
  float* scratch = shared_memory<float>();
  const int64_t row = blockIdx.x;
  const int64_t start = row * p.dim;
  const float mean = to_float(p.mean[row]);
  const float rstd = to_float(p.rstd[row]);
  float sum_g = 0.0F;
  float sum_gx = 0.0F;
  for (int64_t d = threadIdx.x; d < p.dim; d += kWideThreads) {
    const float g = to_float(p.dy[start + d]) * to_float(p.gamma[d]);
    sum_g += g;
    sum_gx += g * (to_float(p.s[start + d]) - mean) * rstd;
  }
  const float mean_g = block_sum(sum_g, scratch) / static_cast<float>(p.dim);
  const float mean_gx = block_sum(sum_gx, scratch) / static_cast<float>(p.dim);
  for (int64_t d = threadIdx.x; d < p.dim; d += kWideThreads) {
    const float g = to_float(p.dy[start + d]) * to_float(p.gamma[d]);
    const float xhat = (to_float(p.s[start + d]) - mean) * rstd;
    float ds = rstd * (g - mean_g - xhat * mean_gx);
    if (p.ds_in != nullptr) ds += to_float(p.ds_in[start + d]);
    p.ds[start + d] = from_float<T>(ds);
  }
}

// One slice of the rows for 32 columns a block, into partials [slices,2,D]; blocks are numbered slice by
// slice. Its warps take every eighth row of the slice each. Runs before ds is written: ds may be where dy or
// s is. Shared memory: float [2,8,32].
template <class T>
__global__ void __launch_bounds__(kWideThreads)
    layer_norm_bwd_columns_kernel(LayerNormBwd<T> p, int64_t column_blocks, int64_t slice_rows,
                                  float* partials) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t slice = blockIdx.x / column_blocks;
  const int64_t column = blockIdx.x % column_blocks * kWarp + lane;
  const int64_t first = slice * slice_rows;
  const int64_t end = first + slice_rows < p.rows ? first + slice_rows : p.rows;
  float dgamma = 0.0F;
  float dbeta = 0.0F;
  if (column < p.dim) {
    for (int64_t row = first + warp; row < end; row += kWideWarps) {
      const float dy = to_float(p.dy[row * p.dim + column]);
      dgamma += dy * (to_float(p.s[row * p.dim + column]) - to_float(p.mean[row])) * to_float(p.rstd[row]);
      dbeta += dy;
    }
  }
  float* sums = shared_memory<float>();
  sums[warp * kWarp + lane] = dgamma;
  sums[(kWideWarps + warp) * kWarp + lane] = dbeta;
  __syncthreads();
  if (warp != 0 || column >= p.dim) return;
  for (int i = 1; i < kWideWarps; ++i) {
    dgamma += sums[i * kWarp + lane];
    dbeta += sums[(kWideWarps + i) * kWarp + lane];
  }
  partials[slice * 2 * p.dim + column] = dgamma;
  partials[slice * 2 * p.dim + p.dim + column] = dbeta;
}

// ---- choice and launch

// Calls use(vector, chunks) with the smallest share of a row that covers `dim` <= 1024, both as constants
// of the compiler.
template <int kVector, int kChunks>
using ShareSize = std::pair<std::integral_constant<int, kVector>, std::integral_constant<int, kChunks>>;

template <class Use>
void with_share_size(int64_t dim, bool aligned, Use use) {
  if (!aligned) {
    if (dim <= 128) return use(ShareSize<1, 4>{});
    if (dim <= 512) return use(ShareSize<1, 16>{});
    return use(ShareSize<1, 32>{});
  }
  if (dim <= 128) return use(ShareSize<4, 1>{});
  if (dim <= 256) return use(ShareSize<4, 2>{});
  if (dim <= 512) return use(ShareSize<4, 4>{});
  if (dim <= 768) return use(ShareSize<4, 6>{});
  return use(ShareSize<4, 8>{});
}

template <class T>
void sum_partials(const LayerNormBwd<T>& p, const float* partials, int64_t count) {
  const LaunchShape shape{ceil_div(2 * p.dim, kWarp), kWideThreads, kWideThreads * sizeof(float)};
  launch("layer_norm_bwd_sum", shape, layer_norm_bwd_sum_kernel<T>, partials, count, p.dim, p.dgamma,
         p.dbeta);
}

// True when there is nothing to compute; the parameters' gradients are then 0.
template <class T>
bool backward_of_nothing(const LayerNormBwd<T>& p) {
  if (p.dim > 0 && p.rows > 0) return false;
  fill_zero(p.dgamma, static_cast<size_t>(p.dim) * sizeof(T), current_device());
  fill_zero(p.dbeta, static_cast<size_t>(p.dim) * sizeof(T), current_device());
  return true;
}

}  // namespace

void layer_norm_fwd_v1_cuda(const LayerNormFwd<float>& p) {
  if (p.rows == 0 || p.dim == 0) return;
  launch("layer_norm_fwd_v1", {ceil_div(p.rows, kThreads), kThreads}, layer_norm_fwd_v1_kernel<float>, p);
}

void layer_norm_bwd_v1_cuda(const LayerNormBwd<float>& p) {
  if (backward_of_nothing(p)) return;
  // Columns first: ds may be written over dy or s.
  launch("layer_norm_bwd_v1_columns", {ceil_div(p.dim, kThreads), kThreads},
         layer_norm_bwd_v1_columns_kernel<float>, p);
  launch("layer_norm_bwd_v1_rows", {ceil_div(p.rows, kThreads), kThreads},
         layer_norm_bwd_v1_rows_kernel<float>, p);
}

void layer_norm_fwd_cuda(const LayerNormFwd<float>& p) {
  if (p.rows == 0 || p.dim == 0) return;
  if (p.dim > kMaxRegisterDim) {
    launch("layer_norm_fwd_wide", {p.rows, kWideThreads, kWideWarps * sizeof(float)},
           layer_norm_fwd_wide_kernel<float>, p);
    return;
  }
  const bool aligned = rows_are_aligned<4>(p.dim, p.x, p.residual, p.gamma, p.beta, p.sum, p.y);
  with_share_size(p.dim, aligned, [&]<class Vector, class Chunks>(std::pair<Vector, Chunks>) {
    launch("layer_norm_fwd_v2", {ceil_div(p.rows, kWarps), kThreads},
           layer_norm_fwd_v2_kernel<float, Vector::value, Chunks::value>, p);
  });
}

void layer_norm_bwd_cuda(const LayerNormBwd<float>& p) {
  if (backward_of_nothing(p)) return;
  if (p.dim > kMaxRegisterDim) {
    const int64_t column_blocks = ceil_div(p.dim, kWarp);
    const int64_t slice_rows = std::max<int64_t>(kWideWarps, ceil_div(p.rows, kMaxRowSlices));
    const int64_t slices = ceil_div(p.rows, slice_rows);
    const Scratch<float> partials(slices * 2 * p.dim);
    launch("layer_norm_bwd_columns", {column_blocks * slices, kWideThreads, 2 * kWideThreads * sizeof(float)},
           layer_norm_bwd_columns_kernel<float>, p, column_blocks, slice_rows, partials.data());
    launch("layer_norm_bwd_wide", {p.rows, kWideThreads, kWideWarps * sizeof(float)},
           layer_norm_bwd_wide_kernel<float>, p);
    sum_partials(p, partials.data(), slices);
    return;
  }
  // At least two rows a warp: every block's share of dgamma and dbeta is written and read again.
  const int64_t blocks = std::min(kMaxBackwardBlocks, ceil_div(p.rows, 2 * kWarps));
  const Scratch<float> partials(blocks * 2 * p.dim);
  const bool aligned = rows_are_aligned<4>(p.dim, p.dy, p.s, p.gamma, p.ds_in, p.ds);
  with_share_size(p.dim, aligned, [&]<class Vector, class Chunks>(std::pair<Vector, Chunks>) {
    launch("layer_norm_bwd_v2", {blocks, kThreads, 2 * static_cast<size_t>(p.dim) * sizeof(float)},
           layer_norm_bwd_v2_kernel<float, Vector::value, Chunks::value>, p, partials.data());
  });
  sum_partials(p, partials.data(), blocks);
}

}  // namespace clipcap::CLIPCAP_CUDA_NAMESPACE
