// SHA-256 (FIPS 180-4), to tell files apart by content.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace clipcap {

class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(const std::string& text) { update(std::as_bytes(std::span(text))); }
  /// 64 lower-case hexadecimal digits; the object is spent afterwards.
  [[nodiscard]] std::string hex();

 private:
  void block(const std::byte* bytes);
  std::array<uint32_t, 8> state_{0x6a09e667U, 0xbb67ae85U, 0x3c6ef372U, 0xa54ff53aU,
                                 0x510e527fU, 0x9b05688cU, 0x1f83d9abU, 0x5be0cd19U};
  std::array<std::byte, 64> pending_{};
  uint64_t length_ = 0;
};

[[nodiscard]] std::string sha256_of_file(const std::filesystem::path& path);

}  // namespace clipcap
