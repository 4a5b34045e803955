#include "nn/lstm.h"

#include <cmath>

namespace clipcap::nn {

Lstm::Lstm(int64_t in_features, int64_t hidden, Generator& generator)
    : input(in_features, 4 * hidden, generator),
      weight_hidden(
          uniform_parameter({4 * hidden, hidden}, 1.0 / std::sqrt(static_cast<double>(hidden)), generator)) {
  // A forget gate that starts open carries gradients through long clips (Jozefowicz et al. 2015).
  if (!input.bias.value().is_contiguous()) return;  // values will be loaded
  float* bias = input.bias.value().host<float>();
  for (int64_t i = hidden; i < 2 * hidden; ++i) bias[i] = 1.0F;
}

}  // namespace clipcap::nn
