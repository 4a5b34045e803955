// What VideoSpans reads frames from: a video file through FFmpeg (video_input.h) or an animated WebP
// (webp.h). Private to clipcap/media; which frames are taken is decided in video.cpp.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "clipcap/media/image.h"

namespace clipcap {

inline constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();  // AV_NOPTS_VALUE

/// A packet of the film's track, in units of the track's time base.
struct VideoPacket {
  int64_t time = kNoTime;      // of presentation
  int64_t decoding = kNoTime;  // of decoding
  int64_t position = -1;       // first byte in the file, where the container tells
  int64_t duration = 0;        // 0 where it is not told
  bool key = false;            // decoding can begin here
  bool shown = true;           // false: cut away by an edit list, or decoded only to be referred to
};

class FrameSource {
 public:
  virtual ~FrameSource() = default;

  [[nodiscard]] virtual const std::string& name() const = 0;
  /// In the order of the file; taken once.
  [[nodiscard]] virtual std::vector<VideoPacket> take_packets() = 0;
  /// Seconds of one unit of time.
  [[nodiscard]] virtual double time_unit() const = 0;
  /// Frames a second as the container has it; 0 where it does not say.
  [[nodiscard]] virtual double frame_rate() const = 0;
  /// False for containers that store no times: whatever times there are were made up while reading.
  [[nodiscard]] virtual bool has_times() const = 0;
  /// Times may jump where parts were joined (MPEG streams): a long gap is a joint and not a
  /// frame that stands.
  [[nodiscard]] virtual bool may_be_joined() const = 0;
  /// Whether a key frame depends on nothing before it.
  [[nodiscard]] virtual bool can_seek() const = 0;
  /// Bytes of a picture as it is handed out.
  [[nodiscard]] virtual int64_t picture_bytes() const = 0;

  /// Goes to the file's first packet, or the first key packet. This or seek() comes before the first frame.
  virtual void restart(bool at_key) = 0;
  /// Goes to a key packet or somewhat before it; false if the container cannot. Packets are then skipped up
  /// to a key.
  virtual bool seek(const VideoPacket& key) = 0;
  /// Decodes the next frame; false at the end. Packets that do not decode are skipped.
  virtual bool next_frame() = 0;
  /// Presentation time of the frame, kNoTime if it has none.
  [[nodiscard]] virtual int64_t frame_time() const = 0;
  [[nodiscard]] virtual bool frame_is_shown() const = 0;
  [[nodiscard]] virtual bool frame_is_key() const = 0;
  /// Time of the key packet at which decoding began after a seek; kNoTime before it is found.
  [[nodiscard]] virtual int64_t key_time() const = 0;
  [[nodiscard]] virtual Image picture() = 0;
};

}  // namespace clipcap
