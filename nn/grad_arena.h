// GradArena: the gradients of many parameters in one flat tensor, so that they are zeroed in one fill, sent
// to other ranks in one piece, or in a few as they become complete (BackwardOptions::leaf_ready).
#pragma once

#include <vector>

#include "nn/module.h"

namespace clipcap::nn {

class GradArena {
 public:
  /// Gives every parameter that requires a gradient (each once, all of one dtype on one device) a part of
  /// flat() as the buffer of its gradient, in the order given. What has been accumulated moves there. The
  /// parameters keep their buffers when the arena goes.
  explicit GradArena(const std::vector<NamedParameter>& parameters);

  /// [N]: the gradients one after the other, each at a multiple of 256 bytes; gaps are zero.
  [[nodiscard]] const Tensor& flat() const { return flat_; }
  /// Where in flat() the gradient of a parameter is; throws Error for one that is not in the arena.
  struct Range {
    int64_t start;
    int64_t length;
  };
  [[nodiscard]] Range range(const Variable& parameter) const;

  /// Every number zero, in one fill; no parameter has a gradient.
  void zero();
  /// From now on every parameter has a gradient, of zeros where none arrived: after a sum over ranks, where
  /// another one may have had it.
  void define_all();

 private:
  Tensor flat_;
  struct Part {
    Variable parameter;
    Range range;
  };
  std::vector<Part> parts_;
};

}  // namespace clipcap::nn
