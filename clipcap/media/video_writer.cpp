#include "clipcap/media/video_writer.h"

#include <memory>

#include "clipcap/media/ffmpeg.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

struct CloseOutput {
  void operator()(AVFormatContext* context) const {
    if (context->pb != nullptr) avio_closep(&context->pb);
    avformat_free_context(context);
  }
};

void set_rotation(AVStream* stream, int clockwise) {
  if (clockwise == 0) return;
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 30, 100)  // FFmpeg 6.1
  AVPacketSideData* data =
      av_packet_side_data_new(&stream->codecpar->coded_side_data, &stream->codecpar->nb_coded_side_data,
                              AV_PKT_DATA_DISPLAYMATRIX, 36, 0);
  auto* matrix = data != nullptr ? reinterpret_cast<int32_t*>(data->data) : nullptr;
#else
  auto* matrix = reinterpret_cast<int32_t*>(av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 36));
#endif
  CHECK(matrix != nullptr, "write_video: out of memory");
  av_display_rotation_set(
      matrix,
      static_cast<double>(clockwise));  // FFmpeg's angle of the stored picture, counter-clockwise seen
}

}  // namespace

void write_video(const std::filesystem::path& path, const std::vector<Image>& frames,
                 const VideoWriterOptions& options) {
  const std::string name = path.string();
  CHECK(!frames.empty(), name, ": no frames to write");
  const auto width = static_cast<int>(frames[0].width);
  const auto height = static_cast<int>(frames[0].height);
  CHECK(width % 2 == 0 && height % 2 == 0, name, ": ", width, " x ", height, "; expected even sizes");
  av_log_set_level(AV_LOG_QUIET);
  AVFormatContext* raw = nullptr;
  CHECK(avformat_alloc_output_context2(&raw, nullptr, nullptr, name.c_str()) >= 0, name,
        ": no container of this ending");
  const std::unique_ptr<AVFormatContext, CloseOutput> output(raw);
  const AVCodec* encoder = avcodec_find_encoder_by_name(options.codec.c_str());
  CHECK(encoder != nullptr, name, ": FFmpeg was built without its encoder ", options.codec);
  AVStream* stream = avformat_new_stream(output.get(), nullptr);
  const ffmpeg::Owner<AVCodecContext> codec(avcodec_alloc_context3(encoder));
  CHECK(stream != nullptr && codec != nullptr, name, ": out of memory");
  codec->width = width;
  codec->height = height;
  codec->pix_fmt = AV_PIX_FMT_YUV420P;
  codec->time_base = {1, options.frames_per_second};
  codec->framerate = {options.frames_per_second, 1};
  codec->sample_aspect_ratio = {options.pixel_aspect[0], options.pixel_aspect[1]};
  codec->gop_size = 12;
  codec->max_b_frames = options.b_frames;
  codec->flags |= AV_CODEC_FLAG_QSCALE;
  codec->global_quality = 3 * FF_QP2LAMBDA;
  codec->thread_count = 1;  // the same bytes on every machine
  if ((output->oformat->flags & AVFMT_GLOBALHEADER) != 0) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  CHECK(avcodec_open2(codec.get(), encoder, nullptr) == 0, name, ": cannot open the encoder");
  CHECK(avcodec_parameters_from_context(stream->codecpar, codec.get()) >= 0, name,
        ": cannot set up the stream");
  stream->time_base = codec->time_base;
  stream->sample_aspect_ratio = codec->sample_aspect_ratio;
  set_rotation(stream, options.rotation);
  CHECK(avio_open(&output->pb, name.c_str(), AVIO_FLAG_WRITE) >= 0, name, ": cannot be written");
  CHECK(avformat_write_header(output.get(), nullptr) >= 0, name, ": cannot write the header");
  const ffmpeg::Owner<SwsContext> scaler(sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height,
                                                        AV_PIX_FMT_YUV420P, SWS_BICUBIC, nullptr, nullptr,
                                                        nullptr));
  const ffmpeg::Owner<AVFrame> frame(av_frame_alloc());
  const ffmpeg::Owner<AVPacket> packet(av_packet_alloc());
  CHECK(scaler != nullptr && frame != nullptr && packet != nullptr, name, ": out of memory");
  frame->format = AV_PIX_FMT_YUV420P;
  frame->width = width;
  frame->height = height;
  CHECK(av_frame_get_buffer(frame.get(), 0) >= 0, name, ": out of memory");
  const auto drain = [&] {
    while (avcodec_receive_packet(codec.get(), packet.get()) == 0) {
      if (packet->duration == 0) packet->duration = 1;  // or MP4's edit list would cut the last frame off
      av_packet_rescale_ts(packet.get(), codec->time_base, stream->time_base);
      packet->stream_index = stream->index;
      CHECK(av_interleaved_write_frame(output.get(), packet.get()) >= 0, name, ": cannot write a frame");
    }
  };
  for (size_t i = 0; i < frames.size(); ++i) {
    CHECK(frames[i].width == width && frames[i].height == height, name, ": frames differ in size");
    CHECK(av_frame_make_writable(frame.get()) >= 0, name, ": out of memory");
    const uint8_t* planes[4] = {frames[i].rgb.data(), nullptr, nullptr, nullptr};
    const int strides[4] = {3 * width, 0, 0, 0};
    sws_scale(scaler.get(), planes, strides, 0, height, frame->data, frame->linesize);
    frame->pts = options.timestamps.empty() ? static_cast<int64_t>(i) : options.timestamps[i];
    frame->quality = codec->global_quality;
    CHECK(avcodec_send_frame(codec.get(), frame.get()) >= 0, name, ": cannot encode a frame");
    drain();
  }
  avcodec_send_frame(codec.get(), nullptr);
  drain();
  CHECK(av_write_trailer(output.get()) >= 0, name, ": cannot finish the file");
}

}  // namespace clipcap
