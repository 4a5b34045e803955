// One (batch, head) at a time: q (scaled), k and v are packed into the thread's scratch, then blocks of query
// rows meet tiles of keys. A tile's scores stay in cache between the two products around the softmax.
#include "tensor/kernels/attention.h"

#include "tensor/kernels/isa/tile.h"
#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

constexpr int64_t kQueryBlock = 48;
constexpr int64_t kKeyTile = 256;
constexpr float kInfinity = __builtin_inff();

// C[M, N vectors] (+)= A B; see tile_product for A's layout.
template <int M, int N, bool kTransposed>
void block(int64_t depth, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
           bool add) {
  Vec acc[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) acc[m][n] = add ? load(c + m * ldc + n * kLanes) : Vec{};
  }
  tile_product<M, N, kTransposed>(acc, depth, a, lda, b, ldb);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) store(c + m * ldc + n * kLanes, acc[m][n]);
  }
}

using Block = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, bool);

template <int N, bool kTransposed>
Block block_of_rows(int64_t rows) {
  switch (rows) {
    case 1:
      return block<1, N, kTransposed>;
    case 2:
      return block<2, N, kTransposed>;
    case 3:
      return block<3, N, kTransposed>;
    case 4:
      return block<4, N, kTransposed>;
    case 5:
      return block<5, N, kTransposed>;
    default:
      return block<6, N, kTransposed>;
  }
}

template <bool kTransposed>
Block block_of(int64_t rows, int64_t vectors) {
#if !defined(__AVX2__) || defined(__AVX512F__)
  if (vectors == 4) return block_of_rows<4, kTransposed>(rows);
  if (vectors == 3) return block_of_rows<3, kTransposed>(rows);
#endif
  return vectors == 2 ? block_of_rows<2, kTransposed>(rows) : block_of_rows<1, kTransposed>(rows);
}

// C[rows, vectors] (+)= A[rows, depth] B[depth, vectors], cut into balanced register tiles.
template <bool kTransposed>
void product(int64_t rows, int64_t vectors, int64_t depth, const float* a, int64_t lda, const float* b,
             int64_t ldb, float* c, int64_t ldc, bool add) {
  const int64_t row_blocks = (rows + kTileRows - 1) / kTileRows;
  const int64_t panels = (vectors + kTileVectors - 1) / kTileVectors;
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = vectors * panel / panels;
    const int64_t width = vectors * (panel + 1) / panels - first;
    for (int64_t rb = 0; rb < row_blocks; ++rb) {
      const int64_t row = rows * rb / row_blocks;
      const int64_t height = rows * (rb + 1) / row_blocks - row;
      block_of<kTransposed>(height, width)(depth, a + (kTransposed ? row : row * lda), lda,
                                           b + first * kLanes, ldb, c + row * ldc + first * kLanes, ldc, add);
    }
  }
}

const float* head_of(const float* base, const AttentionStrides& s, int64_t b, int64_t h) {
  return base + b * s.batch + h * s.head;
}
float* head_of(float* base, const AttentionStrides& s, int64_t b, int64_t h) {
  return base + b * s.batch + h * s.head;
}

// Rows of `dim` adjacent values to rows of `width` (a multiple of the lanes), times `scale`, zero-padded;
// rows that `valid` masks become zero whatever they hold.
void pack_rows(const float* x, int64_t stride, int64_t rows, int64_t dim, int64_t width, float scale,
               const uint8_t* valid, float* out) {
  for (int64_t t = 0; t < rows; ++t) {
    float* to = out + t * width;
    if (valid != nullptr && valid[t] == 0) {
      for (int64_t c = 0; c < width; c += kLanes) store(to + c, Vec{});
      continue;
    }
    const float* from = x + t * stride;
    int64_t c = 0;
    for (; c + kLanes <= dim; c += kLanes) store(to + c, load(from + c) * scale);
    if (c < width) store(to + c, load_partial(from + c, dim - c) * scale);
  }
}

// out[c * ld + t] = x[t * stride + c] for c < dim and t < rows, zero up to the next whole vector and in
// masked rows.
void transpose(const float* x, int64_t stride, int64_t rows, int64_t dim, const uint8_t* valid, float* out,
               int64_t ld) {
  for (int64_t t0 = 0; t0 < rows; t0 += kLanes) {
    const int64_t count = rows - t0 < kLanes ? rows - t0 : kLanes;
    const float* from = x + t0 * stride;
    if (count == kLanes && valid == nullptr) {
      for (int64_t c = 0; c < dim; ++c) {
        for (int l = 0; l < kLanes; ++l) out[c * ld + t0 + l] = from[l * stride + c];
      }
      continue;
    }
    for (int64_t l = 0; l < kLanes; ++l) {
      const bool used = l < count && (valid == nullptr || valid[t0 + l] != 0);
      for (int64_t c = 0; c < dim; ++c) out[c * ld + t0 + l] = used ? from[l * stride + c] : 0.0F;
    }
  }
}

// Scores of one or two queries (decoding), straight from the keys: a transpose would cost more than all
// of the product.
void few_scores(const float* q, int64_t rows, int64_t width, const float* k, int64_t stride, int64_t keys,
                int64_t dim, const uint8_t* valid, float* score, int64_t ld) {
  for (int64_t j = 0; j < round_up(keys, kLanes); ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      Vec total{};
      if (j < keys && (valid == nullptr || valid[j] != 0)) {
        int64_t x = 0;
        for (; x + kLanes <= dim; x += kLanes) total += load(q + i * width + x) * load(k + j * stride + x);
        if (x < dim) total += load(q + i * width + x) * load_partial(k + j * stride + x, dim - x);
      }
      score[i * ld + j] = sum(total);
    }
  }
}

// 0 for a key that may be attended, -inf for a masked one and for the padding up to whole vectors.
void fill_bias(const uint8_t* valid, int64_t count, int64_t padded, float* bias) {
  for (int64_t j = 0; j < padded; ++j) {
    bias[j] = j < count && (valid == nullptr || valid[j] != 0) ? 0.0F : -kInfinity;
  }
}

// Causality for one row of a tile: keys from `limit` on get -inf.
void forbid_from(float* score, int64_t limit, int64_t padded) {
  for (int64_t j = limit < 0 ? 0 : limit; j < padded; ++j) score[j] = -kInfinity;
}

int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

// Scores of one row against a tile become exp(score - running maximum); returns the factor by which what
// came before has to shrink.
float softmax_row(float* score, const float* bias, int64_t padded, float* running_max, float* running_sum) {
  Vec largest = broadcast(-kInfinity);
  for (int64_t j = 0; j < padded; j += kLanes) {
    const Vec s = load(score + j) + load(bias + j);
    store(score + j, s);
    largest = max(s, largest);
  }
  const float tile_max = max(largest);
  const float new_max = *running_max > tile_max ? *running_max : tile_max;
  const float base = new_max == -kInfinity ? 0.0F : new_max;
  Vec total{};
  for (int64_t j = 0; j < padded; j += kLanes) {
    const Vec weight = exp_nonpositive(load(score + j) - base);
    store(score + j, weight);
    total += weight;
  }
  const float correction = *running_max == -kInfinity ? 0.0F : __builtin_expf(*running_max - base);
  *running_sum = *running_sum * correction + sum(total);
  *running_max = new_max;
  return correction;
}

// Scratch is one piece cut into parts, each a whole number of cache lines.
struct Cutter {
  float* next;
  float* take(int64_t count) {
    float* part = next;
    next += round_up(count, 16);
    return part;
  }
};

void forward_head(const AttentionFwd<float>& p, int64_t b, int64_t h) {
  const bool few = p.q_len <= 2;
  const int64_t width = round_up(p.head_dim, kLanes);
  const int64_t tile = p.k_len < kKeyTile ? p.k_len : kKeyTile;
  const int64_t ld = round_up(tile, 16) + 16;  // never a multiple of the page
  const int64_t floats = p.q_len * (2 * width + 2) + ld * (p.head_dim + kQueryBlock + 1) + tile * width + 256;
  Cutter cut{static_cast<float*>(thread_scratch(static_cast<size_t>(floats) * 4, 0))};
  float* q = cut.take(p.q_len * width);
  float* o = cut.take(p.q_len * width);
  float* running_max = cut.take(p.q_len);
  float* running_sum = cut.take(p.q_len);
  float* k_transposed = cut.take(ld * p.head_dim);
  float* score = cut.take(ld * kQueryBlock);
  float* bias = cut.take(ld);
  float* v = cut.take(tile * width);

  pack_rows(head_of(p.q, p.q_strides, b, h), p.q_strides.row, p.q_len, p.head_dim, width, p.scale, nullptr,
            q);
  for (int64_t i = 0; i < p.q_len; ++i) {
    running_max[i] = -kInfinity;
    running_sum[i] = 0;
  }
  for (int64_t x = 0; x < p.q_len * width; x += kLanes) store(o + x, Vec{});

  for (int64_t j0 = 0; j0 < p.k_len; j0 += tile) {
    const int64_t keys = p.k_len - j0 < tile ? p.k_len - j0 : tile;
    if (p.causal && p.q_len - 1 + p.causal_offset < j0) break;
    const uint8_t* valid = p.key_valid == nullptr ? nullptr : p.key_valid + b * p.k_len + j0;
    const float* k_rows = head_of(p.k, p.k_strides, b, h) + j0 * p.k_strides.row;
    const float* v_rows = head_of(p.v, p.v_strides, b, h) + j0 * p.v_strides.row;
    int64_t v_stride = p.v_strides.row;
    if (!few) transpose(k_rows, p.k_strides.row, keys, p.head_dim, valid, k_transposed, ld);
    if (valid != nullptr || width != p.head_dim || !few) {
      pack_rows(v_rows, v_stride, keys, p.head_dim, width, 1.0F, valid, v);
      v_rows = v;
      v_stride = width;
    }
    fill_bias(valid, keys, round_up(keys, kLanes), bias);
    for (int64_t i0 = 0; i0 < p.q_len; i0 += kQueryBlock) {
      const int64_t rows = p.q_len - i0 < kQueryBlock ? p.q_len - i0 : kQueryBlock;
      const int64_t reach = p.causal ? clamp(i0 + rows + p.causal_offset - j0, 0, keys) : keys;
      if (reach == 0) continue;
      const int64_t padded = round_up(reach, kLanes);
      if (few) {
        few_scores(q, rows, width, k_rows, p.k_strides.row, reach, p.head_dim, valid, score, ld);
      } else {
        product<false>(rows, padded / kLanes, p.head_dim, q + i0 * width, width, k_transposed, ld, score, ld,
                       false);
      }
      for (int64_t i = 0; i < rows; ++i) {
        float* row = score + i * ld;
        if (p.causal) forbid_from(row, i0 + i + p.causal_offset + 1 - j0, padded);
        const float correction = softmax_row(row, bias, padded, running_max + i0 + i, running_sum + i0 + i);
        float* out = o + (i0 + i) * width;
        if (j0 > 0 && correction != 1.0F) {
          for (int64_t x = 0; x < width; x += kLanes) store(out + x, load(out + x) * correction);
        }
      }
      product<false>(rows, width / kLanes, reach, score, ld, v_rows, v_stride, o + i0 * width, width, true);
    }
  }

  float* out = head_of(p.o, p.o_strides, b, h);
  for (int64_t i = 0; i < p.q_len; ++i) {
    const float inverse = running_sum[i] == 0.0F ? 0.0F : 1.0F / running_sum[i];
    float* to = out + i * p.o_strides.row;
    const float* from = o + i * width;
    int64_t x = 0;
    for (; x + kLanes <= p.head_dim; x += kLanes) store(to + x, load(from + x) * inverse);
    if (x < p.head_dim) store_partial(to + x, load(from + x) * inverse, p.head_dim - x);
    if (p.lse != nullptr) {
      p.lse[(b * p.heads + h) * p.q_len + i] =
          running_sum[i] == 0.0F ? -kInfinity : running_max[i] + __builtin_logf(running_sum[i]);
    }
  }
}

void write_rows(const float* x, int64_t width, int64_t rows, int64_t dim, float* out, int64_t stride) {
  for (int64_t t = 0; t < rows; ++t) {
    int64_t c = 0;
    for (; c + kLanes <= dim; c += kLanes) store(out + t * stride + c, load(x + t * width + c));
    if (c < dim) store_partial(out + t * stride + c, load(x + t * width + c), dim - c);
  }
}

void backward_head(const AttentionBwd<float>& p, int64_t b, int64_t h) {
  const int64_t width = round_up(p.head_dim, kLanes);
  const int64_t tile = p.k_len < kKeyTile ? p.k_len : kKeyTile;
  const int64_t ld = round_up(tile, 16) + 16;
  const int64_t floats =
      p.q_len * (3 * width + 2) + ld * (2 * p.head_dim + 2 * kQueryBlock + 1) + 4 * tile * width + 512;
  Cutter cut{static_cast<float*>(thread_scratch(static_cast<size_t>(floats) * 4, 0))};
  float* q = cut.take(p.q_len * width);
  float* d_o = cut.take(p.q_len * width);
  float* dq = cut.take(p.q_len * width);
  float* lse = cut.take(p.q_len);
  float* delta = cut.take(p.q_len);
  float* k_transposed = cut.take(ld * p.head_dim);
  float* v_transposed = cut.take(ld * p.head_dim);
  float* weight = cut.take(ld * kQueryBlock);
  float* ds = cut.take(ld * kQueryBlock);
  float* bias = cut.take(ld);
  float* k = cut.take(tile * width);
  float* v = cut.take(tile * width);
  float* dk = cut.take(tile * width);
  float* dv = cut.take(tile * width);

  // dk needs q times scale and so do the scores: q is scaled once. dq takes its scale when it is written.
  pack_rows(head_of(p.q, p.q_strides, b, h), p.q_strides.row, p.q_len, p.head_dim, width, p.scale, nullptr,
            q);
  pack_rows(head_of(p.d_o, p.o_strides, b, h), p.o_strides.row, p.q_len, p.head_dim, width, 1.0F, nullptr,
            d_o);
  const float* o = head_of(p.o, p.o_strides, b, h);
  for (int64_t i = 0; i < p.q_len; ++i) {
    const float saved = p.lse[(b * p.heads + h) * p.q_len + i];
    lse[i] = saved == -kInfinity ? kInfinity : saved;  // a row without keys: every weight is exp(-inf)
    Vec total{};
    int64_t x = 0;
    for (; x + kLanes <= p.head_dim; x += kLanes) {
      total += load(d_o + i * width + x) * load(o + i * p.o_strides.row + x);
    }
    if (x < p.head_dim)
      total += load(d_o + i * width + x) * load_partial(o + i * p.o_strides.row + x, p.head_dim - x);
    delta[i] = sum(total);
  }
  for (int64_t x = 0; x < p.q_len * width; x += kLanes) store(dq + x, Vec{});

  for (int64_t j0 = 0; j0 < p.k_len; j0 += tile) {
    const int64_t keys = p.k_len - j0 < tile ? p.k_len - j0 : tile;
    const uint8_t* valid = p.key_valid == nullptr ? nullptr : p.key_valid + b * p.k_len + j0;
    pack_rows(head_of(p.k, p.k_strides, b, h) + j0 * p.k_strides.row, p.k_strides.row, keys, p.head_dim,
              width, 1.0F, valid, k);
    pack_rows(head_of(p.v, p.v_strides, b, h) + j0 * p.v_strides.row, p.v_strides.row, keys, p.head_dim,
              width, 1.0F, valid, v);
    transpose(k, width, keys, p.head_dim, nullptr, k_transposed, ld);
    transpose(v, width, keys, p.head_dim, nullptr, v_transposed, ld);
    fill_bias(valid, keys, round_up(keys, kLanes), bias);
    for (int64_t x = 0; x < keys * width; x += kLanes) {
      store(dk + x, Vec{});
      store(dv + x, Vec{});
    }
    for (int64_t i0 = 0; i0 < p.q_len; i0 += kQueryBlock) {
      const int64_t rows = p.q_len - i0 < kQueryBlock ? p.q_len - i0 : kQueryBlock;
      const int64_t reach = p.causal ? clamp(i0 + rows + p.causal_offset - j0, 0, keys) : keys;
      if (reach == 0) continue;
      const int64_t padded = round_up(reach, kLanes);
      product<false>(rows, padded / kLanes, p.head_dim, q + i0 * width, width, k_transposed, ld, weight, ld,
                     false);
      product<false>(rows, padded / kLanes, p.head_dim, d_o + i0 * width, width, v_transposed, ld, ds, ld,
                     false);
      for (int64_t i = 0; i < rows; ++i) {
        float* w = weight + i * ld;
        float* d = ds + i * ld;
        if (p.causal) forbid_from(w, i0 + i + p.causal_offset + 1 - j0, padded);
        for (int64_t j = 0; j < padded; j += kLanes) {
          const Vec probability = exp_nonpositive(load(w + j) + load(bias + j) - lse[i0 + i]);
          store(w + j, probability);
          store(d + j, probability * (load(d + j) - delta[i0 + i]));
        }
      }
      product<false>(rows, width / kLanes, reach, ds, ld, k, width, dq + i0 * width, width, true);
      product<true>(reach, width / kLanes, rows, ds, ld, q + i0 * width, width, dk, width, true);
      product<true>(reach, width / kLanes, rows, weight, ld, d_o + i0 * width, width, dv, width, true);
    }
    write_rows(dk, width, keys, p.head_dim, head_of(p.dk, p.dk_strides, b, h) + j0 * p.dk_strides.row,
               p.dk_strides.row);
    write_rows(dv, width, keys, p.head_dim, head_of(p.dv, p.dv_strides, b, h) + j0 * p.dv_strides.row,
               p.dv_strides.row);
  }
  for (int64_t x = 0; x < p.q_len * width; x += kLanes) store(dq + x, load(dq + x) * p.scale);
  write_rows(dq, width, p.q_len, p.head_dim, head_of(p.dq, p.dq_strides, b, h), p.dq_strides.row);
}

}  // namespace

void attention_fwd(const AttentionFwd<float>& p) {
  if (p.head_dim == 0 && p.lse == nullptr) return;
  const int64_t work = p.q_len * p.k_len * p.head_dim;
  parallel_for(p.batch * p.heads, 100000 / (work + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) forward_head(p, job / p.heads, job % p.heads);
  });
}

void attention_bwd(const AttentionBwd<float>& p) {
  const int64_t work = p.q_len * p.k_len * p.head_dim;
  parallel_for(p.batch * p.heads, 50000 / (work + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) backward_head(p, job / p.heads, job % p.heads);
  });
}

}  // namespace clipcap::CLIPCAP_ISA
