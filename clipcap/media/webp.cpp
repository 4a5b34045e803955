#include "clipcap/media/webp.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>

#include "clipcap/media/picture_limits.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

const uint8_t* data_of(std::span<const std::byte> bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

const char* reason(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "the WebP ends too early";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "a kind of WebP that libwebp does not read";
    default:
      return "damaged WebP data";
  }
}

struct FreeAnimation {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};
using Animation = std::unique_ptr<WebPAnimDecoder, FreeAnimation>;

WebPBitstreamFeatures features_of(std::span<const std::byte> bytes, const std::string& name) {
  WebPBitstreamFeatures features{};
  const VP8StatusCode status = WebPGetFeatures(data_of(bytes), bytes.size(), &features);
  CHECK_INPUT(status == VP8_STATUS_OK, name, ": broken picture (", reason(status), ")");
  check_picture_size(name, features.width, features.height);
  return features;
}

Animation open_animation(std::span<const std::byte> bytes, const std::string& name) {
  static_cast<void>(features_of(bytes, name));
  WebPAnimDecoderOptions options;
  CHECK(WebPAnimDecoderOptionsInit(&options) != 0, "libwebp is of another version than its headers");
  options.color_mode = MODE_RGBA;
  options.use_threads = 0;
  const WebPData data{data_of(bytes), bytes.size()};
  Animation decoder(WebPAnimDecoderNew(&data, &options));
  CHECK_INPUT(decoder != nullptr, name, ": broken WebP animation");
  return decoder;
}

// Of [H,W,4].
Image split(const uint8_t* rgba, int64_t width, int64_t height, bool alpha) {
  Image image{width, height, {}, alpha ? PixelMode::alpha : PixelMode::rgb};
  const auto count = static_cast<size_t>(width * height);
  image.rgb.resize(3 * count);
  if (alpha) image.alpha.resize(count);
  for (size_t i = 0; i < count; ++i) {
    std::copy_n(rgba + 4 * i, 3, image.rgb.data() + 3 * i);
    if (alpha) image.alpha[i] = rgba[4 * i + 3];
  }
  return image;
}

class WebpAnimation : public FrameSource {
 public:
  explicit WebpAnimation(const std::filesystem::path& path)
      : name_(path.string()), file_(MappedFile::open(path)), decoder_(open_animation(file_->bytes(), name_)) {
    WebPAnimInfo info{};
    CHECK_INPUT(WebPAnimDecoderGetInfo(decoder_.get(), &info) != 0, name_, ": broken WebP animation");
    width_ = info.canvas_width;
    height_ = info.canvas_height;
    WebPIterator frame{};
    for (int i = 1; WebPDemuxGetFrame(WebPAnimDecoderGetDemuxer(decoder_.get()), i, &frame) != 0; ++i) {
      durations_.push_back(std::max(0, frame.duration));
      WebPDemuxReleaseIterator(&frame);
      if (durations_.size() == info.frame_count) break;
    }
    CHECK_INPUT(!durations_.empty(), name_, ": broken WebP animation (no frames)");
  }

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::vector<VideoPacket> take_packets() override {
    std::vector<VideoPacket> packets;
    int64_t time = 0;
    for (const int64_t duration : durations_) {
      packets.push_back({time, time, -1, duration, packets.empty(), true});
      time += duration;
    }
    return packets;
  }
  [[nodiscard]] double time_unit() const override { return 0.001; }
  [[nodiscard]] double frame_rate() const override { return 10; }  // as browsers show frames of no duration
  [[nodiscard]] bool has_times() const override { return true; }
  [[nodiscard]] bool may_be_joined() const override { return false; }
  [[nodiscard]] bool can_seek() const override { return false; }
  [[nodiscard]] int64_t picture_bytes() const override { return 3 * width_ * height_; }

  void restart(bool /*at_key*/) override {
    WebPAnimDecoderReset(decoder_.get());
    next_ = 0;
    time_ = 0;
  }
  bool seek(const VideoPacket& /*key*/) override { return false; }
  bool next_frame() override {
    int end = 0;
    if (next_ >= durations_.size() || WebPAnimDecoderGetNext(decoder_.get(), &canvas_, &end) == 0)
      return false;
    if (next_ > 0) time_ += durations_[next_ - 1];
    ++next_;
    return true;
  }
  [[nodiscard]] int64_t frame_time() const override { return time_; }
  [[nodiscard]] bool frame_is_shown() const override { return true; }
  [[nodiscard]] bool frame_is_key() const override { return next_ == 1; }
  [[nodiscard]] int64_t key_time() const override { return kNoTime; }
  [[nodiscard]] Image picture() override { return split(canvas_, width_, height_, false); }

 private:
  std::string name_;
  std::shared_ptr<const MappedFile> file_;  // outlives the decoder
  Animation decoder_;
  int64_t width_ = 0;
  int64_t height_ = 0;
  std::vector<int64_t> durations_;  // milliseconds
  size_t next_ = 0;
  int64_t time_ = 0;
  uint8_t* canvas_ = nullptr;  // the decoder's, [H,W,4]
};

}  // namespace

Image read_webp(std::span<const std::byte> bytes, const std::string& name) {
  const WebPBitstreamFeatures features = features_of(bytes, name);
  const bool alpha = features.has_alpha != 0;
  if (features.has_animation != 0) {
    const Animation decoder = open_animation(bytes, name);
    uint8_t* canvas = nullptr;
    int end = 0;
    CHECK_INPUT(WebPAnimDecoderGetNext(decoder.get(), &canvas, &end) != 0, name,
                ": broken picture (the first frame of the WebP animation does not decode)");
    return split(canvas, features.width, features.height, alpha);
  }
  std::vector<uint8_t> rgba(size_t{4} * static_cast<size_t>(features.width) *
                            static_cast<size_t>(features.height));
  WebPDecoderConfig config;
  CHECK(WebPInitDecoderConfig(&config) != 0, "libwebp is of another version than its headers");
  config.output.colorspace = MODE_RGBA;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {rgba.data(), 4 * features.width, rgba.size()};
  const VP8StatusCode status = WebPDecode(data_of(bytes), bytes.size(), &config);
  CHECK_INPUT(status == VP8_STATUS_OK, name, ": broken picture (", reason(status), ")");
  return split(rgba.data(), features.width, features.height, alpha);
}

bool is_animated_webp(std::span<const std::byte> bytes) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(data_of(bytes), bytes.size(), &features) != VP8_STATUS_OK ||
      features.has_animation == 0)
    return false;
  const WebPData data{data_of(bytes), bytes.size()};
  WebPDemuxState state{};
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemuxPartial(&data, &state),
                                                                     WebPDemuxDelete);
  return demuxer != nullptr && WebPDemuxGetI(demuxer.get(), WEBP_FF_FRAME_COUNT) > 1;
}

std::unique_ptr<FrameSource> open_webp_animation(const std::filesystem::path& path) {
  return std::make_unique<WebpAnimation>(path);
}

}  // namespace clipcap
