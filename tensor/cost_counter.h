// CostCounter: what the ops called while it lives cost, added up from their own cost() (tensor/op.h).
#pragma once

#include <map>
#include <string>

#include "tensor/op.h"

namespace clipcap {

/// One at a time, on the thread that computes; it takes the place of op_hook and gives it back at the end.
class CostCounter {
 public:
  CostCounter();
  ~CostCounter();
  CostCounter(const CostCounter&) = delete;
  CostCounter& operator=(const CostCounter&) = delete;

  [[nodiscard]] Cost total() const;
  /// Of the calls of one op ("conv2d_fwd"); nothing when there was none.
  [[nodiscard]] Cost of(const std::string& op) const;

 private:
  static void count(const OpCall& call, bool begin);
  OpHook before_;
  std::map<std::string, Cost> costs_;  // by op
};

}  // namespace clipcap
