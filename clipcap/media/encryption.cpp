#include "clipcap/media/encryption.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace clipcap {
namespace {

// MP4: descends through the boxes that lead to the sample descriptions of the tracks, and looks at their
// types (ISO/IEC 14496-12, 8.5.2; 8.12: "encv"). Some writers leave out what FFmpeg knows encryption by.
bool has_protected_entry(std::FILE* file, int64_t begin, int64_t end, int depth) {
  for (int64_t at = begin; at + 8 <= end;) {
    std::array<uint8_t, 16> head{};
    if (fseeko(file, at, SEEK_SET) != 0 || std::fread(head.data(), 1, 8, file) != 8) return false;
    const auto number = [&](size_t from, size_t count) {
      uint64_t value = 0;
      for (size_t i = 0; i < count; ++i) value = value << 8U | head[from + i];
      return value;
    };
    uint64_t size = number(0, 4);
    int64_t inside = at + 8;
    if (size == 1) {
      if (std::fread(head.data() + 8, 1, 8, file) != 8) return false;
      size = number(8, 8);
      inside += 8;
    } else if (size == 0) {
      size = static_cast<uint64_t>(end - at);
    }
    if (size < static_cast<uint64_t>(inside - at) || size > static_cast<uint64_t>(end - at)) return false;
    const std::string_view type(reinterpret_cast<const char*>(head.data()) + 4, 4);
    static constexpr std::string_view kPath[] = {"moov", "trak", "mdia", "minf", "stbl", "stsd"};
    if (depth == 6 && (type == "encv" || type == "drmi")) return true;
    if (depth < 6 && type == kPath[depth] &&
        has_protected_entry(file, depth == 5 ? inside + 8 : inside, at + static_cast<int64_t>(size),
                            depth + 1))
      return true;
    at += static_cast<int64_t>(size);
  }
  return false;
}

// MPEG transport streams: two bits of a packet's header say that its payload is scrambled
// (ISO/IEC 13818-1, 2.4.3.2).
bool is_scrambled(std::FILE* file, int pid) {
  constexpr size_t kPacket = 188;
  constexpr size_t kMost = 20'000;  // about 4 MB of the file
  std::vector<uint8_t> bytes(kPacket * 1024);
  if (fseeko(file, 0, SEEK_SET) != 0) return false;
  int64_t scrambled = 0;
  int64_t clear = 0;
  size_t held = 0;
  for (size_t read = 0; read < kMost * kPacket;) {
    const size_t got = std::fread(bytes.data() + held, 1, bytes.size() - held, file);
    if (got == 0) break;
    read += got;
    held += got;
    size_t at = 0;
    while (at + kPacket <= held) {
      // M2TS has 4 bytes between the packets, DVB's error correction 16.
      const auto follows = [&](size_t gap) {
        return at + kPacket + gap < held && bytes[at + kPacket + gap] == 0x47;
      };
      if (bytes[at] != 0x47 || (at + kPacket + 16 < held && !follows(0) && !follows(4) && !follows(16))) {
        ++at;
        continue;
      }
      if (((bytes[at + 1] & 0x1F) << 8 | bytes[at + 2]) == pid && (bytes[at + 3] & 0x10) != 0)
        ++((bytes[at + 3] & 0xC0) != 0 ? scrambled : clear);
      at += kPacket;
    }
    std::memmove(bytes.data(), bytes.data() + at, held - at);
    held -= at;
  }
  return scrambled > clear;
}

// Matroska: a ContentEncodingType of 1 before the first cluster (RFC 9559, 5.1.4.1.31.4). FFmpeg knows of it
// only where a key is named.
bool has_encrypted_encoding(std::FILE* file) {
  std::string head(1U << 16U, '\0');
  if (fseeko(file, 0, SEEK_SET) != 0) return false;
  head.resize(std::fread(head.data(), 1, head.size(), file));
  const size_t at = head.find("\x50\x33\x81\x01");
  return at != std::string::npos && at < head.find("\x1f\x43\xb6\x75");
}

}  // namespace

const char* encryption_of(const AVFormatContext& input, const AVStream& stream, std::FILE* file) {
  const std::string_view container = input.iformat->name;
  if (container.find("mp4") != std::string_view::npos) {
    if (fseeko(file, 0, SEEK_END) != 0) return nullptr;
    const int64_t size = ftello(file);
    return has_protected_entry(file, 0, size, 0) ? "its sample description is \"encv\"" : nullptr;
  }
  if (container == "mpegts") {
    if (stream.codecpar->codec_tag == 0xDB) return "its stream type is HLS SAMPLE-AES";
    return is_scrambled(file, stream.id) ? "its transport packets are scrambled" : nullptr;
  }
  if (av_dict_get(stream.metadata, "enc_key_id", nullptr, 0) != nullptr) return "its track names a key";
  if (container.find("matroska") != std::string_view::npos && has_encrypted_encoding(file))
    return "its track's content encoding is encryption";
  if (av_dict_get(input.metadata, "ASF_Protection_Type", nullptr, 0) != nullptr)
    return "its header names a licence";
  return nullptr;
}

}  // namespace clipcap
