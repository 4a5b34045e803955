// Video files through FFmpeg's libraries: any container and codec that they read.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "clipcap/media/image.h"

namespace clipcap {

/// Which frames of a clip are taken.
struct FrameSampling {
  enum class Rule {
    middles,   // the frames shown at the middles of n equal spans of the clip's duration
    linspace,  // frames round(linspace(0, N-1, n)) of N, as Video2Commonsense
  };
  int64_t frames = 40;  // n; a clip with fewer gives each of its frames once
  Rule rule = Rule::middles;
};

/// Receives frames in order; `index` counts from 0. Frames arrive one at a time, so that full-size pictures
/// never pile up.
using FrameSink = std::function<void(int64_t index, Image&& image)>;

/// Reads the sampled frames, upright and mirrored as the display matrix says, with square pixels.
/// Returns how many.
///
/// Where the film's times order its frames, the frame at time t is the last one whose timestamp is not after
/// t, and only the groups of pictures that hold wanted frames are decoded; what a decoder makes up after a
/// seek, for want of what came before, is never handed out. Where they do not (no times, times that fall,
/// repeat or jump where files were joined), everything is decoded and counted, and n spans of the film are n
/// spans of its frames: what is read is then what `ffmpeg -i` decodes. Broken packets are skipped. InputError
/// (no video stream, truncated, empty, encrypted, not a video) names the file.
int64_t read_video(const std::filesystem::path& path, const FrameSampling& sampling, const FrameSink& sink);

/// A film that is opened and indexed once and then read span by span. Memory does not grow with the film
/// but for the index (8 bytes a frame, 64 a key frame). Where frames are counted, their times are those of
/// a constant rate.
class VideoSpans {
 public:
  /// Throws InputError as read_video.
  explicit VideoSpans(const std::filesystem::path& path);
  ~VideoSpans();
  VideoSpans(const VideoSpans&) = delete;
  VideoSpans& operator=(const VideoSpans&) = delete;

  /// Seconds from the first frame to the end of the last.
  [[nodiscard]] double duration() const;
  /// Reads what read_video would give of a file that holds only the frames that begin in [start, end),
  /// seconds since the first frame; where none begins there, the one that is shown. InputError where none of
  /// them can be decoded. Spans in ascending order are read in one pass.
  int64_t read(double start, double end, const FrameSampling& sampling, const FrameSink& sink);
  /// The whole film, as read_video.
  int64_t read(const FrameSampling& sampling, const FrameSink& sink);

 private:
  class Film;
  std::unique_ptr<Film> film_;
};

/// 0-based indices of the frames taken from N frames by index: the middles rule for a constant
/// rate, or linspace.
[[nodiscard]] std::vector<int64_t> sample_indices(int64_t available, const FrameSampling& sampling);

/// The same of frames shown from `times` (rising, any unit) on, the last one until `end`: the middles are
/// middles in time.
[[nodiscard]] std::vector<int64_t> sample_times(std::span<const int64_t> times, int64_t end,
                                                const FrameSampling& sampling);

}  // namespace clipcap
