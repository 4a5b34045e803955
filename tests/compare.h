// What every kernel test needs: reproducible inputs, and the rule by which a kernel is judged: against a
// double oracle it may be at most a few times worse than the plain float reference.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tensor/random.h"
#include "tests/catch.h"

namespace clipcap::testing {

/// Normal numbers with a non-zero mean (constant or centred inputs hide sign and mean mistakes).
template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed, double mean = 0.2, double deviation = 1.0) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<T>(static_cast<float>(mean + deviation * normal_at(seed, 17, i)));
  }
  return values;
}

template <class To, class From>
std::vector<To> converted(const std::vector<From>& values) {
  return std::vector<To>(values.begin(), values.end());
}

template <class A, class B>
double max_error(const std::vector<A>& a, const std::vector<B>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(error <= worst)) worst = error;  // a NaN is kept
  }
  return worst;
}

/// `got` is a kernel's float result, `plain` the float reference's, `oracle` the double reference's.
template <class T>
void check_against_oracle(const std::vector<T>& got, const std::vector<T>& plain,
                          const std::vector<double>& oracle) {
  double largest = 0;
  for (const double value : oracle) largest = std::max(largest, std::abs(value));
  const double floor = 16.0 * std::numeric_limits<T>::epsilon() * std::max(largest, 1e-30);
  const double error = max_error(got, oracle);
  const double allowed = 4.0 * max_error(plain, oracle) + floor;
  INFO("error " << error << ", allowed " << allowed << ", largest value " << largest);
  CHECK((error <= allowed));
}

}  // namespace clipcap::testing
