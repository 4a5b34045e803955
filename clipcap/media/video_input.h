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

namespace clipcap {

/// A packet of the film's track, in units of the track's time base.
struct VideoPacket {
  int64_t time = AV_NOPTS_VALUE;      // of presentation
  int64_t decoding = AV_NOPTS_VALUE;  // of decoding
  int64_t position = -1;              // first byte in the file, where the container tells
  int64_t duration = 0;               // 0 where it is not told
  bool key = false;                   // decoding can begin here
  bool shown = true;                  // false: cut away by an edit list, or decoded only to be referred to
};

class VideoInput {
 public:
  /// Opens the file, chooses the film among its tracks and reads through all packets once; restart() or
  /// seek() comes before the first frame. InputError names the file: not a video (and what it is instead), no
  /// film in it, encrypted, no decoder.
  explicit VideoInput(const std::filesystem::path& path);

  [[nodiscard]] const std::string& name() const { return name_; }
  /// In the order of the file; taken once.
  [[nodiscard]] std::vector<VideoPacket> take_packets() { return std::move(packets_); }
  /// Seconds of one unit of time.
  [[nodiscard]] double time_unit() const { return av_q2d(stream_->time_base); }
  /// Frames a second as the container has it; 0 where it does not say.
  [[nodiscard]] double frame_rate() const;
  /// False for containers that store no times: whatever times there are were made up while reading.
  [[nodiscard]] bool has_times() const;
  /// Times may jump where parts were joined (MPEG streams): a long gap is a joint and not a
  /// frame that stands.
  [[nodiscard]] bool may_be_joined() const { return (input_->iformat->flags & AVFMT_TS_DISCONT) != 0; }
  /// Whether a key frame of this codec depends on nothing before it.
  [[nodiscard]] bool can_seek() const;
  /// Bytes of a picture as it is handed out.
  [[nodiscard]] int64_t picture_bytes() const { return 3 * int64_t{codec_->width} * codec_->height; }

  /// Goes to the file's first packet, or the first key packet.
  void restart(bool at_key);
  /// Goes to a key packet or somewhat before it; false if the container cannot. Packets are then skipped up
  /// to a key.
  bool seek(const VideoPacket& key);
  /// Decodes the next frame; false at the end. Packets that do not decode are skipped.
  bool next_frame();
  [[nodiscard]] const AVFrame& frame() const { return *frame_; }
  /// Presentation time of the frame, AV_NOPTS_VALUE if it has none.
  [[nodiscard]] int64_t frame_time() const;
  [[nodiscard]] bool frame_is_shown() const { return (frame_->flags & AV_FRAME_FLAG_DISCARD) == 0; }
  [[nodiscard]] bool frame_is_key() const { return frame_->key_frame != 0; }
  /// Time of the key packet at which decoding began after a seek; AV_NOPTS_VALUE before it is found.
  [[nodiscard]] int64_t key_time() const { return key_time_; }
  [[nodiscard]] Image picture();

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
