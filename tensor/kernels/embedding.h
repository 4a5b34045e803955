// Table lookup, and the sum of gradients into the table.
//
// Equation   y[i] = table[ids[i]];  dtable[v] = sum over i with ids[i] = v of dy[i]
// Shapes     ids [N]; table, dtable [V,D]; y, dy [N,D].
// Errors     the first id outside [0,V) is reported with its position (tensor/index_error.h); forward then
//            writes zeros for such a position, backward leaves it out.
// Determinism bitwise for any thread count: a thread owns columns of the table and adds positions in order.
// Cost       forward reads and writes 4ND bytes; backward writes 4VD and reads 4ND.
#pragma once

#include <cstdint>

#include "tensor/index_error.h"
#include "tensor/op.h"

namespace clipcap {

template <class T>
struct EmbeddingFwd {
  const int32_t* ids = nullptr;  // [N]
  const T* table = nullptr;      // [V,D]
  T* y = nullptr;                // [N,D]
  int64_t count = 0;             // N
  int64_t vocab = 0;             // V
  int64_t dim = 0;               // D
  IndexError* error = nullptr;   // record of an id out of range (tensor/index_error.h), or null: throw
};

template <class T>
struct EmbeddingBwd {
  const int32_t* ids = nullptr;  // [N]
  const T* dy = nullptr;         // [N,D]
  T* dtable = nullptr;           // [V,D] overwritten
  int64_t count = 0;
  int64_t vocab = 0;
  int64_t dim = 0;
  IndexError* error = nullptr;
};

template <class T>
[[nodiscard]] Cost cost(const EmbeddingFwd<T>& p) {
  const double elements = static_cast<double>(p.count) * static_cast<double>(p.dim);
  return {0, elements * sizeof(T) + static_cast<double>(p.count) * sizeof(int32_t), elements * sizeof(T)};
}
/// An addition an element of dy; the whole table is written.
template <class T>
[[nodiscard]] Cost cost(const EmbeddingBwd<T>& p) {
  const double elements = static_cast<double>(p.count) * static_cast<double>(p.dim);
  return {elements, elements * sizeof(T) + static_cast<double>(p.count) * sizeof(int32_t),
          static_cast<double>(p.vocab) * static_cast<double>(p.dim) * sizeof(T)};
}

extern Op<EmbeddingFwd> embedding_fwd;
extern Op<EmbeddingBwd> embedding_bwd;

namespace reference {
template <class T>
void embedding_fwd(const EmbeddingFwd<T>& p);
template <class T>
void embedding_bwd(const EmbeddingBwd<T>& p);
}  // namespace reference

}  // namespace clipcap
