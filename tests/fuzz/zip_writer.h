// A ZIP archive of stored files, as torch.save lays them out (without check sums, which readers here ignore).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace clipcap::fuzz {

inline std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& files) {
  const auto number = [](uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i, value >>= 8U) text += static_cast<char>(value & 255U);
    return text;
  };
  std::string local;
  std::string directory;
  for (const auto& [name, data] : files) {
    // Flags, method, time, date, check sum (10 bytes of zeros), then sizes and the name's length.
    const std::string common = number(0, 12) + number(data.size(), 4) + number(data.size(), 4) +
                               number(name.size(), 2) + number(0, 2);
    directory += "PK\x01\x02" + number(0, 4) + common + number(0, 10) + number(local.size(), 4) + name;
    local += "PK\x03\x04" + number(0, 2) + common + name + data;
  }
  return local + directory + "PK\x05\x06" + number(0, 4) + number(files.size(), 2) + number(files.size(), 2) +
         number(directory.size(), 4) + number(local.size(), 4) + number(0, 2);
}

}  // namespace clipcap::fuzz
