// Runs one kernel test everywhere that a GPU kernel can run: under the emulator in three schedules, and on
// the GPU through the op's slot if there is one.
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "cuda/emulator/emulator.h"
#include "tensor/backend.h"
#include "tensor/op.h"
#include "tests/catch.h"

namespace clipcap::testing {

struct KernelTarget {
  const char* name;
  Device device;  // kCpu: the emulator
  emulator::Schedule schedule;
};

inline std::vector<KernelTarget> kernel_targets() {
  std::vector<KernelTarget> targets{{"emulator, forward", kCpu, emulator::Schedule::forward},
                                    {"emulator, reverse", kCpu, emulator::Schedule::reverse},
                                    {"emulator, random", kCpu, emulator::Schedule::random}};
  if (cuda_device_count() > 0) {
    targets.push_back({"GPU", Device{DeviceType::cuda, 0}, emulator::Schedule::forward});
  }
  return targets;
}

/// Calls the op's kernel on `target`: `emulated` is the launcher name_cuda of namespace cuda_emulated.
template <template <class> class Params, class T>
void run_kernel(const KernelTarget& target, const Op<Params>& op, void (*emulated)(const Params<T>&),
                const Params<T>& p) {
  if (target.device.is_cpu()) {
    emulator::set_schedule(target.schedule, 7);
    emulated(p);
    emulator::set_schedule(emulator::Schedule::forward);
  } else {
    op(target.device, p);
    cuda_synchronize(target.device.index);
  }
}

/// An array where the target's kernels can use it, between two margins that nobody may touch. Outputs begin
/// as NaN, so that what a kernel forgets to write is seen. A default-constructed one is a null pointer.
template <class T>
class KernelArray {
 public:
  KernelArray() = default;
  KernelArray(const KernelTarget& target, const std::vector<T>& values)
      : target_(target), count_(values.size()) {
    std::vector<std::byte> bytes(count_ * sizeof(T) + 2 * kMargin, kPattern);
    if (count_ > 0) std::memcpy(bytes.data() + kMargin, values.data(), count_ * sizeof(T));
    if (target_.device.is_cpu()) {
      host_.resize(bytes.size() / kAlignment + 2);
      base_ = reinterpret_cast<std::byte*>(host_.data());
      std::memcpy(base_, bytes.data(), bytes.size());
    } else {
      base_ = static_cast<std::byte*>(cuda_allocate(bytes.size(), target_.device.index));
      cuda_copy(base_, target_.device, bytes.data(), kCpu, bytes.size());
    }
  }
  /// `count` elements that the kernel has to write.
  static KernelArray output(const KernelTarget& target, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    if (count > 0) std::memset(values.data(), 0xFF, values.size() * sizeof(T));
    return KernelArray(target, values);
  }
  ~KernelArray() {
    if (base_ != nullptr && !target_.device.is_cpu()) cuda_free(base_, bytes(), target_.device.index);
  }
  KernelArray(const KernelArray&) = delete;
  KernelArray& operator=(const KernelArray&) = delete;
  KernelArray(KernelArray&& other) noexcept
      : target_(other.target_),
        count_(other.count_),
        host_(std::move(other.host_)),
        base_(std::exchange(other.base_, nullptr)) {}

  [[nodiscard]] T* data() const { return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + kMargin); }

  /// What the kernel left here; fails the test if it wrote beside it.
  [[nodiscard]] std::vector<T> read() const {
    std::vector<std::byte> copy(bytes());
    if (target_.device.is_cpu()) {
      std::memcpy(copy.data(), base_, copy.size());
    } else {
      cuda_copy(copy.data(), kCpu, base_, target_.device, copy.size());
    }
    bool intact = true;
    for (size_t i = 0; i < kMargin; ++i) {
      intact = intact && copy[i] == kPattern && copy[copy.size() - 1 - i] == kPattern;
    }
    CHECK(intact);
    std::vector<T> values(count_);
    if (count_ > 0) std::memcpy(values.data(), copy.data() + kMargin, count_ * sizeof(T));
    return values;
  }

 private:
  static constexpr size_t kMargin = 256;  // keeps the alignment of the allocator
  static constexpr size_t kAlignment = 64;
  static constexpr std::byte kPattern{0x5A};
  struct alignas(kAlignment) Chunk {
    std::byte bytes[kAlignment];
  };
  [[nodiscard]] size_t bytes() const { return count_ * sizeof(T) + 2 * kMargin; }

  KernelTarget target_{"", kCpu, emulator::Schedule::forward};
  size_t count_ = 0;
  std::vector<Chunk> host_;
  std::byte* base_ = nullptr;
};

/// Bitwise, so that NaN equals itself.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace clipcap::testing
