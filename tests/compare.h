// What every kernel test needs: reproducible inputs, and the rule by which a kernel is judged: against a
// double oracle it may be at most a few times worse than the plain float reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <ostream>
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

/// Largest difference of two lists of numbers, and where it is. It compares and computes as a double; a
/// CHECK(max_error(a, b) < 1e-5) that fails prints the place and both values.
struct Deviation {
  double error = 0;     // NaN when any difference is NaN: no comparison with it holds
  size_t at = 0;        // the first worst element
  size_t elements = 0;  // compared
  double a = 0;
  double b = 0;

  operator double() const { return error; }  // NOLINT(google-explicit-constructor)
};

inline std::ostream& operator<<(std::ostream& out, const Deviation& d) {
  const auto digits = out.precision(std::numeric_limits<double>::max_digits10);
  out << d.error << " (element " << d.at << " of " << d.elements << ": " << d.a << " against " << d.b << ")";
  out.precision(digits);
  return out;
}

/// max |a_i - b_i|. Equal infinities do not differ; a NaN on either side makes all of it NaN,
/// whatever follows.
template <class A, class B>
[[nodiscard]] Deviation max_error(const std::vector<A>& a, const std::vector<B>& b) {
  REQUIRE(a.size() == b.size());
  Deviation worst{.elements = a.size()};
  for (size_t i = 0; i < a.size() && !std::isnan(worst.error); ++i) {
    const auto left = static_cast<double>(a[i]);
    const auto right = static_cast<double>(b[i]);
    const double error = left == right ? 0.0 : std::abs(left - right);
    if (i > 0 && error <= worst.error) continue;  // false for a NaN, which ends the search
    worst = {error, i, a.size(), left, right};
  }
  return worst;
}

/// `got` is a kernel's float result, `plain` the float reference's, `oracle` the double reference's.
template <class T>
[[nodiscard]] bool within_oracle(const std::vector<T>& got, const std::vector<T>& plain,
                                 const std::vector<double>& oracle) {
  double largest = 0;
  for (const double value : oracle) largest = std::max(largest, std::abs(value));
  const double floor = 16.0 * std::numeric_limits<T>::epsilon() * std::max(largest, 1e-30);
  const Deviation error = max_error(got, oracle);
  const double allowed = 4.0 * max_error(plain, oracle) + floor;
  UNSCOPED_INFO("error " << error << ", allowed " << allowed << ", largest value " << largest);
  return error.error <= allowed;  // false for a NaN on either side
}

template <class T>
void check_against_oracle(const std::vector<T>& got, const std::vector<T>& plain,
                          const std::vector<double>& oracle) {
  CHECK(within_oracle(got, plain, oracle));
}

}  // namespace clipcap::testing
