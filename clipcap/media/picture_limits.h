// How large a picture may be. Private to clipcap/media.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/check.h"

namespace clipcap {

inline constexpr int64_t kMostPictureSide = 65535;
inline constexpr int64_t kMostPicturePixels = int64_t{1} << 27;

inline void check_picture_size(const std::string& name, int64_t width, int64_t height) {
  CHECK_INPUT(width > 0 && height > 0, name, ": broken picture (", width, " x ", height, " pixels)");
  CHECK_INPUT(width <= kMostPictureSide && height <= kMostPictureSide && width * height <= kMostPicturePixels,
              name, ": ", width, " x ", height, " pixels are too many (at most ", kMostPictureSide,
              " a side and ", kMostPicturePixels, " in all)");
}

}  // namespace clipcap
