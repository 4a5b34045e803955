// Tensor: a cheap value that points at numbers. Copying a Tensor shares its storage; clone() copies the
// numbers. No gradients live here: see autograd/variable.h. Constness is shallow, as with std::span.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace clipcap {

class Tensor {
 public:
  /// An undefined tensor: no storage; defined() is false.
  Tensor() = default;

  [[nodiscard]] static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
  [[nodiscard]] static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = kCpu);
  [[nodiscard]] static Tensor full(const Shape& shape, double value, DType dtype = DType::f32);
  /// Copies host values into a new CPU tensor of the matching dtype.
  template <class T>
  [[nodiscard]] static Tensor from(std::span<const T> values, const Shape& shape) {
    CHECK(static_cast<int64_t>(values.size()) == shape.numel(), "Tensor::from: ", values.size(),
          " values for shape ", shape);
    Tensor result = empty(shape, dtype_of<T>);
    if (!values.empty()) std::memcpy(result.host<T>(), values.data(), values.size_bytes());
    return result;
  }
  template <class T>
  [[nodiscard]] static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }
  /// A view on existing storage. `offset` and `strides` in elements; bounds are the caller's duty.
  [[nodiscard]] static Tensor view(std::shared_ptr<Storage> storage, const Shape& shape,
                                   const Strides& strides, int64_t offset, DType dtype);

  [[nodiscard]] bool defined() const { return storage_ != nullptr; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] int64_t dim(int i) const { return shape_[i]; }
  [[nodiscard]] int rank() const { return shape_.rank(); }
  [[nodiscard]] int64_t numel() const { return shape_.numel(); }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] Device device() const { return storage_ ? storage_->device() : kCpu; }
  [[nodiscard]] const Strides& strides() const { return strides_; }
  [[nodiscard]] int64_t stride(int i) const { return strides_[static_cast<size_t>(shape_.index(i))]; }
  [[nodiscard]] int64_t bytes() const { return numel() * size_of(dtype_); }
  [[nodiscard]] const std::shared_ptr<Storage>& storage() const { return storage_; }

  /// True when strides[i] == product of the sizes after i, for every dimension of size other than 1.
  [[nodiscard]] bool is_contiguous() const;

  /// First element, on whatever device the tensor is: for kernels. Checks the dtype.
  template <class T>
  [[nodiscard]] T* data() const {
    CHECK(defined(), "data(): undefined tensor");
    CHECK(dtype_ == dtype_of<T>, "data(): tensor is ", dtype_, ", asked for ", dtype_of<T>);
    return reinterpret_cast<T*>(raw());
  }
  /// The same for loops on the host: throws unless the tensor is on the CPU.
  template <class T>
  [[nodiscard]] T* host() const {
    CHECK(device().is_cpu(), "host(): tensor ", shape_, " is on ", device(), "; use to(kCpu)");
    return data<T>();
  }
  /// Throws Error naming `op` when the numbers may only be read (a mapped file): for whatever writes in place.
  void check_writable(const char* op) const;
  [[nodiscard]] std::byte* raw() const { return storage_->data() + offset_ * size_of(dtype_); }

  // Views (no copy).
  [[nodiscard]] Tensor transpose(int i, int j) const;
  [[nodiscard]] Tensor permute(std::initializer_list<int> order) const;
  /// `length` indices of dimension `i` from `start` on.
  [[nodiscard]] Tensor slice(int i, int64_t start, int64_t length) const;
  /// Dimensions of size 1 repeated (stride 0) to `shape`; leading dimensions are added.
  [[nodiscard]] Tensor expand(const Shape& shape) const;
  /// A view wherever strides allow, otherwise a copy; one size may be -1 and is worked out.
  [[nodiscard]] Tensor reshape(std::initializer_list<int64_t> sizes) const;
  [[nodiscard]] Tensor reshape(const Shape& shape) const;

  // Copies.
  [[nodiscard]] Tensor contiguous() const;  // itself if it already is
  [[nodiscard]] Tensor clone() const;       // contiguous, storage of its own
  [[nodiscard]] Tensor to(DType dtype) const;
  [[nodiscard]] Tensor to(Device device) const;
  /// Writes `source` (same shape and dtype, any strides) into this tensor's elements.
  void copy_from(const Tensor& source) const;
  void fill_zero() const;
  /// The one element of a one-element tensor, as double.
  [[nodiscard]] double item() const;
  /// All elements in row-major order; checks the dtype.
  template <class T>
  [[nodiscard]] std::vector<T> to_vector() const {
    const Tensor host = to(kCpu).contiguous();
    const T* values = host.host<T>();
    return std::vector<T>(values, values + host.numel());
  }

 private:
  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Strides strides_{};
  int64_t offset_ = 0;
  DType dtype_ = DType::f32;
};

}  // namespace clipcap
