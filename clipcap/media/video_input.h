// FFmpeg's view of one video file: its tracks, the packets of the film among them, seeking, and decoding
// frame by frame. Private to clipcap/media; what frames are taken is decided in video.cpp.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "clipcap/media/ffmpeg.h"
#include "clipcap/media/frame_image.h"
#include "clipcap/media/frame_source.h"

namespace clipcap {

class VideoInput : public FrameSource {
 public:
  /// Opens the file, chooses the film among its tracks and reads through all packets once. InputError names
  /// the file: not a video (and what it is instead), no film in it, encrypted, no decoder.
  explicit VideoInput(const std::filesystem::path& path);

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::vector<VideoPacket> take_packets() override { return std::move(packets_); }
  [[nodiscard]] double time_unit() const override { return av_q2d(stream_->time_base); }
  [[nodiscard]] double frame_rate() const override;
  [[nodiscard]] bool has_times() const override;
  [[nodiscard]] bool may_be_joined() const override {
    return (input_->iformat->flags & AVFMT_TS_DISCONT) != 0;
  }
  [[nodiscard]] bool can_seek() const override;
  [[nodiscard]] int64_t picture_bytes() const override { return 3 * int64_t{codec_->width} * codec_->height; }

  void restart(bool at_key) override;
  bool seek(const VideoPacket& key) override;
  bool next_frame() override;
  [[nodiscard]] int64_t frame_time() const override;
  [[nodiscard]] bool frame_is_shown() const override { return (frame_->flags & AV_FRAME_FLAG_DISCARD) == 0; }
  [[nodiscard]] bool frame_is_key() const override { return frame_->key_frame != 0; }
  [[nodiscard]] int64_t key_time() const override { return key_time_; }
  [[nodiscard]] Image picture() override;

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  struct FreeIo {
    void operator()(AVIOContext* io) const;
  };
  struct CloseInput {
    void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
  };

  void open_file();
  void open_decoder();
  void index();
  [[nodiscard]] int choose_track(const std::vector<std::vector<VideoPacket>>& packets);
  [[nodiscard]] Orientation orientation() const;

  std::string name_;
  std::unique_ptr<std::FILE, CloseFile> file_;  // outlives io_, which outlives input_
  std::unique_ptr<AVIOContext, FreeIo> io_;
  std::unique_ptr<AVFormatContext, CloseInput> input_;
  ffmpeg::Owner<AVCodecContext> codec_;
  ffmpeg::Owner<AVFrame> frame_;
  ffmpeg::Owner<AVPacket> packet_;
  FrameConverter converter_;
  std::vector<VideoPacket> packets_;
  const AVInputFormat* format_ = nullptr;  // where the content alone decides
  int track_ = -1;
  AVStream* stream_ = nullptr;
  bool draining_ = false;
  bool awaiting_key_ = false;
  int64_t key_time_ = AV_NOPTS_VALUE;
};

}  // namespace clipcap
