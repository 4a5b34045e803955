// Table lookup, and the sum of gradients into the table.
//
// Equation   y[i] = table[ids[i]];  dtable[v] = sum over i with ids[i] = v of dy[i]
// Shapes     ids [N]; table, dtable [V,D]; y, dy [N,D].
// Numerics   an id outside [0,V) throws Error naming id and position.
// Determinism bitwise for any thread count: a thread owns columns of the table and adds positions in order.
// Cost       forward reads and writes 4ND bytes; backward writes 4VD and reads 4ND.
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
