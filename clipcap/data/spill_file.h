// Rows of numbers that are too many for the memory: written to a file without a name, which the system
// removes with the program, and mapped from there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "tensor/tensor.h"

namespace clipcap {

class SpillFile {
 public:
  /// In the first of the cache's folder and the system's for temporary files that takes a file; without any,
  /// rows stay in memory.
  explicit SpillFile(int64_t columns);
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;

  /// f32 [n,columns]; the number of its first row. Error when the disk is full.
  int64_t add(const Tensor& rows);
  /// f32 [count,columns], a view. What was added is mapped when it is first asked for.
  [[nodiscard]] Tensor rows(int64_t first, int64_t count) const;

 private:
  int64_t columns_;
  int64_t rows_ = 0;
  int file_ = -1;
  std::vector<std::pair<int64_t, Tensor>> kept_;  // by first row, where there is no file
  mutable Tensor mapped_;                         // [mapped rows, columns]
};

}  // namespace clipcap
