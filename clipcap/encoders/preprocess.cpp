#include "clipcap/encoders/preprocess.h"

#include "tensor/check.h"

namespace clipcap {

Preprocessing clip_preprocessing(int64_t side) {
  return {side,
          side,
          ResizeFilter::bicubic,
          true,
          {0.48145466F, 0.4578275F, 0.40821073F},
          {0.26862954F, 0.26130258F, 0.27577711F}};
}

Preprocessing imagenet_preprocessing(int64_t side) {
  return {side * 256 / 224,        side, ResizeFilter::bilinear, false, {0.485F, 0.456F, 0.406F},
          {0.229F, 0.224F, 0.225F}};
}

void preprocess(const Image& image, const Preprocessing& p, std::span<float> pixels) {
  const int64_t count = p.crop * p.crop;
  CHECK(static_cast<int64_t>(pixels.size()) == 3 * count, "preprocess: ", pixels.size(), " numbers for side ",
        p.crop);
  Image cropped;
  if (p.own_mode || image.mode == PixelMode::rgb) {
    cropped = resize_and_crop(image, p.resize, p.crop, p.filter);
  } else {
    cropped = resize_and_crop(Image{image.width, image.height, image.rgb}, p.resize, p.crop, p.filter);
  }
  for (int64_t c = 0; c < 3; ++c) {
    const auto channel = static_cast<size_t>(c);
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(cropped.rgb[static_cast<size_t>(3 * i + c)]) / 255.0F;
      pixels[static_cast<size_t>(c * count + i)] = (value - p.mean[channel]) / p.deviation[channel];
    }
  }
}

}  // namespace clipcap
