// What the benchmarks share: inputs, and the counters they report.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "tensor/random.h"

namespace clipcap::bench {

inline std::vector<float> random_values(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = uniform_from_bits(philox(seed, 0, i).v[0]) - 0.4F;
  return values;
}

/// `amount` a call, as a rate: FLOPs or bytes divided by 1e9.
inline void set_rate(benchmark::State& state, const char* name, double amount) {
  state.counters[name] = benchmark::Counter(amount * 1e-9 * static_cast<double>(state.iterations()),
                                            benchmark::Counter::kIsRate);
}

}  // namespace clipcap::bench
