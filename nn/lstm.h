// One LSTM layer over padded sequences of different lengths (Hochreiter and Schmidhuber 1997; gates i,
// f, g, o).
#pragma once

#include "nn/layers.h"

namespace clipcap::nn {

class Lstm : public Module {
 public:
  Linear input;            // x -> 4H gates; its bias is the sum of PyTorch's bias_ih and bias_hh
  Variable weight_hidden;  // [4H,H]

  Lstm() = default;
  Lstm(int64_t in_features, int64_t hidden, Generator& generator);
  /// x [B,T,in], lengths i32 [B] or undefined: h [B,T,H], zero rows past a length; read
  /// backwards if `reverse`.
  [[nodiscard]] Variable forward(const Variable& x, const Tensor& lengths, bool reverse = false,
                                 const Run& run = {}) const {
    Call call(run, *this, "forward", x, lengths);
    return call.returns(diff::lstm(input.forward(x, run), weight_hidden, {}, {}, lengths, reverse).h);
  }
  void visit(Visitor& visitor) override {
    visitor("input", input);
    visitor("weight_hidden", weight_hidden);
  }
  [[nodiscard]] std::string describe() const override {
    return concat_text("Lstm, hidden ", weight_hidden.dim(1));
  }
};

}  // namespace clipcap::nn
