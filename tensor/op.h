// Dispatch: one typed function-pointer slot for each op, device type and element type. An op is named by the
// params template of its family (tensor/kernels/*.h): Op<LayerNormFwd> layer_norm_fwd; and calling it,
// layer_norm_fwd(device, LayerNormFwd<float>{...}), picks the slot from the element type and the device.
//
//               f32                      f64 (the oracle)      bf16
//   cpu         fast kernel              plain reference       plain reference
//   cuda        cuda/register.cu         -                     cuda/register.cu
//   emulated    the same kernels on the host
//
// The CPU's slots are mandatory at construction, so every op runs without a GPU; a wrong signature is a compile
// error; an empty slot throws and says what there is. Nothing falls back to another device silently.
#pragma once

#include <array>
#include <span>
#include <string>

#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/dtype.h"

namespace clipcap {

/// What one call of an op costs at least: floating-point operations, and bytes that have to cross the memory bus
/// once. cost(params) stands beside every params struct in tensor/kernels/*.h.
struct Cost {
  double flops = 0;
  double bytes_read = 0;
  double bytes_written = 0;
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes_read += other.bytes_read;
    bytes_written += other.bytes_written;
    return *this;
  }
};

/// The element types that ops compute in; other dtypes only appear in files and as indices.
inline constexpr std::array<DType, 3> kComputeDTypes{DType::f32, DType::f64, DType::bf16};

/// Position in kComputeDTypes.
template <class T>
[[nodiscard]] constexpr size_t compute_slot() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, bfloat16>);
  return std::is_same_v<T, float> ? 0 : std::is_same_v<T, double> ? 1 : 2;
}

/// What every op can tell without knowing its signature; all_ops() lists them.
struct OpInfo {
  const char* name;
  /// available[device type][position in kComputeDTypes]; an op on raw bytes (a copy) has all or none.
  std::array<std::array<bool, kComputeDTypes.size()>, kDeviceTypes> available{};

  [[nodiscard]] bool has(DeviceType device, DType dtype) const;
  /// "cpu f32, cpu f64, cuda f32": for messages.
  [[nodiscard]] std::string slots() const;
};

/// One call of an op, as the hook sees it.
struct OpCall {
  const char* op;
  Device device;
  DType dtype;
  Cost cost;
};

/// Called around every op when set (profiling): `begin` is true before the kernel and false after it, also when
/// the kernel throws. Set it while no op runs.
using OpHook = void (*)(const OpCall& call, bool begin);
extern OpHook op_hook;

/// The time in which an op runs. Constructed with the call's description, which is only worked out (by `describe`)
/// when a hook is set.
class OpScope {
 public:
  template <class Describe>
  explicit OpScope(Describe&& describe) : hook_(op_hook) {
    if (hook_ == nullptr) [[likely]]
      return;
    call_ = describe();
    hook_(call_, true);
  }
  ~OpScope() {
    if (hook_ != nullptr) [[unlikely]]
      hook_(call_, false);
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  OpHook hook_;
  OpCall call_{};
};

/// Makes `device` (index included) the calling thread's current one for as long as it lives, so that a kernel runs
/// where its tensors are and not where the last allocation was. Nothing to do for the CPU.
class DeviceScope {
 public:
  explicit DeviceScope(Device device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = -1;  // index of the device that was current; -1: not changed
};

[[noreturn]] void fail_missing_slot(const OpInfo& op, Device device, DType dtype);

/// An op whose kernels take one params struct, templated on the element type.
template <template <class> class Params>
class Op : public OpInfo {
 public:
  template <class T>
  using Kernel = void (*)(const Params<T>&);

  /// `cpu`: the fast kernel. The others are instances of the plain reference; it is the oracle, and what the CPU
  /// runs for f64 and bf16. The references of an op for inference only may leave bf16 out.
  constexpr Op(const char* op_name, Kernel<float> cpu, Kernel<float> reference_f32,
               Kernel<double> reference_f64, Kernel<bfloat16> reference_bf16)
      : OpInfo{op_name, {}}, references_{reference_f32, reference_f64, reference_bf16} {
    set<float>(DeviceType::cpu, cpu);
    set<double>(DeviceType::cpu, reference_f64);
    set<bfloat16>(DeviceType::cpu, reference_bf16);
  }

  /// Fills a slot. Called once for each, from that backend's register function.
  template <class T>
  constexpr void set(DeviceType type, Kernel<T> kernel) {
    kernels_[static_cast<size_t>(type)].template of<T>() = kernel;
    available[static_cast<size_t>(type)][compute_slot<T>()] = kernel != nullptr;
  }

  /// Runs the kernel of `device` and T. A braced list of params means floats.
  void operator()(Device device, const Params<float>& params) const { run(device, params); }
  template <class T>
  void operator()(Device device, const Params<T>& params) const {
    run(device, params);
  }

  /// The plain reference on the host: what every kernel is judged by.
  template <class T>
  void reference(const Params<T>& params) const {
    const Kernel<T> kernel = references_.template of<T>();
    CHECK(kernel != nullptr, name, ": no reference for ", dtype_of<T>);
    kernel(params);
  }

 private:
  template <class T>
  void run(Device device, const Params<T>& params) const {
    const Kernel<T> kernel = kernels_[static_cast<size_t>(device.type)].template of<T>();
    if (kernel == nullptr) [[unlikely]]
      fail_missing_slot(*this, device, dtype_of<T>);
    const DeviceScope here(device);
    const OpScope scope([&] { return OpCall{name, device, dtype_of<T>, cost(params)}; });
    kernel(params);
  }

  struct Slots {
    Kernel<float> f32 = nullptr;
    Kernel<double> f64 = nullptr;
    Kernel<bfloat16> bf16 = nullptr;
    template <class T>
    [[nodiscard]] constexpr Kernel<T>& of() {
      if constexpr (std::is_same_v<T, float>) return f32;
      if constexpr (std::is_same_v<T, double>) return f64;
      if constexpr (std::is_same_v<T, bfloat16>) return bf16;
    }
    template <class T>
    [[nodiscard]] constexpr Kernel<T> of() const {
      return const_cast<Slots*>(this)->of<T>();
    }
  };
  std::array<Slots, kDeviceTypes> kernels_{};
  Slots references_;
};

/// An op on raw bytes of any dtype: its params struct is no template and has a member `dtype()`.
template <class Params>
class UntypedOp : public OpInfo {
 public:
  using Kernel = void (*)(const Params&);

  constexpr UntypedOp(const char* op_name, Kernel cpu) : OpInfo{op_name, {}} { set(DeviceType::cpu, cpu); }

  constexpr void set(DeviceType type, Kernel kernel) {
    kernels_[static_cast<size_t>(type)] = kernel;
    for (bool& slot : available[static_cast<size_t>(type)]) slot = kernel != nullptr;
  }

  void operator()(Device device, const Params& params) const {
    const Kernel kernel = kernels_[static_cast<size_t>(device.type)];
    if (kernel == nullptr) [[unlikely]]
      fail_missing_slot(*this, device, params.dtype());
    const DeviceScope here(device);
    const OpScope scope([&] { return OpCall{name, device, params.dtype(), cost(params)}; });
    kernel(params);
  }

 private:
  std::array<Kernel, kDeviceTypes> kernels_{};
};

/// Every op of the engine (tensor/op.cpp holds the table; a layer test greps that none is missing).
[[nodiscard]] std::span<const OpInfo* const> all_ops();

}  // namespace clipcap
