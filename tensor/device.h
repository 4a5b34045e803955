// Where numbers live: the host ("cpu"), one GPU ("cuda:0"), or the host standing in for a GPU, which runs the CUDA
// kernels themselves ("emulated").
#pragma once

#include <ostream>
#include <string>
#include <string_view>

namespace clipcap {

enum class DeviceType : int { cpu = 0, cuda = 1, emulated = 2 };
inline constexpr int kDeviceTypes = 3;

[[nodiscard]] constexpr std::string_view name_of(DeviceType type) {
  return type == DeviceType::cpu ? "cpu" : type == DeviceType::cuda ? "cuda" : "emulated";
}

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
  [[nodiscard]] bool is_cpu() const { return type == DeviceType::cpu; }
};

inline constexpr Device kCpu{};

[[nodiscard]] inline std::string to_string(Device device) {
  const std::string type(name_of(device.type));
  return device.type == DeviceType::cuda ? type + ":" + std::to_string(device.index) : type;
}
inline std::ostream& operator<<(std::ostream& out, Device device) { return out << to_string(device); }

/// Parses "cpu", "cuda", "cuda:N" or "auto" (the first GPU if there is one). Throws InputError otherwise.
[[nodiscard]] Device parse_device(std::string_view text);

}  // namespace clipcap
