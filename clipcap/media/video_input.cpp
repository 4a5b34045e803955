#include "clipcap/media/video_input.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "clipcap/media/content.h"
#include "clipcap/media/encryption.h"
#include "tensor/check.h"

namespace clipcap {

static_assert(kNoTime == AV_NOPTS_VALUE);

namespace {

constexpr size_t kMostPackets = 5'000'000;  // of all video tracks: about 46 hours of film
constexpr int kBufferBytes = 1 << 16;

std::string error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof text);
  return text;
}

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

// The decoder argument lost its const-ness difference between FFmpeg 4 and 5.
#if LIBAVFORMAT_VERSION_MAJOR < 59
AVCodec** const_cast_decoder(const AVCodec** decoder) { return const_cast<AVCodec**>(decoder); }
AVInputFormat* const_cast_format(const AVInputFormat* format) { return const_cast<AVInputFormat*>(format); }
#else
const AVCodec** const_cast_decoder(const AVCodec** decoder) { return decoder; }
const AVInputFormat* const_cast_format(const AVInputFormat* format) { return format; }
#endif

// A track of stills: covers, thumbnails, previews. They lose to any film.
bool holds_stills(const AVStream& stream) {
  return (stream.disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)) != 0;
}

// A text file has no pictures, but FFmpeg draws one of it.
bool draws_text(AVCodecID codec) {
  return codec == AV_CODEC_ID_ANSI || codec == AV_CODEC_ID_XBIN || codec == AV_CODEC_ID_BINTEXT ||
         codec == AV_CODEC_ID_IDF;
}

// VP8 says in its first byte whether a frame is shown; containers keep the others as packets like all.
bool is_shown(const AVPacket& packet, AVCodecID codec) {
  if ((packet.flags & AV_PKT_FLAG_DISCARD) != 0) return false;
  return codec != AV_CODEC_ID_VP8 || (packet.data[0] >> 4U & 1U) != 0;
}

VideoPacket described(const AVPacket& packet, AVCodecID codec) {
  const auto bounded = [](int64_t time) {
    return time == AV_NOPTS_VALUE ? time : std::clamp<int64_t>(time, -(int64_t{1} << 50), int64_t{1} << 50);
  };
  return {bounded(packet.pts),
          bounded(packet.dts),
          packet.pos,
          std::clamp<int64_t>(packet.duration, 0, int64_t{1} << 40),
          (packet.flags & AV_PKT_FLAG_KEY) != 0,
          is_shown(packet, codec)};
}

}  // namespace

void VideoInput::FreeIo::operator()(AVIOContext* io) const {
  av_freep(&io->buffer);
  avio_context_free(&io);
}

VideoInput::VideoInput(const std::filesystem::path& path)
    : name_(path.string()), frame_(av_frame_alloc()), packet_(av_packet_alloc()), converter_(path.string()) {
  av_log_set_level(AV_LOG_QUIET);
  std::error_code error;
  CHECK_INPUT(std::filesystem::exists(path, error), name_, ": no such file");
  CHECK_INPUT(std::filesystem::is_regular_file(path, error), name_, ": not a regular file");
  CHECK_INPUT(std::filesystem::file_size(path, error) > 0, name_, ": the file is empty");
  const Content content = content_of_file(path);
  CHECK_INPUT(content.kind != ContentKind::foreign && content.kind != ContentKind::other_picture, name_, ": ",
              content.what);
  // A file that begins as one picture but goes on as a film.
  if (content.kind == ContentKind::jpeg) format_ = av_find_input_format("mjpeg");
  if (content.kind == ContentKind::png) format_ = av_find_input_format("apng");
  open_file();
  index();
  open_decoder();
}

void VideoInput::open_file() {
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
  int code = avformat_open_input(&context, name_.c_str(), const_cast_format(format_), &options);
  av_dict_free(&options);
  if (code != 0) {
    char head[8] = {};
    std::rewind(file_.get());
    const bool mp4 =
        std::fread(head, 1, sizeof head, file_.get()) == sizeof head && std::memcmp(head + 4, "ftyp", 4) == 0;
    CHECK_INPUT(!mp4, name_, ": truncated or damaged MP4 (its index, the moov atom, cannot be read)");
    CHECK_INPUT(false, name_, ": not a readable video (", error_text(code), ")");
  }
  input_.reset(context);
  code = avformat_find_stream_info(context, nullptr);
  CHECK_INPUT(code >= 0, name_, ": not a readable video (", error_text(code), ")");
  if (track_ < 0) return;
  CHECK_INPUT(static_cast<unsigned>(track_) < context->nb_streams, name_, ": changed while it was read");
  open_decoder();
}

void VideoInput::open_decoder() {
  stream_ = input_->streams[track_];
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    if (static_cast<int>(i) != track_) input_->streams[i]->discard = AVDISCARD_ALL;
  }
  const AVCodec* decoder = avcodec_find_decoder(stream_->codecpar->codec_id);
  CHECK_INPUT(decoder != nullptr, name_, ": no decoder for its video codec");
  codec_.reset(avcodec_alloc_context3(decoder));
  CHECK(codec_ != nullptr && avcodec_parameters_to_context(codec_.get(), stream_->codecpar) >= 0, name_,
        ": out of memory");
  CHECK_INPUT(codec_->width <= kMostFrameSide && codec_->height <= kMostFrameSide, name_, ": ", codec_->width,
              " x ", codec_->height, " pixels are too many (at most ", kMostFrameSide, " a side)");
  codec_->thread_count = 2;
  codec_->max_pixels = kMostFramePixels;
  codec_->pkt_timebase = stream_->time_base;
  const int code = avcodec_open2(codec_.get(), decoder, nullptr);
  CHECK_INPUT(code == 0, name_, ": cannot decode its video (", error_text(code), ")");
  draining_ = false;
}

// Reads through the file without decoding: times, durations and key frames of all packets of every video
// track, and of these the film's are kept.
void VideoInput::index() {
  std::vector<std::vector<VideoPacket>> packets;
  std::vector<bool> encrypted;
  size_t count = 0;
  for (unsigned i = 0; i < input_->nb_streams; ++i) {
    if (input_->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_VIDEO)
      input_->streams[i]->discard = AVDISCARD_ALL;
  }
  while (count < kMostPackets && av_read_frame(input_.get(), packet_.get()) >= 0) {
    const auto index = static_cast<size_t>(packet_->stream_index);
    const AVStream& stream = *input_->streams[index];
    if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO && packet_->size > 0) {
      if (packets.size() <= index) packets.resize(index + 1), encrypted.resize(index + 1);
      packets[index].push_back(described(*packet_, stream.codecpar->codec_id));
      if (av_packet_get_side_data(packet_.get(), AV_PKT_DATA_ENCRYPTION_INFO, nullptr) != nullptr)
        encrypted[index] = true;
      ++count;
    }
    av_packet_unref(packet_.get());
  }
  packets.resize(input_->nb_streams);
  encrypted.resize(input_->nb_streams);
  track_ = choose_track(packets);
  const AVStream& stream = *input_->streams[track_];
  const char* protection = encrypted[static_cast<size_t>(track_)]
                               ? "its packets say so"
                               : encryption_of(*input_, stream, file_.get());
  CHECK_INPUT(protection == nullptr, name_, ": the video is encrypted (", protection,
              "); only unprotected copies can be read");
  packets_ = std::move(packets[static_cast<size_t>(track_)]);
}

int VideoInput::choose_track(const std::vector<std::vector<VideoPacket>>& packets) {
  AVFormatContext* context = input_.get();
  const AVCodec* decoder = nullptr;
  const int favourite =
      av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, const_cast_decoder(&decoder), 0);
  CHECK_INPUT(favourite != AVERROR_STREAM_NOT_FOUND, name_, ": no video stream in this file");
  CHECK_INPUT(favourite >= 0 && decoder != nullptr, name_, ": no decoder for its video codec");
  // FFmpeg's choice (the default track, then the largest) holds unless it is stills beside a film.
  const auto frames = [&](size_t i) {
    return std::count_if(packets[i].begin(), packets[i].end(),
                         [](const VideoPacket& packet) { return packet.shown; });
  };
  int best = favourite;
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    const AVStream& stream = *context->streams[i];
    const AVStream& chosen = *context->streams[best];
    if (static_cast<int>(i) == best || stream.codecpar->codec_type != AVMEDIA_TYPE_VIDEO ||
        holds_stills(stream) || avcodec_find_decoder(stream.codecpar->codec_id) == nullptr)
      continue;
    const auto shown = frames(static_cast<size_t>(best));
    const bool many_more = frames(i) > 1 && (shown <= 1 || frames(i) >= 4 * shown);
    if ((holds_stills(chosen) && frames(i) > 0) || many_more) best = static_cast<int>(i);
  }
  const AVStream& chosen = *context->streams[best];
  CHECK_INPUT(!draws_text(chosen.codecpar->codec_id), name_, ": not a video (text)");
  CHECK_INPUT(!holds_stills(chosen), name_, ": no video stream in this file (cover picture only)");
  CHECK_INPUT(!packets[static_cast<size_t>(best)].empty(), name_, ": the video stream holds no frames");
  return best;
}

double VideoInput::frame_rate() const {
  const AVRational rate = stream_->avg_frame_rate.num > 0 ? stream_->avg_frame_rate : stream_->r_frame_rate;
  return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0.0;
}

bool VideoInput::has_times() const { return (input_->iformat->flags & AVFMT_NOTIMESTAMPS) == 0; }

bool VideoInput::can_seek() const {
  switch (stream_->codecpar->codec_id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_MSMPEG4V1:
    case AV_CODEC_ID_MSMPEG4V2:
    case AV_CODEC_ID_MSMPEG4V3:
    case AV_CODEC_ID_WMV1:
    case AV_CODEC_ID_WMV2:
    case AV_CODEC_ID_WMV3:
    case AV_CODEC_ID_VC1:
    case AV_CODEC_ID_H263:
    case AV_CODEC_ID_FLV1:
    case AV_CODEC_ID_VP6:
    case AV_CODEC_ID_VP6F:
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_THEORA:
    case AV_CODEC_ID_FFV1:
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_PRORES:
    case AV_CODEC_ID_DNXHD:
    case AV_CODEC_ID_DVVIDEO:
    case AV_CODEC_ID_HUFFYUV:
    case AV_CODEC_ID_FFVHUFF:
    case AV_CODEC_ID_RAWVIDEO:
      return true;
    default:  // GIF and APNG among them, whose key frames are drawn over what was there
      return false;
  }
}

void VideoInput::restart(bool at_key) {
  open_file();
  awaiting_key_ = at_key;
  key_time_ = AV_NOPTS_VALUE;
}

bool VideoInput::seek(const VideoPacket& key) {
  // MPEG streams have no index: FFmpeg would guess a place from the times, but where the packet
  // lies is known.
  const char* container = input_->iformat->name;
  const bool by_position =
      key.position >= 0 && (std::strcmp(container, "mpegts") == 0 || std::strcmp(container, "mpeg") == 0);
  int64_t time = key.time;
  if ((input_->iformat->flags & AVFMT_SEEK_TO_PTS) == 0 && key.decoding != AV_NOPTS_VALUE)
    time = std::min(time, key.decoding);
  const int code = by_position ? av_seek_frame(input_.get(), -1, key.position, AVSEEK_FLAG_BYTE)
                               : av_seek_frame(input_.get(), stream_->index, time, AVSEEK_FLAG_BACKWARD);
  if (code < 0) return false;
  avcodec_flush_buffers(codec_.get());
  draining_ = false;
  awaiting_key_ = true;
  key_time_ = AV_NOPTS_VALUE;
  return true;
}

bool VideoInput::next_frame() {
  for (;;) {
    const int received = avcodec_receive_frame(codec_.get(), frame_.get());
    if (received == 0) return true;
    if (received == AVERROR_EOF || draining_) return false;
    for (;;) {
      if (av_read_frame(input_.get(), packet_.get()) < 0) {
        avcodec_send_packet(codec_.get(), nullptr);
        draining_ = true;
        break;
      }
      bool wanted = packet_->stream_index == stream_->index;
      if (wanted && awaiting_key_) {
        wanted = (packet_->flags & AV_PKT_FLAG_KEY) != 0 && packet_->size > 0;
        if (wanted) awaiting_key_ = false, key_time_ = packet_->pts;
      }
      if (wanted) avcodec_send_packet(codec_.get(), packet_.get());
      av_packet_unref(packet_.get());
      if (wanted) break;
    }
  }
}

int64_t VideoInput::frame_time() const {
  return frame_->pts != AV_NOPTS_VALUE ? frame_->pts : frame_->best_effort_timestamp;
}

Orientation VideoInput::orientation() const {
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
  if (matrix == nullptr) {  // the stream itself may say it (H.264 and HEVC, display orientation SEI)
    const AVFrameSideData* own = av_frame_get_side_data(frame_.get(), AV_FRAME_DATA_DISPLAYMATRIX);
    if (own != nullptr && own->size >= 36) matrix = own->data;
  }
  return matrix != nullptr ? orientation_of(reinterpret_cast<const int32_t*>(matrix)) : Orientation{};
}

Image VideoInput::picture() {
  const AVRational aspect = av_guess_sample_aspect_ratio(input_.get(), stream_, frame_.get());
  return converter_.convert(*frame_, aspect, orientation());
}

}  // namespace clipcap
