#include "tensor/tensor.h"

#include <algorithm>
#include <utility>

#include "tensor/backend.h"
#include "tensor/kernels/copy.h"

namespace clipcap {

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  Shape result = a.rank() >= b.rank() ? a : b;
  const Shape& other = a.rank() >= b.rank() ? b : a;
  for (int i = 1; i <= other.rank(); ++i) {
    const int64_t x = result[-i];
    const int64_t y = other[-i];
    CHECK(x == y || x == 1 || y == 1, op, ": shapes ", a, " and ", b, " do not broadcast");
    result.set(-i, x == 1 ? y : x);
  }
  return result;
}

Device parse_device(std::string_view text) {
  if (text == "cpu") return kCpu;
  if (text == "auto") return cuda_device_count() > 0 ? Device{DeviceType::cuda, 0} : kCpu;
  CHECK_INPUT(text.starts_with("cuda"), "device \"", text, "\": expected auto, cpu, cuda or cuda:N");
  int index = 0;
  if (text.size() > 4) {
    const std::string_view digits = text.substr(std::min<size_t>(5, text.size()));
    CHECK_INPUT(text[4] == ':' && !digits.empty() && digits.size() <= 3 &&
                    std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }),
                "device \"", text, "\": expected auto, cpu, cuda or cuda:N");
    for (const char c : digits) index = index * 10 + (c - '0');
  }
  const int count = cuda_device_count();
  CHECK_INPUT(count > 0, "device \"", text, "\": no CUDA device: ", cuda_unavailable_reason());
  CHECK_INPUT(index < count, "device \"", text, "\": there are ", count, " CUDA devices");
  return Device{DeviceType::cuda, index};
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  int64_t bytes = 0;
  CHECK(!__builtin_mul_overflow(shape.numel(), size_of(dtype), &bytes), "Tensor: ", shape, " is too large");
  return view(std::make_shared<Storage>(static_cast<size_t>(bytes), device), shape, contiguous_strides(shape),
              0, dtype);
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor result = empty(shape, dtype, device);
  result.fill_zero();
  return result;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
  Tensor result = empty(shape, DType::f64);
  std::fill_n(result.host<double>(), result.numel(), value);
  return result.to(dtype);
}

Tensor Tensor::view(std::shared_ptr<Storage> storage, const Shape& shape, const Strides& strides,
                    int64_t offset, DType dtype) {
  Tensor result;
  result.storage_ = std::move(storage);
  result.shape_ = shape;
  result.strides_ = strides;
  result.offset_ = offset;
  result.dtype_ = dtype;
  return result;
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[static_cast<size_t>(i)] != step) return numel() == 0;
    step *= shape_[i];
  }
  return true;
}

Tensor Tensor::transpose(int i, int j) const {
  const int a = shape_.index(i);
  const int b = shape_.index(j);
  Tensor result = *this;
  result.shape_.set(a, shape_[b]);
  result.shape_.set(b, shape_[a]);
  std::swap(result.strides_[static_cast<size_t>(a)], result.strides_[static_cast<size_t>(b)]);
  return result;
}

Tensor Tensor::permute(std::initializer_list<int> order) const {
  CHECK(static_cast<int>(order.size()) == rank(), "permute: ", order.size(), " dimensions for shape ",
        shape_);
  Tensor result = *this;
  int position = 0;
  unsigned seen = 0;
  for (const int from : order) {
    const int source = shape_.index(from);
    seen |= 1U << source;
    result.shape_.set(position, shape_[source]);
    result.strides_[static_cast<size_t>(position)] = strides_[static_cast<size_t>(source)];
    ++position;
  }
  CHECK(seen == (1U << rank()) - 1, "permute: every dimension of ", shape_, " must be named once");
  return result;
}

Tensor Tensor::slice(int i, int64_t start, int64_t length) const {
  const int d = shape_.index(i);
  CHECK(start >= 0 && length >= 0 && start <= shape_[d] - length, "slice: [", start, ", ", start + length,
        ") of dimension ", d, " of ", shape_);
  Tensor result = *this;
  result.offset_ += start * strides_[static_cast<size_t>(d)];
  result.shape_.set(d, length);
  return result;
}

Tensor Tensor::expand(const Shape& shape) const {
  CHECK(shape.rank() >= rank(), "expand: ", shape_, " to ", shape);
  Tensor result = *this;
  result.shape_ = shape;
  const int extra = shape.rank() - rank();
  for (int i = 0; i < shape.rank(); ++i) {
    const int own = i - extra;
    if (own < 0) {
      result.strides_[static_cast<size_t>(i)] = 0;
      continue;
    }
    CHECK(shape_[own] == shape[i] || shape_[own] == 1, "expand: ", shape_, " to ", shape);
    result.strides_[static_cast<size_t>(i)] =
        shape_[own] == shape[i] ? strides_[static_cast<size_t>(own)] : 0;
  }
  return result;
}

namespace {

// Strides by which the elements of a tensor of `from` and `strides` read as `to`, in the same order. False when there
// are none. Dimensions that lie in memory like one longer dimension form a block; a size of `to` may split blocks but
// not reach over the end of one.
bool view_strides(const Shape& from, const Strides& strides, const Shape& to, Strides& result) {
  result = {};
  int next = to.rank() - 1;  // of `to`, from the end
  int64_t block = 1;         // elements of the current block
  int64_t block_stride = 0;  // of its last dimension
  bool fresh = true;
  for (int i = from.rank() - 1; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    if (fresh) block_stride = strides[at];
    fresh = false;
    block *= from[i];
    if (i > 0 && (from[i - 1] == 1 || strides[at - 1] == block * block_stride)) continue;
    int64_t used = 1;
    while (next >= 0 && (used < block || to[next] == 1)) {
      result[static_cast<size_t>(next)] = used * block_stride;
      used *= to[next];
      --next;
    }
    if (used != block) return false;
    block = 1;
    fresh = true;
  }
  return next < 0;
}

}  // namespace

Tensor Tensor::reshape(const Shape& shape) const {
  CHECK(shape.numel() == numel(), "reshape: ", shape_, " to ", shape);
  Tensor result = *this;
  if (is_contiguous() || !view_strides(shape_, strides_, shape, result.strides_)) {
    result = contiguous();
    result.strides_ = contiguous_strides(shape);
  }
  result.shape_ = shape;
  return result;
}

Tensor Tensor::reshape(std::initializer_list<int64_t> sizes) const {
  Shape shape;
  int64_t known = 1;
  int unknown = -1;
  for (const int64_t size : sizes) {
    if (size == -1) {
      CHECK(unknown < 0, "reshape: two unknown sizes");
      unknown = shape.rank();
      shape.append(1);
    } else {
      shape.append(size);
      known *= size;
    }
  }
  if (unknown >= 0) {
    CHECK(known > 0 && numel() % known == 0, "reshape: ", shape_, " does not divide into ", shape);
    shape.set(unknown, numel() / known);
  }
  return reshape(shape);
}

Tensor Tensor::contiguous() const {
  CHECK(defined(), "contiguous(): undefined tensor");
  return is_contiguous() ? *this : clone();
}

Tensor Tensor::clone() const {
  CHECK(defined(), "clone(): undefined tensor");
  Tensor result = empty(shape_, dtype_, device());
  result.copy_from(*this);
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  const Tensor source = contiguous();
  Tensor result = empty(shape_, dtype, device());
  convert(device(), Convert{source.raw(), result.raw(), numel(), dtype_, dtype});
  return result;
}

Tensor Tensor::to(Device target) const {
  if (target == device()) return *this;
  const Tensor source = contiguous();
  Tensor result = empty(shape_, dtype_, target);
  if (bytes() > 0) cuda_copy(result.raw(), target, source.raw(), device(), static_cast<size_t>(bytes()));
  return result;
}

void Tensor::check_writable(const char* op) const {
  CHECK(defined() && !storage_->read_only(), op, ": tensor ", shape_,
        " is read-only (borrowed memory, such as a mapped file); clone() it first");
}

void Tensor::copy_from(const Tensor& source) const {
  CHECK(shape_ == source.shape_ && dtype_ == source.dtype_, "copy_from: ", source.dtype_, ' ', source.shape_,
        " into ", dtype_, ' ', shape_);
  CHECK(device() == source.device(), "copy_from: from ", source.device(), " to ", device(), "; use to()");
  if (numel() == 0) return;
  check_writable("copy_from");
  strided_copy(device(), StridedCopy{source.raw(), raw(), shape_, source.strides_, strides_, dtype_});
}

void Tensor::fill_zero() const {
  if (numel() == 0) return;
  check_writable("fill_zero");
  if (!is_contiguous()) return copy_from(zeros({}, dtype_, device()).expand(shape_));
  if (device().is_cpu()) {
    std::memset(raw(), 0, static_cast<size_t>(bytes()));
  } else {
    cuda_fill_zero(raw(), static_cast<size_t>(bytes()), device().index);
  }
}

double Tensor::item() const {
  CHECK(numel() == 1, "item(): tensor is ", shape_);
  return to(kCpu).to(DType::f64).contiguous().host<double>()[0];
}

}  // namespace clipcap
