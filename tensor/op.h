// Dispatch: one typed function-pointer slot per op and device. The CPU slot is mandatory at construction, so
// every op runs without a GPU; cuda/register.cu fills the CUDA slots. A wrong signature is a compile error.
#pragma once

#include <array>
#include <span>

#include "tensor/check.h"
#include "tensor/device.h"

namespace clipcap {

/// What every op can tell without knowing its signature; `all_ops()` lists them.
struct OpInfo {
  const char* name;
  std::array<bool, kDeviceTypes> available{true, false};
};

/// Called around every dispatched op when set (profiling). `begin` is true before, false after the kernel.
using OpHook = void (*)(const char* op, Device device, bool begin);
extern OpHook op_hook;

template <class Signature>
class Op;

/// An op whose kernel takes one params struct (or any fixed list of arguments).
template <class... Args>
class Op<void(Args...)> : public OpInfo {
 public:
  using Kernel = void (*)(Args...);

  constexpr Op(const char* op_name, Kernel cpu_kernel)
      : OpInfo{op_name, {true, false}}, kernels_{cpu_kernel} {}

  /// Fills the slot of one device type. Called once, from that backend's register function.
  void set(DeviceType type, Kernel kernel) {
    kernels_[static_cast<size_t>(type)] = kernel;
    available[static_cast<size_t>(type)] = kernel != nullptr;
  }

  /// Runs the kernel of `device`; there is no silent fallback to another device.
  void operator()(Device device, Args... args) const {
    const Kernel kernel = kernels_[static_cast<size_t>(device.type)];
    CHECK(kernel != nullptr, name, ": no kernel for device ", device, "; available on: cpu");
    if (op_hook != nullptr) [[unlikely]] {
      op_hook(name, device, true);
      kernel(args...);
      op_hook(name, device, false);
      return;
    }
    kernel(args...);
  }

 private:
  std::array<Kernel, kDeviceTypes> kernels_{};
};

/// Every op of the engine (tensor/op.cpp holds the table; a layer test greps that none is missing).
[[nodiscard]] std::span<const OpInfo* const> all_ops();

}  // namespace clipcap
