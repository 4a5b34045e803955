// Vis2Text (eq. 3): two linear layers, each with an activation, from visual to textual features,
// frame by frame.
#pragma once

#include "nn/layers.h"

namespace clipcap {

class Vis2Text : public nn::Module {
 public:
  nn::Linear first;   // F_1, d -> d, ReLU
  nn::Linear second;  // F_2, d -> text_dim

  /// `final_relu`: as printed in eq. 3. CLIP's text features are signed, so with it the negative half of the
  /// target is out of reach.
  Vis2Text(int64_t dim, int64_t text_dim, bool final_relu, Generator& generator)
      : first(dim, dim, generator, {.activation = Activation::relu}),
        second(dim, text_dim, generator, {.activation = final_relu ? Activation::relu : Activation::none}) {}
  /// f [B,n,d]: vt [B,n,text_dim].
  [[nodiscard]] Variable forward(const Variable& f, const nn::Run& run = {}) const {
    nn::Call call(run, *this, "forward", f);
    return call.returns(second.forward(first.forward(f, run), run));
  }
  void visit(nn::Visitor& visitor) override {
    visitor("first", first);
    visitor("second", second);
  }
};

}  // namespace clipcap
