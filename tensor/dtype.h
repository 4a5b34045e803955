// Element types. f32 and bf16 compute, f64 is the oracle's type, i32 holds token ids and lengths, u8 holds
// frames and masks; f16, i64, i16, i8 and boolean appear in files only.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "tensor/check.h"

namespace clipcap {

enum class DType : uint8_t { f32, bf16, f16, f64, i64, i32, i16, i8, u8, boolean };

/// bfloat16: the upper half of an IEEE float; rounds to nearest, ties to even; NaN stays NaN.
struct bfloat16 {
  uint16_t bits = 0;
  bfloat16() = default;
  explicit bfloat16(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffU) > 0x7f800000U) {
      bits = static_cast<uint16_t>((u >> 16) | 0x40U);
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
    }
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// IEEE half precision, storage only; subnormals, infinities and NaN are converted exactly.
struct float16 {
  uint16_t bits = 0;
  float16() = default;
  explicit float16(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    const auto sign = static_cast<uint16_t>((u >> 16) & 0x8000U);
    const uint32_t magnitude = u & 0x7fffffffU;
    if (magnitude >= 0x7f800000U) {
      bits = static_cast<uint16_t>(sign | 0x7c00U | (magnitude > 0x7f800000U ? 0x200U : 0U));
    } else if (magnitude >= 0x477ff000U) {
      bits = static_cast<uint16_t>(sign | 0x7c00U);
    } else if (magnitude >= 0x38800000U) {
      const uint32_t rebased = magnitude - 0x38000000U;
      bits = static_cast<uint16_t>(sign | ((rebased + 0xfffU + ((rebased >> 13) & 1U)) >> 13));
    } else {
      // Adding 0.5 leaves the subnormal half's bits, correctly rounded, in the low mantissa.
      const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
      bits = static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000U));
    }
  }
  explicit operator float() const {
    const uint32_t sign = (static_cast<uint32_t>(bits) & 0x8000U) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fU;
    const uint32_t mantissa = bits & 0x3ffU;
    if (exponent == 0x1fU) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
    if (exponent == 0) {
      const float value = static_cast<float>(mantissa) * 0x1p-24F;
      return sign != 0 ? -value : value;
    }
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
  }
};

/// A truth value as files hold it. A byte of its own type: reading a `bool` from a byte that is neither 0 nor 1
/// is undefined.
struct Boolean {
  uint8_t bits = 0;
  Boolean() = default;
  explicit Boolean(double value) : bits(value != 0 ? 1 : 0) {}
  explicit operator double() const { return bits != 0 ? 1.0 : 0.0; }
};

[[nodiscard]] constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
    case DType::i16:
      return 2;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

[[nodiscard]] constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::f64:
      return "f64";
    case DType::i64:
      return "i64";
    case DType::i32:
      return "i32";
    case DType::i16:
      return "i16";
    case DType::i8:
      return "i8";
    case DType::u8:
      return "u8";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

[[nodiscard]] constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f64;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<int16_t> {
  static constexpr DType value = DType::i16;
};
template <>
struct DTypeOf<int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<Boolean> {
  static constexpr DType value = DType::boolean;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// The type that numbers of type T are computed in: double for double, float for everything else. Params structs
/// hold data as T, and as Real<T> what must not lose precision when T is narrow: statistics, log-sum-exps, scales,
/// losses, LSTM cells, optimizer moments.
template <class T>
using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
/// x as it is computed with.
template <class T>
[[nodiscard]] constexpr Real<T> real(T x) {
  return static_cast<Real<T>>(x);
}
/// The dtype of Real<T>.
[[nodiscard]] constexpr DType real_dtype(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

/// Calls `body(T{})` with the C++ type of `dtype`.
template <class Body>
decltype(auto) visit_dtype(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::bf16:
      return body(bfloat16{});
    case DType::f16:
      return body(float16{});
    case DType::f64:
      return body(double{});
    case DType::i64:
      return body(int64_t{});
    case DType::i32:
      return body(int32_t{});
    case DType::i16:
      return body(int16_t{});
    case DType::i8:
      return body(int8_t{});
    case DType::u8:
      return body(uint8_t{});
    case DType::boolean:
      return body(Boolean{});
    case DType::f32:
      break;
  }
  return body(float{});
}

inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

}  // namespace clipcap
