#include "tensor/kernels/copy.h"

#include <cstring>

#include "tensor/parallel.h"

namespace clipcap {
namespace {

// Dimensions that lie one after the other in both tensors are merged, so that most copies become
// memcpy row by row.
struct Layout {
  int rank = 0;
  std::array<int64_t, kMaxRank> sizes{};
  Strides source{};
  Strides destination{};
};

Layout merged(const StridedCopy& p) {
  Layout layout;
  for (int i = 0; i < p.sizes.rank(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (p.sizes[i] == 1) continue;
    if (layout.rank > 0) {
      const auto last = static_cast<size_t>(layout.rank - 1);
      if (layout.source[last] == p.source_strides[at] * p.sizes[i] &&
          layout.destination[last] == p.destination_strides[at] * p.sizes[i]) {
        layout.sizes[last] *= p.sizes[i];
        layout.source[last] = p.source_strides[at];
        layout.destination[last] = p.destination_strides[at];
        continue;
      }
    }
    const auto next = static_cast<size_t>(layout.rank++);
    layout.sizes[next] = p.sizes[i];
    layout.source[next] = p.source_strides[at];
    layout.destination[next] = p.destination_strides[at];
  }
  if (layout.rank == 0) {
    layout.rank = 1;
    layout.sizes[0] = 1;
    layout.source[0] = layout.destination[0] = 1;
  }
  return layout;
}

template <class T>
void copy_rows(const StridedCopy& p, const Layout& layout) {
  const auto last = static_cast<size_t>(layout.rank - 1);
  const int64_t row = layout.sizes[last];
  const int64_t source_step = layout.source[last];
  const int64_t destination_step = layout.destination[last];
  int64_t rows = 1;
  for (size_t i = 0; i < last; ++i) rows *= layout.sizes[i];
  const auto* source = static_cast<const T*>(p.source);
  auto* destination = static_cast<T*>(p.destination);
  parallel_for(rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, row)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   int64_t rest = r;
                   int64_t from = 0;
                   int64_t to = 0;
                   for (size_t i = last; i-- > 0;) {
                     const int64_t index = rest % layout.sizes[i];
                     rest /= layout.sizes[i];
                     from += index * layout.source[i];
                     to += index * layout.destination[i];
                   }
                   const T* in = source + from;
                   T* out = destination + to;
                   if (source_step == 1 && destination_step == 1) {
                     std::memcpy(out, in, static_cast<size_t>(row) * sizeof(T));
                   } else {
                     for (int64_t i = 0; i < row; ++i) out[i * destination_step] = in[i * source_step];
                   }
                 }
               });
}

void strided_copy_cpu(const StridedCopy& p) {
  if (p.sizes.numel() == 0) return;
  const Layout layout = merged(p);
  switch (size_of(p.type)) {
    case 1:
      return copy_rows<uint8_t>(p, layout);
    case 2:
      return copy_rows<uint16_t>(p, layout);
    case 4:
      return copy_rows<uint32_t>(p, layout);
    case 8:
      return copy_rows<uint64_t>(p, layout);
    default:
      fail("strided_copy: elements of ", p.type);
  }
}

template <class T>
double to_double(T value) {
  if constexpr (std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>) {
    return static_cast<double>(static_cast<float>(value));
  } else {
    return static_cast<double>(value);
  }
}

template <class To, class From>
To convert_value(From value) {
  if constexpr (std::is_same_v<To, bfloat16> || std::is_same_v<To, float16>) {
    return To(static_cast<float>(to_double(value)));
  } else if constexpr (std::is_same_v<To, Boolean>) {
    return Boolean(to_double(value));
  } else if constexpr (std::is_integral_v<To> && std::is_integral_v<From>) {
    return static_cast<To>(value);
  } else {
    return static_cast<To>(to_double(value));
  }
}

void convert_cpu(const Convert& p) {
  visit_dtype(p.from, [&](auto from) {
    visit_dtype(p.to, [&](auto to) {
      const auto* source = static_cast<const decltype(from)*>(p.source);
      auto* destination = static_cast<decltype(to)*>(p.destination);
      parallel_for(p.count, 32768, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) destination[i] = convert_value<decltype(to)>(source[i]);
      });
    });
  });
}

}  // namespace

UntypedOp<StridedCopy> strided_copy{"strided_copy", strided_copy_cpu};
UntypedOp<Convert> convert{"convert", convert_cpu};

}  // namespace clipcap
