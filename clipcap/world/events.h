// What happens in the generated world: the kinds of event and how each is played out over time. Most of them show the
// same frames as another kind and differ from it in their order, in how long something lasts, or in something brief
// inside something long, so that a model without a sense of time cannot tell them apart.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "clipcap/world/stage.h"
#include "tensor/random.h"

namespace clipcap::world {

enum class Event : uint8_t {
  put_in,
  take_out,  // an apple and a basket: one backwards is the other
  climb_up,
  climb_down,  // a box: likewise
  switch_on,
  switch_off,  // a lamp: likewise
  push,
  pull,  // the box: likewise
  give,
  take,  // an apple between two: likewise
  short_stop,
  long_stop,  // at a bench: how long
  stroll,
  dash,  // to a flag: how fast
  sleep,
  startle,  // startled for a moment in a long sleep
  stumble,  // a stroll with a fall for a moment
  hop_once,
  hop_often,  // how many times
  follow,
  overtake,  // two on their way: who is ahead, from when on
  light_then_hop,
  hop_then_light  // which of two first
};
inline constexpr int kEvents = 23;

/// What sets a kind of event apart from its nearest relative.
enum class Needs : uint8_t { order, duration, moment };

/// The name in files and reports: "put_in".
[[nodiscard]] const char* name(Event event);
[[nodiscard]] Needs needs(Event event);
[[nodiscard]] bool has_other(Event event);

/// A value over time: between two keys it changes smoothly, or jumps at the later one.
class Track {
 public:
  explicit Track(double start = 0) : keys_{{0.0, start}} {}
  /// From the last key's value at `from` to `value` at `to` (seconds).
  void change(double from, double to, double value);
  void jump(double at, double value) { change(at, at, value); }
  [[nodiscard]] double at(double second) const;
  [[nodiscard]] double last() const { return keys_.back().second; }

 private:
  std::vector<std::pair<double, double>> keys_;
};

/// One clip's event as it is played.
class Play {
 public:
  /// Times and places vary with the generator; `mirrored` swaps left and right.
  Play(Event event, bool mirrored, Generator& generator);
  [[nodiscard]] double seconds() const { return seconds_; }
  [[nodiscard]] Moment at(double second) const;

 private:
  friend class Director;
  struct ActorTracks {
    Track x, y, angle, squash{1}, eyes{1};
    [[nodiscard]] Pose at(double second) const;
  };
  bool mirrored_ = false;
  bool has_other_ = false;
  double seconds_ = 0;
  Moment props_;  // what stands where; the rest is in the tracks
  ActorTracks actor_, other_;
  Track box_, lamp_, apple_;
};

}  // namespace clipcap::world
