#include "tensor/kernels/copy.h"

#include <cstring>

#include "tests/compare.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

// Every element by its own index, with nothing merged.
template <class T>
void plain_copy(const std::vector<T>& source, std::vector<T>& destination, const Shape& sizes,
                const Strides& from, const Strides& to) {
  for (int64_t i = 0; i < sizes.numel(); ++i) {
    int64_t rest = i;
    int64_t a = 0;
    int64_t b = 0;
    for (int d = sizes.rank() - 1; d >= 0; --d) {
      const int64_t index = rest % sizes[d];
      rest /= sizes[d];
      a += index * from[static_cast<size_t>(d)];
      b += index * to[static_cast<size_t>(d)];
    }
    destination[static_cast<size_t>(b)] = source[static_cast<size_t>(a)];
  }
}

int64_t reach(const Shape& sizes, const Strides& strides) {
  int64_t last = 0;
  for (int d = 0; d < sizes.rank(); ++d) {
    last += std::max<int64_t>(0, sizes[d] - 1) * strides[static_cast<size_t>(d)];
  }
  return last + 1;
}

template <class T>
void check_case(DType type, const Shape& sizes, const Strides& from, const Strides& to) {
  INFO("sizes " << sizes << " dtype " << type);
  std::vector<T> source(static_cast<size_t>(reach(sizes, from)));
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<T>(3 * i + 1);
  std::vector<T> got(static_cast<size_t>(reach(sizes, to)) + 3, T{99});  // gaps and margin stay as they are
  std::vector<T> expected = got;
  plain_copy(source, expected, sizes, from, to);
  strided_copy(kCpu, {.source = source.data(),
                      .destination = got.data(),
                      .sizes = sizes,
                      .source_strides = from,
                      .destination_strides = to,
                      .type = type});
  CHECK(got == expected);
}

template <class T>
void check_all(DType type) {
  check_case<T>(type, {}, {}, {});
  check_case<T>(type, {0}, {1}, {1});
  check_case<T>(type, {3, 0, 2}, {2, 2, 1}, {2, 2, 1});
  for (const int64_t n : {1, 2, 5, 33}) {
    check_case<T>(type, {n}, {1}, {1});
    check_case<T>(type, {n}, {3}, {2});
    check_case<T>(type, {n}, {0}, {1});                        // repeats one element
    check_case<T>(type, {n, 3}, {3, 1}, {3, 1});               // all of it is one row
    check_case<T>(type, {n, 3}, {5, 1}, {3, 1});               // rows with a gap
    check_case<T>(type, {n, 3}, {1, n}, {3, 1});               // transposed
    check_case<T>(type, {3, n}, {n, 1}, {1, 3});               // transposed on the other side
    check_case<T>(type, {2, n, 3}, {0, 3, 1}, {3 * n, 3, 1});  // expanded
    check_case<T>(type, {2, 1, n, 4}, {4 * n, 9, 4, 1}, {8 * n, 7, 8, 2});
    check_case<T>(type, {2, 3, 2, n, 1, 2}, {12 * n, 4 * n, 2 * n, 2, 5, 1}, {1, 2, 6, 12, 1, 12 * n});
  }
  check_case<T>(type, {300, 257}, {257, 1}, {300, 1});  // rows with a gap in the destination
}

}  // namespace

TEST_CASE("copy: every element by its own index, in every width", "[copy]") {
  check_all<uint8_t>(DType::u8);
  check_all<uint16_t>(DType::bf16);
  check_all<uint32_t>(DType::f32);
  check_all<uint64_t>(DType::i64);
}

TEST_CASE("copy: conversion rounds, truncates and keeps what it can", "[copy]") {
  const auto converted_to = [](DType to, const std::vector<float>& values, auto tag) {
    std::vector<decltype(tag)> result(values.size() + 1, decltype(tag)(static_cast<float>(42)));
    convert(kCpu, {.source = values.data(),
                   .destination = result.data(),
                   .count = static_cast<int64_t>(values.size()),
                   .from = DType::f32,
                   .to = to});
    CHECK(static_cast<float>(result.back()) == 42.0F);
    result.pop_back();
    return result;
  };
  CHECK(converted_to(DType::i32, {-2.9F, -0.5F, 0.0F, 2.9F, 1e6F}, int32_t{}) ==
        std::vector<int32_t>{-2, 0, 0, 2, 1000000});
  CHECK(converted_to(DType::u8, {0.0F, 3.7F, 255.0F}, uint8_t{}) == std::vector<uint8_t>{0, 3, 255});
  CHECK(converted_to(DType::f64, {0.1F, -3.0F}, double{}) ==
        std::vector<double>{static_cast<double>(0.1F), -3.0});
  // Round to nearest, ties to even: 1 + 2^-8 lies half-way between two bfloat16.
  const auto narrow = converted_to(DType::bf16, {1.0F, 1.00390625F, 1.01171875F, 3e38F}, bfloat16{});
  CHECK(static_cast<float>(narrow[0]) == 1.0F);
  CHECK(static_cast<float>(narrow[1]) == 1.0F);
  CHECK(static_cast<float>(narrow[2]) == 1.015625F);
  CHECK(std::isfinite(static_cast<float>(narrow[3])));
  const auto large = converted_to(DType::i64, std::vector<float>(100'000, -7.5F), int64_t{});
  CHECK(large == std::vector<int64_t>(100'000, -7));
}
