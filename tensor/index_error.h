// Indices that come as data (token ids, targets) and are out of range. A kernel on a device cannot throw: it
// leaves the first bad index in a sticky record and goes on as its contract says; the host reads the record when
// it next synchronises and throws then. A kernel on the CPU has no record (null) and throws at once.
#pragma once

#include <cstdint>

#include "tensor/check.h"

namespace clipcap {

enum class IndexedOp : int32_t { none, embedding, cross_entropy };

/// The record, in the device's memory. `op` is none until something went wrong.
struct IndexError {
  IndexedOp op = IndexedOp::none;
  int64_t position = 0;  // of the bad index among the indices of the call
  int64_t index = 0;     // what was found there
  int64_t limit = 0;     // expected: 0 <= index < limit
};

/// Throws Error with the op's name, the index and where it stands; nothing for IndexedOp::none.
inline void throw_index_error(const IndexError& error) {
  switch (error.op) {
    case IndexedOp::none:
      return;
    case IndexedOp::embedding:
      fail("embedding: id ", error.index, " at position ", error.position, " of a table with ", error.limit,
           " rows");
    case IndexedOp::cross_entropy:
      fail("cross_entropy: row ", error.position, " has target ", error.index,
           "; expected 0 <= target < V = ", error.limit, " or the ignored index");
  }
}

/// For kernels on the CPU: records into `record` (the first error stays), or throws when there is none.
inline void report_index_error(IndexError* record, const IndexError& error) {
  if (record == nullptr) throw_index_error(error);
  if (record != nullptr && record->op == IndexedOp::none) *record = error;
}

}  // namespace clipcap
