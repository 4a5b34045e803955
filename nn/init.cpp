#include "nn/init.h"

#include <cmath>

#include "tensor/parallel.h"

namespace clipcap::nn {
namespace {
thread_local bool skip = false;

Variable shape_only(const Shape& shape) { return Variable(Tensor::zeros({}).expand(shape), true); }

// A trainable f32 parameter whose element i is number(seed, stream, i), with a stream of its own.
template <class Number>
Variable random_parameter(const Shape& shape, Generator& generator, Number number) {
  if (skip) return shape_only(shape);
  Tensor value = Tensor::empty(shape);
  const uint64_t seed = generator.seed();
  const uint64_t stream = generator.next_stream();
  float* numbers = value.host<float>();
  parallel_for(value.numel(), 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) numbers[i] = number(seed, stream, static_cast<uint64_t>(i));
  });
  return Variable(value, true);
}

}  // namespace

SkipInitialisation::SkipInitialisation() : before_(skip) { skip = true; }
SkipInitialisation::~SkipInitialisation() { skip = before_; }

Variable normal_parameter(const Shape& shape, double deviation, Generator& generator) {
  const auto factor = static_cast<float>(deviation);
  return random_parameter(shape, generator, [factor](uint64_t seed, uint64_t stream, uint64_t i) {
    return factor * normal_at(seed, stream, i);
  });
}

Variable uniform_parameter(const Shape& shape, double bound, Generator& generator) {
  const auto factor = static_cast<float>(bound);
  return random_parameter(shape, generator, [factor](uint64_t seed, uint64_t stream, uint64_t i) {
    return factor * (2.0F * uniform_from_bits(philox(seed, stream, i / 4).v[i % 4]) - 1.0F);
  });
}

Variable xavier_parameter(int64_t out_features, int64_t in_features, Generator& generator) {
  return uniform_parameter({out_features, in_features},
                           std::sqrt(6.0 / static_cast<double>(in_features + out_features)), generator);
}

Variable constant_parameter(const Shape& shape, double value) {
  if (skip) return shape_only(shape);
  return Variable(Tensor::full(shape, value), true);
}

}  // namespace clipcap::nn
