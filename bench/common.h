// What the benchmarks share: inputs, and the counters they report.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "tensor/op.h"
#include "tensor/random.h"

namespace clipcap::bench {

inline std::vector<float> random_values(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = uniform_from_bits(philox(seed, 0, i).v[0]) - 0.4F;
  return values;
}

/// What one iteration costs (tensor/op.h), as rates in 1e9 a second.
inline void set_rates(benchmark::State& state, const Cost& cost) {
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount * 1e-9 * static_cast<double>(state.iterations()),
                              benchmark::Counter::kIsRate);
  };
  if (cost.flops > 0) state.counters["GFLOP/s"] = rate(cost.flops);
  state.counters["GB/s"] = rate(cost.bytes_read + cost.bytes_written);
}

}  // namespace clipcap::bench
