// Row by row: the innermost dimension runs in a vectorised loop where both operands have step 1 or 0, and in
// a plain one for all other steps.
#include "tensor/kernels/elementwise.h"

#include "tensor/kernels/simd.h"
#include "tensor/parallel.h"

namespace clipcap::CLIPCAP_ISA {
namespace {

template <BinaryKind kind, class V>
[[gnu::always_inline]] inline V apply(V a, V b) {
  if constexpr (kind == BinaryKind::add) return a + b;
  if constexpr (kind == BinaryKind::sub) return a - b;
  if constexpr (kind == BinaryKind::mul) return a * b;
  if constexpr (kind == BinaryKind::div) return a / b;
}

template <BinaryKind kind>
void row(const float* a, int64_t a_step, const float* b, int64_t b_step, float* y, int64_t count) {
  int64_t i = 0;
  if (a_step <= 1 && b_step <= 1 && a_step >= 0 && b_step >= 0) {
    for (; i + kLanes <= count; i += kLanes) {
      const Vec va = a_step == 1 ? load(a + i) : broadcast(*a);
      const Vec vb = b_step == 1 ? load(b + i) : broadcast(*b);
      store(y + i, apply<kind>(va, vb));
    }
  }
  for (; i < count; ++i) y[i] = apply<kind>(a[i * a_step], b[i * b_step]);
}

template <BinaryKind kind>
void run(const Binary<float>& p) {
  // Outer dimensions that both operands walk evenly are merged into the row.
  int rank = p.rank;
  int64_t inner = 1;
  int64_t a_step = 1;
  int64_t b_step = 1;
  if (rank > 0) {
    --rank;
    inner = p.sizes[rank];
    a_step = p.a_strides[rank];
    b_step = p.b_strides[rank];
    while (rank > 0 && p.a_strides[rank - 1] == a_step * inner && p.b_strides[rank - 1] == b_step * inner) {
      --rank;
      inner *= p.sizes[rank];
    }
  }
  int64_t rows = 1;
  for (int d = 0; d < rank; ++d) rows *= p.sizes[d];
  if (rows == 0 || inner == 0) return;
  constexpr int64_t kGrain = 32768;
  if (rows == 1) {
    parallel_for(inner, kGrain, [&](int64_t begin, int64_t end) {
      row<kind>(p.a + begin * a_step, a_step, p.b + begin * b_step, b_step, p.y + begin, end - begin);
    });
    return;
  }
  parallel_for(rows, kGrain / inner + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t rest = r;
      int64_t a_at = 0;
      int64_t b_at = 0;
      for (int d = rank - 1; d >= 0; --d) {
        const int64_t index = rest % p.sizes[d];
        rest /= p.sizes[d];
        a_at += index * p.a_strides[d];
        b_at += index * p.b_strides[d];
      }
      row<kind>(p.a + a_at, a_step, p.b + b_at, b_step, p.y + r * inner, inner);
    }
  });
}

}  // namespace

void binary(const Binary<float>& p) {
  switch (p.kind) {
    case BinaryKind::add:
      return run<BinaryKind::add>(p);
    case BinaryKind::sub:
      return run<BinaryKind::sub>(p);
    case BinaryKind::mul:
      return run<BinaryKind::mul>(p);
    case BinaryKind::div:
      return run<BinaryKind::div>(p);
  }
}

void affine(const Affine<float>& p) {
  parallel_for(p.count, 32768, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) store(p.y + i, load(p.x + i) * p.scale + p.shift);
    for (; i < end; ++i) p.y[i] = p.x[i] * p.scale + p.shift;
  });
}

}  // namespace clipcap::CLIPCAP_ISA
