// A decoded frame as a picture: upright, square pixels, RGB. Private to clipcap/media.
#pragma once

#include <array>
#include <string>

#include "clipcap/media/ffmpeg.h"
#include "clipcap/media/image.h"

namespace clipcap {

inline constexpr int kMostFrameSide = 16384;                   // pixels
inline constexpr int64_t kMostFramePixels = int64_t{1} << 26;  // twice an 8K picture

/// The eight orientations of a rectangle: the picture is exchanged over its main diagonal first
/// (`transposed`), then mirrored left to right and top to bottom.
struct Orientation {
  bool transposed = false;
  bool mirrored_x = false;
  bool mirrored_y = false;
};

/// The nearest of the eight to a display matrix (ISO/IEC 14496-12, 6.2.2: nine 16.16 numbers by rows), which
/// takes the stored pixel (p, q) to (a p + c q + x, b p + d q + y). Upright where the matrix says nothing.
[[nodiscard]] Orientation orientation_of(const int32_t* matrix);

class FrameConverter {
 public:
  /// Errors begin with `name`, the file's.
  explicit FrameConverter(std::string name) : name_(std::move(name)) {}
  /// `aspect` is the width of a pixel to its height, 0/1 where it is not known. Pixels that are not square
  /// are widened, never narrowed below what is there. YCbCr becomes RGB by the frame's own matrix and range,
  /// as ffmpeg does it.
  [[nodiscard]] Image convert(const AVFrame& frame, AVRational aspect, const Orientation& orientation);

 private:
  std::string name_;
  ffmpeg::Owner<SwsContext> scaler_;
  std::array<int, 7> shape_{};
  std::vector<uint8_t> padded_;
};

}  // namespace clipcap
