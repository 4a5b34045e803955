#include "clipcap/media/video.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "clipcap/media/content.h"
#include "clipcap/media/video_input.h"
#include "clipcap/media/webp.h"
#include "tensor/check.h"

namespace clipcap {
namespace {

constexpr int64_t kMostHeldBytes = int64_t{64} << 20;  // of pictures that wait until all frames are counted
constexpr size_t kFewPackets = 20'000;                 // a film of which one may as well decode everything
constexpr size_t kMostWithoutKey =
    600;  // packets before the first key frame, of a recording that begins in between
constexpr size_t kMostReordered =
    16;                          // frames that a frame can be decoded after and shown before (H.264, HEVC)
constexpr double kJoint = 10.0;  // seconds without a frame, in MPEG streams, that ffmpeg takes for a joint

// What is wrong with the times of a film.
struct TimeFaults {
  bool fall = false;   // a frame is shown before more others than can be reordered, or decoding times fall
  bool jump = false;   // a gap as between joined parts
  size_t missing = 0;  // packets without a presentation time
  size_t repeated = 0;
};

// `packets` in the order of the file, `times` sorted.
TimeFaults faults_of(const std::vector<VideoPacket>& packets, const std::vector<int64_t>& times,
                     int64_t joint) {
  TimeFaults faults;
  int64_t decoding = kNoTime;
  std::array<int64_t, kMostReordered + 1> latest;  // the latest times so far, falling
  latest.fill(std::numeric_limits<int64_t>::min());
  for (const VideoPacket& packet : packets) {
    if (packet.decoding != kNoTime) {
      if (decoding != kNoTime && packet.decoding < decoding) faults.fall = true;
      decoding = packet.decoding;
    }
    if (packet.time == kNoTime) {
      if (packet.shown) ++faults.missing;
      continue;
    }
    if (packet.time < latest.back()) faults.fall = true;
    const auto place = std::upper_bound(latest.begin(), latest.end(), packet.time, std::greater<>());
    if (place == latest.end()) continue;
    std::move_backward(place, latest.end() - 1, latest.end());
    *place = packet.time;
  }
  for (size_t i = 1; i < times.size(); ++i) {
    if (times[i] == times[i - 1]) ++faults.repeated;
    if (times[i] - times[i - 1] > joint) faults.jump = true;
  }
  return faults;
}

std::unique_ptr<FrameSource> open_source(const std::filesystem::path& path) {
  if (content_of_file(path).kind == ContentKind::webp) return open_webp_animation(path);
  return std::make_unique<VideoInput>(path);
}

}  // namespace

class VideoSpans::Film {
 public:
  explicit Film(const std::filesystem::path& path) : input_(open_source(path)) {
    make_table(input_->take_packets());
  }

  [[nodiscard]] const std::string& name() const { return input_->name(); }
  [[nodiscard]] double duration() const { return static_cast<double>(end_ - times_.front()) * unit_; }

  int64_t read(const FrameSampling& sampling, const FrameSink& sink) {
    if (counted_ && !count_is_known_) {
      const auto most = std::min(sampling.frames, static_cast<int64_t>(times_.size()));
      std::vector<Image> held;
      if (most * input_->picture_bytes() <= kMostHeldBytes && read_counting(sampling, held)) {
        for (size_t i = 0; i < held.size(); ++i) sink(static_cast<int64_t>(i), std::move(held[i]));
        return static_cast<int64_t>(held.size());
      }
      if (!count_is_known_) count();
    }
    const std::vector<int64_t> wanted = by_time_
                                            ? sample_times(times_, end_, sampling)
                                            : sample_indices(static_cast<int64_t>(times_.size()), sampling);
    // A short clip gives each frame once, even where a packet shows none.
    const auto count = static_cast<int64_t>(times_.size());
    return deliver(wanted, count <= sampling.frames, count, sink);
  }

  int64_t read(double start, double end, const FrameSampling& sampling, const FrameSink& sink) {
    const auto at = [&](double seconds) {
      const double units = std::clamp(seconds / unit_, 0.0, 0x1p60);
      return times_.front() + static_cast<int64_t>(std::ceil(units - 1e-6));
    };
    auto first = std::lower_bound(times_.begin(), times_.end(), at(start));
    auto after = std::lower_bound(first, times_.end(), at(end));
    if (first == after && first != times_.begin()) after = first--;
    std::vector<int64_t> wanted = sample_times({first, after}, std::min(at(end), end_), sampling);
    for (int64_t& place : wanted) place += first - times_.begin();
    return deliver(wanted, after - first <= sampling.frames, after - times_.begin(), sink);
  }

 private:
  struct Key {
    VideoPacket packet;
    int64_t first;  // the first frame in order of presentation that is not before it
  };

  void make_table(std::vector<VideoPacket> packets) {
    const auto key =
        std::find_if(packets.begin(), packets.end(), [](const VideoPacket& packet) { return packet.key; });
    if (key != packets.end() && key - packets.begin() <= static_cast<int64_t>(kMostWithoutKey)) {
      // What comes before the first key frame would be made up by the decoder.
      starts_between_ = key != packets.begin();
      packets.erase(packets.begin(), key);
    }
    // Pictures that follow the first key frame but are shown before it mostly refer to what is not there.
    const int64_t head = packets.front().time;
    bool leading = false;
    for (size_t i = 1; i < packets.size() && packets.front().key && head != kNoTime; ++i) {
      if (packets[i].time == kNoTime || packets[i].time >= head) break;
      leading = leading || packets[i].shown;
      packets[i].shown = false;
    }
    int64_t last = 0;
    int64_t spans = 0;
    bool told = true;  // all durations
    for (const VideoPacket& packet : packets) {
      if (!packet.shown) continue;
      int64_t time = packet.time != kNoTime ? packet.time : packet.decoding;
      if (time == kNoTime) time = times_.empty() ? 0 : last + 1;
      last = time;
      times_.push_back(time);
      spans += packet.duration;
      told = told && packet.duration > 0;
    }
    CHECK_INPUT(!times_.empty(), input_->name(), ": the video stream holds no frames");
    const int64_t last_duration = packets.back().duration;
    std::sort(times_.begin(), times_.end());
    unit_ = input_->time_unit();
    const TimeFaults faults =
        faults_of(packets, times_,
                  input_->may_be_joined() && unit_ > 0 ? static_cast<int64_t>(kJoint / unit_)
                                                       : std::numeric_limits<int64_t>::max());
    const size_t few = times_.size() / 20;
    by_time_ = input_->has_times() && !faults.fall && !faults.jump && faults.missing <= few &&
               faults.repeated <= few && (times_.size() == 1 || times_.front() < times_.back());
    const bool each_has_its_time = faults.missing == 0 && faults.repeated == 0 && !leading;
    counted_ = !by_time_ || (!each_has_its_time && times_.size() <= kFewPackets);
    seekable_ = !counted_ && input_->can_seek();
    if (by_time_) {
      const auto count = static_cast<int64_t>(times_.size());
      int64_t tail = last_duration;
      if (tail <= 0)
        tail = count > 1 ? std::max<int64_t>(1, (times_.back() - times_.front()) / (count - 1)) : 1;
      end_ = times_.back() + tail;
      if (counted_) spread_repeated();
    } else {
      double rate = told && spans > 0
                        ? static_cast<double>(times_.size()) / (static_cast<double>(spans) * unit_)
                        : input_->frame_rate();
      if (!(rate >= 0.01 && rate <= 1000.0)) rate = 25.0;
      unit_ = 1.0 / rate;
      number_frames(times_.size());
    }
    if (!seekable_) return;
    for (const VideoPacket& packet : packets) {
      if (!packet.key || packet.time == kNoTime) continue;
      const auto first = std::lower_bound(times_.begin(), times_.end(), packet.time) - times_.begin();
      keys_.push_back({packet, first});
    }
    std::stable_sort(keys_.begin(), keys_.end(),
                     [](const Key& a, const Key& b) { return a.first < b.first; });
    seekable_ = !keys_.empty();
  }

  // Frames that claim the same moment share the time until the next one.
  void spread_repeated() {
    for (size_t begin = 0; begin < times_.size();) {
      size_t after = begin + 1;
      while (after < times_.size() && times_[after] == times_[begin]) ++after;
      const int64_t room = (after < times_.size() ? times_[after] : end_) - times_[begin];
      const auto run = static_cast<int64_t>(after - begin);
      for (int64_t i = 1; i < run; ++i) times_[begin + static_cast<size_t>(i)] += i * room / run;
      begin = after;
    }
  }

  // Frames without times: 0, 1, 2, …
  void number_frames(size_t count) {
    times_.resize(count);
    for (size_t i = 0; i < count; ++i) times_[i] = static_cast<int64_t>(i);
    end_ = static_cast<int64_t>(count);
  }

  void set_count(int64_t count) {
    CHECK_INPUT(count > 0, input_->name(), ": no frame could be decoded (truncated or damaged video)");
    count_is_known_ = true;
    if (count == static_cast<int64_t>(times_.size())) return;
    by_time_ = false;
    number_frames(static_cast<size_t>(count));
  }

  // Decodes everything, keeping what would be wanted if every packet shows a frame; false if one does not.
  bool read_counting(const FrameSampling& sampling, std::vector<Image>& held) {
    const std::vector<int64_t> wanted = by_time_
                                            ? sample_times(times_, end_, sampling)
                                            : sample_indices(static_cast<int64_t>(times_.size()), sampling);
    const auto expected = static_cast<int64_t>(times_.size());
    restart();
    size_t next = 0;
    while (advance()) {
      for (; next < wanted.size() && wanted[next] == current_; ++next) held.push_back(input_->picture());
    }
    set_count(current_ + 1);
    return current_ + 1 == expected;
  }

  void count() {
    restart();
    while (advance()) {
    }
    set_count(current_ + 1);
  }

  // The last frame whose time is not after `time`.
  [[nodiscard]] int64_t shown_at(int64_t time) const {
    const auto after = std::upper_bound(times_.begin(), times_.end(), time);
    return after == times_.begin() ? 0 : after - times_.begin() - 1;
  }

  // Gives the wanted frames, by their places in the order of presentation; none from `limit` on stands in.
  int64_t deliver(const std::vector<int64_t>& wanted, bool each_once, int64_t limit, const FrameSink& sink) {
    int64_t given = 0;
    for (size_t next = 0; next < wanted.size();) {
      const int64_t place = wanted[next];
      if (!started_ || place <= previous_) {
        if (!seekable_ || !seek_to(place)) restart();
      } else if (seekable_ && place > current_ && key_before(place)->first > std::max(current_, sought_)) {
        if (!seek_to(place)) restart();
      }
      if (previous_ >= place || place > current_) {
        if (!advance()) break;
        continue;
      }
      // Where the wanted frame itself did not decode, the first one after it stands in.
      if (current_ >= limit) break;
      Image image = input_->picture();
      size_t uses = 0;
      while (next < wanted.size() && wanted[next] <= current_) ++next, ++uses;
      if (each_once) uses = 1;
      for (; uses > 1; --uses) sink(given++, Image(image));
      sink(given++, std::move(image));
    }
    return given;
  }

  void restart() {
    input_->restart(starts_between_);
    started_ = true;
    previous_ = current_ = sought_ = -1;
  }

  // The next frame that is shown; false at the end.
  bool advance() {
    while (input_->next_frame()) {
      if (!input_->frame_is_shown()) continue;
      int64_t place = current_ + 1;
      if (!counted_) {
        const int64_t time = input_->frame_time();
        if (time != kNoTime) place = time < times_.front() ? -1 : shown_at(time);
      }
      if (place <= current_) continue;
      previous_ = current_;
      current_ = place;
      return true;
    }
    return false;
  }

  [[nodiscard]] std::vector<Key>::const_iterator key_before(int64_t place) const {
    auto after = std::upper_bound(keys_.begin(), keys_.end(), place,
                                  [](int64_t at, const Key& key) { return at < key.first; });
    return after == keys_.begin() ? after : std::prev(after);
  }

  // Begins decoding at a key frame before the wanted one. Some containers lead too far, some packets are
  // called key frames and are not: then one group earlier, and at last from the beginning of the film.
  bool seek_to(int64_t place) {
    auto key = key_before(place);
    sought_ = key->first;
    for (int tries = 0; tries < 3 && key != keys_.end() && key->first <= place; ++tries) {
      if (!input_->seek(key->packet)) break;
      if (begin_at_key(place)) return true;
      if (key == keys_.begin()) break;
      --key;
    }
    seekable_ = false;
    return false;
  }

  // Decodes the key frame after a seek; false if the first good frame is none or not that one.
  bool begin_at_key(int64_t place) {
    while (input_->next_frame()) {
      const int64_t time = input_->frame_time();
      const int64_t key = input_->key_time();
      if (time == kNoTime || key == kNoTime) return false;
      if (time < key) continue;  // it would need what comes before the key frame
      if (time > key || !input_->frame_is_key() || key > times_[static_cast<size_t>(place)]) return false;
      started_ = true;
      current_ = time < times_.front() ? -1 : shown_at(time);
      previous_ = input_->frame_is_shown() ? current_ - 1 : current_;
      return true;
    }
    return false;
  }

  std::unique_ptr<FrameSource> input_;
  std::vector<int64_t> times_;  // of the frames, in order of presentation
  std::vector<Key> keys_;       // where decoding can begin, in order of presentation
  int64_t end_ = 0;             // time after the last frame
  double unit_ = 1;             // seconds of one unit of these times
  bool starts_between_ = false;
  bool by_time_ = true;          // frames are chosen by their times
  bool counted_ = false;         // a decoded frame is known by its number, not by its time
  bool count_is_known_ = false;  // of counted frames; until then every packet is taken to show one
  bool seekable_ = true;
  bool started_ = false;
  // The decoded frame stands for the places after previous_, up to current_.
  int64_t previous_ = -1;
  int64_t current_ = -1;
  int64_t sought_ = -1;  // the key frame of the last seek, which may have led to an earlier one
};

VideoSpans::VideoSpans(const std::filesystem::path& path) : film_(std::make_unique<Film>(path)) {}
VideoSpans::~VideoSpans() = default;

double VideoSpans::duration() const { return film_->duration(); }

int64_t VideoSpans::read(double start, double end, const FrameSampling& sampling, const FrameSink& sink) {
  const int64_t given = film_->read(start, end, sampling, sink);
  CHECK_INPUT(given > 0, film_->name(), ": no frame could be decoded from second ", start, " to ", end,
              " (damaged video)");
  return given;
}

int64_t VideoSpans::read(const FrameSampling& sampling, const FrameSink& sink) {
  const int64_t given = film_->read(sampling, sink);
  CHECK_INPUT(given > 0, film_->name(), ": no frame could be decoded (truncated or damaged video)");
  return given;
}

int64_t read_video(const std::filesystem::path& path, const FrameSampling& sampling, const FrameSink& sink) {
  return VideoSpans(path).read(sampling, sink);
}

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

std::vector<int64_t> sample_times(std::span<const int64_t> times, int64_t end,
                                  const FrameSampling& sampling) {
  const auto count = static_cast<int64_t>(times.size());
  if (count <= sampling.frames || sampling.rule == FrameSampling::Rule::linspace)
    return sample_indices(count, sampling);
  std::vector<int64_t> indices;
  const double span = static_cast<double>(end - times.front());
  for (int64_t i = 0; i < sampling.frames; ++i) {
    const double middle = (static_cast<double>(i) + 0.5) * span / static_cast<double>(sampling.frames);
    const auto after =
        std::upper_bound(times.begin(), times.end(), times.front() + static_cast<int64_t>(middle));
    indices.push_back(std::max<int64_t>(0, after - times.begin() - 1));
  }
  return indices;
}

}  // namespace clipcap
