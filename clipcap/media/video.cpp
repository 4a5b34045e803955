#include "clipcap/media/video.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "clipcap/media/ffmpeg.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr int64_t kMostPackets = 5'000'000;             // about 46 hours of film
constexpr int kMostPixels = 16384;                      // a side
constexpr int64_t kMostPixelsInAll = int64_t{1} << 26;  // twice an 8K picture
constexpr size_t kMostCounted = 20'000;  // frames of a stream without times that are decoded one by one
constexpr int kBufferBytes = 1 << 16;

std::string error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
struct FreeIo {
  void operator()(AVIOContext* io) const {
    av_freep(&io->buffer);
    avio_context_free(&io);
  }
};
struct CloseInput {
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
};

int read_bytes(void* opaque, uint8_t* buffer, int size) {
  const size_t got = std::fread(buffer, 1, static_cast<size_t>(size), static_cast<std::FILE*>(opaque));
  return got > 0 ? static_cast<int>(got) : AVERROR_EOF;
}

int64_t seek_bytes(void* opaque, int64_t offset, int whence) {
  auto* file = static_cast<std::FILE*>(opaque);
  if (whence == AVSEEK_SIZE) {
    const off_t here = ftello(file);
    if (here < 0 || fseeko(file, 0, SEEK_END) != 0) return -1;
    const off_t size = ftello(file);
    return fseeko(file, here, SEEK_SET) == 0 ? size : -1;
  }
  return fseeko(file, offset, whence & ~AVSEEK_FORCE) == 0 ? ftello(file) : -1;
}

// One video packet of the file, in presentation order once sorted.
struct PacketTime {
  int64_t time;
  int64_t duration;
  bool key;
};

class VideoReader {
 public:
  explicit VideoReader(const std::filesystem::path& path)
      : name_(path.string()), frame_(av_frame_alloc()), packet_(av_packet_alloc()) {
    av_log_set_level(AV_LOG_QUIET);
    std::error_code error;
    CHECK_INPUT(std::filesystem::exists(path, error), name_, ": no such file");
    CHECK_INPUT(std::filesystem::is_regular_file(path, error), name_, ": not a regular file");
    CHECK_INPUT(std::filesystem::file_size(path, error) > 0, name_, ": the file is empty");
    open();
  }

  // All frames, or those of one span after another.
  void index() {
    packets_ = index_packets();
    rewind();
    position_ = packets_.front().time;
  }

  // Packets that follow each other, shown until `end`.
  struct Stretch {
    std::span<const PacketTime> packets;
    int64_t end;
  };
  [[nodiscard]] Stretch whole() const { return {packets_, packets_.back().time + last_duration(packets_)}; }
  // Those that begin in [start, end), seconds since the first; or the one that is shown at `start`.
  [[nodiscard]] Stretch between(double start, double end) const {
    const auto at = [&](double seconds) {
      const double ticks = std::clamp(seconds / seconds_per_tick(), 0.0, 0x1p60);
      return first_time_ + static_cast<int64_t>(std::ceil(ticks - 1e-6));
    };
    const auto by_time = [](const PacketTime& packet, int64_t time) { return packet.time < time; };
    auto first = std::lower_bound(packets_.begin(), packets_.end(), at(start), by_time);
    auto last = std::lower_bound(first, packets_.end(), at(end), by_time);
    if (first == last && first != packets_.begin()) last = first--;
    return {{first, last}, std::min(at(end), whole().end)};
  }

  [[nodiscard]] double duration() const {
    return static_cast<double>(whole().end - first_time_) * seconds_per_tick();
  }

  // The sampled frames of a stretch; stretches come in ascending order. Nothing that begins after it stands in.
  int64_t read(const Stretch& stretch, const FrameSampling& sampling, const FrameSink& sink) {
    const std::vector<int64_t> wanted = wanted_times(stretch, sampling);
    // A short clip gives each frame once, even where a packet shows none (VP8's hidden reference frames).
    const bool each_once = static_cast<int64_t>(stretch.packets.size()) <= sampling.frames;
    const bool to_the_end = stretch.end >= whole().end;
    int64_t given = 0;
    size_t next = 0;
    int64_t sought = 0;  // the key frame whose first frame is still to come
    int retries = 0;     // seeks left for the case that one leads too far
    while (next < wanted.size()) {
      // The frame decoded last may be this stretch's first.
      const bool held = holding_ && last_time_ >= wanted[next];
      if (!held) {
        const int64_t key = key_before(packets_, wanted[next]);
        if (key > position_ && seekable_) {
          seek(key);
          sought = key;
          retries = 2;
        }
        holding_ = decode_frame();
        const int64_t time = holding_ ? frame_time() : 0;
        if (retries > 0 && (!holding_ || time > wanted[next]) && sought > first_time_ && seekable_) {
          // Some containers seek by decoding time, some have a key frame that does not decode: start
          // one group earlier.
          sought = key_before(packets_, sought - 1);
          seek(sought);
          position_ = std::max(position_, key);
          --retries;
          continue;
        }
        if (!holding_) break;
        retries = 0;
        position_ = std::max({position_, time, key});
        if (time < wanted[next]) continue;
      }
      // Where the wanted frame itself did not decode, the first one after it stands in.
      if (last_time_ >= stretch.end && !to_the_end) break;
      Image image = convert();
      size_t uses = 0;
      while (next < wanted.size() && wanted[next] <= last_time_) ++next, ++uses;
      if (each_once) uses = 1;
      for (; uses > 1; --uses) sink(given++, Image(image));
      sink(given++, std::move(image));
    }
    return given;
  }

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  void open() {
    codec_.reset();
    input_.reset();
    io_.reset();
    file_.reset(std::fopen(name_.c_str(), "rb"));
    CHECK_INPUT(file_ != nullptr, name_, ": ", std::strerror(errno));
    // FFmpeg reads through this file only: a playlist inside it cannot make it open other files or addresses.
    auto* buffer = static_cast<uint8_t*>(av_malloc(kBufferBytes));
    CHECK(buffer != nullptr, name_, ": out of memory");
    io_.reset(avio_alloc_context(buffer, kBufferBytes, 0, file_.get(), read_bytes, nullptr, seek_bytes));
    if (io_ == nullptr) av_free(buffer);
    AVFormatContext* context = avformat_alloc_context();
    CHECK(io_ != nullptr && context != nullptr, name_, ": out of memory");
    context->pb = io_.get();
    AVDictionary* options = nullptr;
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    int code = avformat_open_input(&context, name_.c_str(), nullptr, &options);
    av_dict_free(&options);
    CHECK_INPUT(code == 0 || !begins_like_mp4(), name_,
                ": truncated or damaged MP4 (its index, the moov atom, cannot be read)");
    CHECK_INPUT(code == 0, name_, ": not a readable video (", error_text(code), ")");
    input_.reset(context);
    code = avformat_find_stream_info(context, nullptr);
    CHECK_INPUT(code >= 0, name_, ": not a readable video (", error_text(code), ")");
    const AVCodec* decoder = nullptr;
    const int found =
        av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, const_cast_decoder(&decoder), 0);
    CHECK_INPUT(found != AVERROR_STREAM_NOT_FOUND, name_, ": no video stream in this file");
    CHECK_INPUT(found >= 0 && decoder != nullptr, name_, ": no decoder for its video codec");
    stream_ = context->streams[found];
    // A text file has no pictures, but FFmpeg draws one of it.
    CHECK_INPUT(decoder->id != AV_CODEC_ID_ANSI && decoder->id != AV_CODEC_ID_XBIN &&
                    decoder->id != AV_CODEC_ID_BINTEXT && decoder->id != AV_CODEC_ID_IDF,
                name_, ": not a video (text)");
    CHECK_INPUT((stream_->disposition & AV_DISPOSITION_ATTACHED_PIC) == 0, name_,
                ": no video stream in this file (cover picture only)");
    codec_.reset(avcodec_alloc_context3(decoder));
    CHECK(codec_ != nullptr && avcodec_parameters_to_context(codec_.get(), stream_->codecpar) >= 0, name_,
          ": out of memory");
    CHECK_INPUT(codec_->width <= kMostPixels && codec_->height <= kMostPixels, name_, ": ", codec_->width,
                " x ", codec_->height, " pixels are too many");
    untimed_ = untimed_ || (input_->iformat->flags & AVFMT_NOTIMESTAMPS) != 0;
    codec_->thread_count = 2;
    codec_->max_pixels = kMostPixelsInAll;
    codec_->pkt_timebase = stream_->time_base;
    code = avcodec_open2(codec_.get(), decoder, nullptr);
    CHECK_INPUT(code == 0, name_, ": cannot decode its video (", error_text(code), ")");
    draining_ = false;
  }

  [[nodiscard]] bool begins_like_mp4() {
    char head[8] = {};
    std::rewind(file_.get());
    return std::fread(head, 1, sizeof head, file_.get()) == sizeof head &&
           std::memcmp(head + 4, "ftyp", 4) == 0;
  }

  // The decoder argument lost its const-ness difference between FFmpeg 4 and 5.
#if LIBAVFORMAT_VERSION_MAJOR < 59
  static AVCodec** const_cast_decoder(const AVCodec** decoder) { return const_cast<AVCodec**>(decoder); }
#else
  static const AVCodec** const_cast_decoder(const AVCodec** decoder) { return decoder; }
#endif

  // Reads through the file without decoding: times, durations and key frames of all video packets.
  std::vector<PacketTime> index_packets() {
    std::vector<PacketTime> packets;
    int64_t last = 0;
    size_t timeless = 0;
    while (av_read_frame(input_.get(), packet_.get()) >= 0) {
      if (packet_->stream_index == stream_->index && packet_->size > 0) {
        if (packet_->pts == AV_NOPTS_VALUE) ++timeless;
        int64_t time = packet_->pts != AV_NOPTS_VALUE ? packet_->pts : packet_->dts;
        if (time == AV_NOPTS_VALUE) time = packets.empty() ? 0 : last + 1;
        time = std::clamp<int64_t>(time, -(int64_t{1} << 50), int64_t{1} << 50);
        const int64_t duration = std::clamp<int64_t>(packet_->duration, 0, int64_t{1} << 40);
        const bool discard = (packet_->flags & AV_PKT_FLAG_DISCARD) != 0;
        if (!discard) packets.push_back({time, duration, (packet_->flags & AV_PKT_FLAG_KEY) != 0});
        last = time;
      }
      av_packet_unref(packet_.get());
      if (static_cast<int64_t>(packets.size()) >= kMostPackets) break;
    }
    CHECK_INPUT(!packets.empty(), name_, ": the video stream holds no frames");
    // Without presentation times (AVI and MPEG-PS with B-frames, elementary streams) only counting gives the
    // right frame. That takes decoding everything, so in long films decoding times stand in, which are a
    // frame off at most.
    untimed_ = untimed_ || (timeless > packets.size() / 20 && packets.size() <= kMostCounted);
    if (untimed_) {
      for (size_t i = 0; i < packets.size(); ++i) packets[i] = {static_cast<int64_t>(i), 1, i == 0};
    }
    std::stable_sort(packets.begin(), packets.end(),
                     [](const PacketTime& a, const PacketTime& b) { return a.time < b.time; });
    first_time_ = packets.front().time;
    return packets;
  }

  // Times to show, ascending, each the time of a packet.
  static std::vector<int64_t> wanted_times(const Stretch& stretch, const FrameSampling& sampling) {
    const std::span<const PacketTime> packets = stretch.packets;
    const auto count = static_cast<int64_t>(packets.size());
    std::vector<int64_t> wanted;
    if (count <= sampling.frames || sampling.rule == FrameSampling::Rule::linspace) {
      for (const int64_t i : sample_indices(count, sampling))
        wanted.push_back(packets[static_cast<size_t>(i)].time);
      return wanted;
    }
    const int64_t begin = packets.front().time;
    const double span = static_cast<double>(stretch.end - begin);
    for (int64_t i = 0; i < sampling.frames; ++i) {
      const double middle = (static_cast<double>(i) + 0.5) * span / static_cast<double>(sampling.frames);
      wanted.push_back(shown_at(packets, begin + static_cast<int64_t>(middle)));
    }
    return wanted;
  }

  // Of the last frame, which a container may leave out: as long as the others.
  static int64_t last_duration(std::span<const PacketTime> packets) {
    const PacketTime& last = packets.back();
    if (last.duration > 0) return last.duration;
    const auto gaps = static_cast<int64_t>(packets.size()) - 1;
    return gaps > 0 ? std::max<int64_t>(1, (last.time - packets.front().time) / gaps) : 1;
  }

  [[nodiscard]] double seconds_per_tick() const {
    if (!untimed_) return av_q2d(stream_->time_base);
    const AVRational rate = av_guess_frame_rate(input_.get(), stream_, nullptr);
    return rate.num > 0 && rate.den > 0 ? 1 / av_q2d(rate) : 0.04;
  }

  static int64_t shown_at(std::span<const PacketTime> packets, int64_t time) {
    const auto after = std::upper_bound(packets.begin(), packets.end(), time,
                                        [](int64_t t, const PacketTime& packet) { return t < packet.time; });
    return after == packets.begin() ? packets.front().time : std::prev(after)->time;
  }

  static int64_t key_before(std::span<const PacketTime> packets, int64_t time) {
    auto at = std::upper_bound(packets.begin(), packets.end(), time,
                               [](int64_t t, const PacketTime& packet) { return t < packet.time; });
    while (at != packets.begin()) {
      --at;
      if (at->key) return at->time;
    }
    return packets.front().time;
  }

  void rewind() {
    const int64_t start =
        std::min<int64_t>(0, stream_->start_time == AV_NOPTS_VALUE ? 0 : stream_->start_time);
    seekable_ = !untimed_ && av_seek_frame(input_.get(), stream_->index, start, AVSEEK_FLAG_BACKWARD) >= 0;
    if (seekable_) {
      avcodec_flush_buffers(codec_.get());
      draining_ = false;
    } else {
      open();  // formats without seeking are read from their start again
    }
    last_time_ = first_time_ - 1;
    holding_ = false;
  }

  void seek(int64_t time) {
    if (av_seek_frame(input_.get(), stream_->index, time, AVSEEK_FLAG_BACKWARD) < 0) {
      seekable_ = false;  // decode on from here instead
      return;
    }
    avcodec_flush_buffers(codec_.get());
    draining_ = false;
    last_time_ = time - 1;
    holding_ = false;
  }

  // The next decodable frame into frame_; false at the end. Packets that do not decode are skipped.
  bool decode_frame() {
    for (;;) {
      const int received = avcodec_receive_frame(codec_.get(), frame_.get());
      if (received == 0) {
        if ((frame_->flags & AV_FRAME_FLAG_DISCARD) != 0) continue;
        return true;
      }
      if (received == AVERROR_EOF || draining_) return false;
      for (;;) {
        const int code = av_read_frame(input_.get(), packet_.get());
        if (code < 0) {
          avcodec_send_packet(codec_.get(), nullptr);
          draining_ = true;
          break;
        }
        const bool ours = packet_->stream_index == stream_->index;
        if (ours) avcodec_send_packet(codec_.get(), packet_.get());
        av_packet_unref(packet_.get());
        if (ours) break;
      }
    }
  }

  [[nodiscard]] int64_t frame_time() {
    int64_t time = frame_->best_effort_timestamp;
    if (time == AV_NOPTS_VALUE || untimed_) time = last_time_ + 1;
    last_time_ = time;
    return time;
  }

  [[nodiscard]] double rotation() const {
    const uint8_t* matrix = nullptr;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 30, 100)  // FFmpeg 6.1
    const AVPacketSideData* data = av_packet_side_data_get(
        stream_->codecpar->coded_side_data, stream_->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    if (data != nullptr && data->size >= 36) matrix = data->data;
#elif LIBAVFORMAT_VERSION_MAJOR >= 59
    size_t size = 0;
    matrix = av_stream_get_side_data(stream_, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (size < 36) matrix = nullptr;
#else
    int size = 0;
    matrix = av_stream_get_side_data(stream_, AV_PKT_DATA_DISPLAYMATRIX, &size);
    if (size < 36) matrix = nullptr;
#endif
    if (matrix == nullptr) return 0;
    const double degrees = av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix));
    return std::isfinite(degrees) ? degrees : 0;
  }

  Image convert() {
    const int width = frame_->width;
    const int height = frame_->height;
    CHECK_INPUT(width > 0 && height > 0 && width <= kMostPixels && height <= kMostPixels &&
                    int64_t{width} * height <= kMostPixelsInAll,
                name_, ": a frame of ", width, " x ", height, " pixels");
    // Pixels that are not square are widened, never narrowed below what is there.
    const AVRational aspect = av_guess_sample_aspect_ratio(input_.get(), stream_, frame_.get());
    int wide = width;
    int high = height;
    if (aspect.num > 0 && aspect.den > 0 && aspect.num != aspect.den) {
      const double ratio = std::clamp(av_q2d(aspect), 0.05, 20.0);
      if (ratio > 1) wide = std::min(kMostPixels, static_cast<int>(std::lround(width * ratio)));
      if (ratio < 1) high = std::min(kMostPixels, static_cast<int>(std::lround(height / ratio)));
      if (int64_t{wide} * high > kMostPixelsInAll) wide = width, high = height;
    }
    const auto format = static_cast<AVPixelFormat>(frame_->format);
    if (!scaler_ || shape_ != std::array<int, 5>{width, height, wide, high, frame_->format}) {
      scaler_.reset(sws_getContext(width, height, format, wide, high, AV_PIX_FMT_RGB24,
                                   SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP,
                                   nullptr, nullptr, nullptr));
      CHECK_INPUT(scaler_ != nullptr, name_, ": pixel format ", frame_->format, " cannot be converted");
      const int space = frame_->colorspace == AVCOL_SPC_BT709        ? SWS_CS_ITU709
                        : frame_->colorspace == AVCOL_SPC_BT2020_NCL ? SWS_CS_BT2020
                                                                     : SWS_CS_ITU601;
      const int* coefficients = sws_getCoefficients(space);
      sws_setColorspaceDetails(scaler_.get(), coefficients, frame_->color_range == AVCOL_RANGE_JPEG ? 1 : 0,
                               coefficients, 1, 0, 1 << 16, 1 << 16);
      shape_ = {width, height, wide, high, frame_->format};
    }
    // swscale may write a little past a row: rows are padded here and cut below.
    const int stride = (3 * wide + 63) / 64 * 64;
    padded_.resize(static_cast<size_t>(stride) * static_cast<size_t>(high) + 64);
    uint8_t* planes[4] = {padded_.data(), nullptr, nullptr, nullptr};
    const int strides[4] = {stride, 0, 0, 0};
    sws_scale(scaler_.get(), frame_->data, frame_->linesize, 0, height, planes, strides);
    const int quarter = static_cast<int>(std::lround(-rotation() / 90.0)) & 3;  // clockwise quarter turns
    Image image;
    image.width = quarter % 2 == 0 ? wide : high;
    image.height = quarter % 2 == 0 ? high : wide;
    image.rgb.resize(static_cast<size_t>(wide) * static_cast<size_t>(high) * 3);
    for (int64_t y = 0; y < image.height; ++y) {
      if (quarter == 0) {
        std::memcpy(image.rgb.data() + y * image.width * 3, padded_.data() + y * stride,
                    static_cast<size_t>(wide) * 3);
        continue;
      }
      for (int64_t x = 0; x < image.width; ++x) {
        int64_t from_x = x;
        int64_t from_y = y;
        if (quarter == 1) from_x = y, from_y = high - 1 - x;
        if (quarter == 2) from_x = wide - 1 - x, from_y = high - 1 - y;
        if (quarter == 3) from_x = wide - 1 - y, from_y = x;
        const uint8_t* pixel = padded_.data() + from_y * stride + 3 * from_x;
        uint8_t* to = image.rgb.data() + (y * image.width + x) * 3;
        to[0] = pixel[0];
        to[1] = pixel[1];
        to[2] = pixel[2];
      }
    }
    return image;
  }

  std::string name_;
  std::unique_ptr<std::FILE, CloseFile> file_;  // outlives io_, which outlives input_
  std::unique_ptr<AVIOContext, FreeIo> io_;
  std::unique_ptr<AVFormatContext, CloseInput> input_;
  ffmpeg::Owner<AVCodecContext> codec_;
  ffmpeg::Owner<AVFrame> frame_;
  ffmpeg::Owner<AVPacket> packet_;
  ffmpeg::Owner<SwsContext> scaler_;
  std::array<int, 5> shape_{};
  std::vector<uint8_t> padded_;
  AVStream* stream_ = nullptr;
  bool draining_ = false;
  bool seekable_ = true;
  bool untimed_ = false;  // no usable times: frames are counted
  int64_t first_time_ = 0;
  int64_t last_time_ = -1;
  std::vector<PacketTime> packets_;
  int64_t position_ = 0;  // nothing before it is to be had without a seek
  bool holding_ = false;  // frame_ is the frame of last_time_
};

}  // namespace

std::vector<int64_t> sample_indices(int64_t available, const FrameSampling& sampling) {
  std::vector<int64_t> indices;
  if (available <= sampling.frames) {
    for (int64_t i = 0; i < available; ++i) indices.push_back(i);
    return indices;
  }
  for (int64_t i = 0; i < sampling.frames; ++i) {
    if (sampling.rule == FrameSampling::Rule::middles) {
      indices.push_back((2 * i + 1) * available / (2 * sampling.frames));
    } else {
      const double step = sampling.frames > 1
                              ? static_cast<double>(available - 1) / static_cast<double>(sampling.frames - 1)
                              : 0.0;
      // Halves to even, as NumPy.
      indices.push_back(static_cast<int64_t>(std::nearbyint(static_cast<double>(i) * step)));
    }
  }
  return indices;
}

int64_t read_video(const std::filesystem::path& path, const FrameSampling& sampling, const FrameSink& sink) {
  VideoReader reader(path);
  reader.index();
  const int64_t given = reader.read(reader.whole(), sampling, sink);
  CHECK_INPUT(given > 0, path.string(), ": no frame could be decoded (truncated or damaged video)");
  return given;
}

struct VideoSpans::Film : VideoReader {
  using VideoReader::VideoReader;
};

VideoSpans::VideoSpans(const std::filesystem::path& path) : film_(std::make_unique<Film>(path)) {
  film_->index();
}

VideoSpans::~VideoSpans() = default;

double VideoSpans::duration() const { return film_->duration(); }

int64_t VideoSpans::read(double start, double end, const FrameSampling& sampling, const FrameSink& sink) {
  const int64_t given = film_->read(film_->between(start, end), sampling, sink);
  CHECK_INPUT(given > 0, film_->name(), ": no frame could be decoded from second ", start, " to ", end,
              " (damaged video)");
  return given;
}

}  // namespace clipcap
