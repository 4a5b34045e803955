// Where numbers live: the host ("cpu") or one GPU ("cuda:0").
#pragma once

#include <ostream>
#include <string>
#include <string_view>

namespace clipcap {

enum class DeviceType : int { cpu = 0, cuda = 1 };
inline constexpr int kDeviceTypes = 2;

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
  [[nodiscard]] bool is_cpu() const { return type == DeviceType::cpu; }
};

inline constexpr Device kCpu{};

[[nodiscard]] inline std::string to_string(Device device) {
  return device.is_cpu() ? "cpu" : "cuda:" + std::to_string(device.index);
}
inline std::ostream& operator<<(std::ostream& out, Device device) { return out << to_string(device); }

/// Parses "cpu", "cuda", "cuda:N" or "auto" (the first GPU if there is one). Throws InputError otherwise.
[[nodiscard]] Device parse_device(std::string_view text);

}  // namespace clipcap
