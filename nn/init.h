// Initial values of parameters, from counter-based random numbers: one seed, one model, on every machine.
#pragma once

#include "autograd/variable.h"
#include "tensor/random.h"

namespace clipcap::nn {

/// While alive on this thread, new parameters only get a shape (one zero, repeated without memory): for
/// models whose values are loaded right after. May be nested.
class SkipInitialisation {
 public:
  SkipInitialisation();
  ~SkipInitialisation();
  SkipInitialisation(const SkipInitialisation&) = delete;
  SkipInitialisation& operator=(const SkipInitialisation&) = delete;

 private:
  bool before_;
};

/// Trainable f32 parameter of normal numbers.
[[nodiscard]] Variable normal_parameter(const Shape& shape, double deviation, Generator& generator);
/// Uniform in [-bound, bound).
[[nodiscard]] Variable uniform_parameter(const Shape& shape, double bound, Generator& generator);
/// Glorot and Bengio 2010: uniform with bound sqrt(6 / (fan_in + fan_out)) for a weight [N,K].
[[nodiscard]] Variable xavier_parameter(int64_t out_features, int64_t in_features, Generator& generator);
[[nodiscard]] Variable constant_parameter(const Shape& shape, double value);

}  // namespace clipcap::nn
