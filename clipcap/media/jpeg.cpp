#include "clipcap/media/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <memory>
// libjpeg's header wants FILE before it.
#include <jpeglib.h>
// and jerror.h wants jpeglib.h.
#include <jerror.h>

#include "clipcap/media/picture_limits.h"

namespace clipcap {
namespace {

// Each scan of a progressive picture passes over all of it: a small file of many scans would take minutes.
constexpr int kMostScans = 200;

// libjpeg reports errors through a function that must not return: it jumps back into decode(), whose frame
// holds nothing with a destructor.
struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg knows this part
  bool ended = false;   // the file ended without saying so
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

[[noreturn]] void end_too_early(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(manager->message, sizeof manager->message, "the JPEG ends before its last row");
  std::longjmp(manager->jump, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  // Where the file ends, libjpeg puts an end marker. Pixels that it asks for after that are missing; an end
  // where every row is there does no harm. Other complaints leave a usable picture, as in Pillow.
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  if (info->err->msg_code == JWRN_JPEG_EOF) manager->ended = true;
  if (info->err->msg_code == JWRN_HIT_MARKER && manager->ended) end_too_early(info);
}

// Whether the file's end has cut off scans: what is there is then only a coarse picture, or
// one without colours.
bool lacks_scans(j_decompress_ptr decoder) {
  if (decoder->arith_code != 0) return true;  // its decoder does not tell what it made up
  if (decoder->progressive_mode == 0)
    return jpeg_has_multiple_scans(decoder) != 0 && decoder->input_scan_number < decoder->num_components;
  for (int c = 0; c < decoder->num_components; ++c) {
    for (int k = 0; k < DCTSIZE2; ++k) {
      if (decoder->coef_bits[c][k] != 0) return true;
    }
  }
  return false;
}

void on_progress(j_common_ptr info) {
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number <= kMostScans) return;
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  std::snprintf(manager->message, sizeof manager->message, "more than %d scans", kMostScans);
  std::longjmp(manager->jump, 1);
}

// Fills `image`; false with a message in `error` otherwise. `row` is scratch that the caller frees.
bool decode(std::span<const std::byte> bytes, jpeg_decompress_struct& decoder, ErrorManager& error,
            Image& image, std::vector<uint8_t>& row) {
  if (setjmp(error.jump) != 0) return false;
  jpeg_create_decompress(&decoder);  // clears all but err and client_data
  decoder.progress = static_cast<jpeg_progress_mgr*>(decoder.client_data);
  jpeg_mem_src(&decoder, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&decoder, TRUE);
  if (decoder.image_width > kMostPictureSide || decoder.image_height > kMostPictureSide ||
      int64_t{decoder.image_width} * decoder.image_height > kMostPicturePixels) {
    std::snprintf(error.message, sizeof error.message, "%u x %u pixels are too many; at most %d in all",
                  decoder.image_width, decoder.image_height, static_cast<int>(kMostPicturePixels));
    return false;
  }
  // A block of 64 pixels takes a bit at the very least: what claims more pixels is not worth decoding.
  if (int64_t{decoder.image_width} * decoder.image_height >
      512 * static_cast<int64_t>(bytes.size()) + (1 << 20)) {
    std::snprintf(error.message, sizeof error.message, "%u x %u pixels in %zu bytes", decoder.image_width,
                  decoder.image_height, bytes.size());
    return false;
  }
  const bool cmyk = decoder.jpeg_color_space == JCS_CMYK || decoder.jpeg_color_space == JCS_YCCK;
  decoder.out_color_space = cmyk                                        ? JCS_CMYK
                            : decoder.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE
                                                                        : JCS_RGB;
  jpeg_start_decompress(&decoder);  // reads to the end where there are several scans
  if (error.ended && lacks_scans(&decoder)) end_too_early(reinterpret_cast<j_common_ptr>(&decoder));
  image.width = decoder.output_width;
  image.height = decoder.output_height;
  image.rgb.resize(static_cast<size_t>(image.width * image.height * 3));
  row.resize(static_cast<size_t>(decoder.output_width) * static_cast<size_t>(decoder.output_components));
  while (decoder.output_scanline < decoder.output_height) {
    uint8_t* to = image.rgb.data() + static_cast<size_t>(decoder.output_scanline) * decoder.output_width * 3;
    JSAMPROW target = decoder.output_components == 3 ? to : row.data();
    jpeg_read_scanlines(&decoder, &target, 1);
    if (decoder.output_components == 3) continue;
    if (cmyk) {
      // Adobe's programs, and so nearly all, store inverted ink; Pillow undoes it where their marker says so.
      const unsigned flip = decoder.saw_Adobe_marker != 0 ? 255 : 0;
      for (const uint8_t value : row) image.ink.push_back(static_cast<uint8_t>(value ^ flip));
      continue;
    }
    for (size_t x = 0; x < decoder.output_width; ++x) {
      std::fill_n(to + 3 * x, 3, row[x]);
    }
  }
  if (error.ended && decoder.arith_code != 0) end_too_early(reinterpret_cast<j_common_ptr>(&decoder));
  jpeg_finish_decompress(&decoder);
  return true;
}

}  // namespace

Image read_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  Image image;
  std::vector<uint8_t> row;
  jpeg_decompress_struct decoder{};
  jpeg_progress_mgr progress{};
  ErrorManager error{};
  decoder.err = jpeg_std_error(&error.base);
  error.base.error_exit = on_error;
  error.base.emit_message = on_message;
  error.base.output_message = [](j_common_ptr) {};
  progress.progress_monitor = on_progress;
  decoder.client_data = &progress;
  const std::unique_ptr<jpeg_decompress_struct, void (*)(jpeg_decompress_struct*)> owner(
      &decoder, jpeg_destroy_decompress);
  const bool good = decode(bytes, decoder, error, image, row);
  CHECK_INPUT(good, name, ": broken picture (", error.message, ")");
  if (!image.ink.empty()) {
    image.mode = PixelMode::ink;
    image.rgb = rgb_of_ink(image.ink);
  }
  return image;
}

// The sizes and the length of a JPEG picture at the beginning of `bytes`; a length of 0 if it has no end.
namespace {
struct Extent {
  size_t length = 0;
  uint32_t sizes = 0;    // height and width, 16 bits each
  bool several = false;  // says itself that other pictures belong to it (CIPA DC-007)
};

Extent extent_of(std::span<const std::byte> bytes) {
  Extent extent;
  const auto byte = [&](size_t at) { return at < bytes.size() ? std::to_integer<uint32_t>(bytes[at]) : 0U; };
  if (byte(0) != 0xFF || byte(1) != 0xD8) return {};
  size_t at = 2;
  while (at + 4 <= bytes.size()) {
    if (byte(at) != 0xFF) return {};
    const uint32_t marker = byte(at + 1);
    if (marker == 0xFF) {  // padding
      ++at;
      continue;
    }
    if (marker == 0xD9) break;
    const size_t length = byte(at + 2) << 8U | byte(at + 3);
    const bool frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame) extent.sizes = byte(at + 5) << 24U | byte(at + 6) << 16U | byte(at + 7) << 8U | byte(at + 8);
    if (marker == 0xE2 && byte(at + 4) == 'M' && byte(at + 5) == 'P' && byte(at + 6) == 'F')
      extent.several = true;
    at += 2 + length;
    if (marker != 0xDA) continue;
    // Coded data: a marker is what follows FF but 00 (a stuffed byte) and the restarts.
    while (at + 1 < bytes.size() &&
           (byte(at) != 0xFF || byte(at + 1) == 0 || (byte(at + 1) >= 0xD0 && byte(at + 1) <= 0xD7)))
      ++at;
  }
  if (byte(at) == 0xFF && byte(at + 1) == 0xD9) extent.length = at + 2;
  return extent;
}
}  // namespace

bool is_motion_jpeg(std::span<const std::byte> bytes) {
  const Extent first = extent_of(bytes);
  if (first.length == 0 || first.several) return false;
  size_t at = first.length;
  while (at < bytes.size() && at < first.length + 4096 &&
         (bytes[at] == std::byte{0} || bytes[at] == std::byte{0xFF}) &&
         !(at + 1 < bytes.size() && bytes[at] == std::byte{0xFF} && bytes[at + 1] == std::byte{0xD8}))
    ++at;
  const Extent second = extent_of(bytes.subspan(std::min(at, bytes.size())));
  return second.length > 0 && second.sizes == first.sizes;
}

}  // namespace clipcap
