#include "clipcap/media/jpeg.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <memory>
// libjpeg's header wants FILE before it.
#include <jpeglib.h>
// and jerror.h wants jpeglib.h.
#include <jerror.h>

#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr JDIMENSION kMostSide = 16384;
constexpr int64_t kMostPixels = int64_t{1} << 27;
// Each scan of a progressive picture passes over all of it: a small file of many scans would take minutes.
constexpr int kMostScans = 200;

// libjpeg reports errors through a function that must not return: it jumps back into decode(), whose frame
// holds nothing with a destructor.
struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg knows this part
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

void on_message(j_common_ptr info, int level) {
  // A file that ends too early is a broken one; other complaints leave a usable picture, as in Pillow.
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
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
  if (decoder.image_width > kMostSide || decoder.image_height > kMostSide ||
      int64_t{decoder.image_width} * decoder.image_height > kMostPixels) {
    std::snprintf(error.message, sizeof error.message, "%u x %u pixels are too many", decoder.image_width,
                  decoder.image_height);
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
  jpeg_start_decompress(&decoder);
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

}  // namespace clipcap
