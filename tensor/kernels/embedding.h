// Rows of a table by index, and the gradient of the table.
//
// Equation   y[i] = table[ids[i]];  dtable[v] = sum of dy[i] over all i with ids[i] = v
// Shapes     ids [N] int32; table, dtable [V,D]; y, dy [N,D].
// Layout     contiguous.
// Saved      ids.
// Numerics   backward sums in float, positions in ascending order. An id outside [0, V) throws Error naming
// the id,
//            its position and V (forward and backward), before anything is written.
// Determinism bitwise, for any thread count.
// Cost       forward reads and writes 4ND bytes; backward reads 4ND, writes 4VD.
#pragma once

#include <cstdint>

#include "tensor/op.h"

namespace clipcap {

template <class T>
struct EmbeddingFwd {
  const int32_t* ids;  // [N]
  const T* table;      // [V,D]
  T* y;                // [N,D]
  int64_t count;       // N
  int64_t vocab;       // V
  int64_t dim;         // D
};

template <class T>
struct EmbeddingBwd {
  const int32_t* ids;  // [N]
  const T* dy;         // [N,D]
  T* dtable;           // [V,D] overwritten
  int64_t count;
  int64_t vocab;
  int64_t dim;
};

extern Op<void(const EmbeddingFwd<float>&)> embedding_fwd;
extern Op<void(const EmbeddingBwd<float>&)> embedding_bwd;

namespace reference {
template <class T>
void embedding_fwd(const EmbeddingFwd<T>& p);
template <class T>
void embedding_bwd(const EmbeddingBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
