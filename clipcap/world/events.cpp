#include "clipcap/world/events.h"

#include <cmath>
#include <numbers>

#include "tensor/check.h"

namespace clipcap::world {
namespace {

struct Kind {
  const char* name;
  Needs needs;
  bool has_other;
};
constexpr std::array<Kind, kEvents> kKinds{
    {{"put_in", Needs::order, false},        {"take_out", Needs::order, false},
     {"climb_up", Needs::order, false},      {"climb_down", Needs::order, false},
     {"switch_on", Needs::order, false},     {"switch_off", Needs::order, false},
     {"push", Needs::order, false},          {"pull", Needs::order, false},
     {"give", Needs::order, true},           {"take", Needs::order, true},
     {"short_stop", Needs::duration, false}, {"long_stop", Needs::duration, false},
     {"stroll", Needs::duration, false},     {"dash", Needs::duration, false},
     {"sleep", Needs::moment, false},        {"startle", Needs::moment, false},
     {"stumble", Needs::moment, false},      {"hop_once", Needs::duration, false},
     {"hop_often", Needs::duration, false},  {"follow", Needs::order, true},
     {"overtake", Needs::order, true},       {"light_then_hop", Needs::order, false},
     {"hop_then_light", Needs::order, false}}};

}  // namespace

const char* name(Event event) { return kKinds[static_cast<size_t>(event)].name; }
Needs needs(Event event) { return kKinds[static_cast<size_t>(event)].needs; }
bool has_other(Event event) { return kKinds[static_cast<size_t>(event)].has_other; }

void Track::change(double from, double to, double value) {
  CHECK(from >= keys_.back().first && to >= from, "Track: keys go forward in time");
  keys_.emplace_back(from, last());
  keys_.emplace_back(to, value);
}

double Track::at(double second) const {
  size_t next = 0;
  while (next < keys_.size() && keys_[next].first <= second) ++next;
  if (next == 0) return keys_.front().second;
  if (next == keys_.size()) return last();
  const auto [t0, v0] = keys_[next - 1];
  const auto [t1, v1] = keys_[next];
  const double share = (second - t0) / (t1 - t0);
  return v0 + (v1 - v0) * share * share * (3 - 2 * share);
}

Pose Play::ActorTracks::at(double second) const {
  return {x.at(second), y.at(second), angle.at(second), squash.at(second), eyes.at(second)};
}

Moment Play::at(double second) const {
  Moment moment = props_;
  moment.actor = actor_.at(second);
  if (has_other_) moment.other = other_.at(second);
  if (moment.box) moment.box = box_.at(second);
  moment.lamp_lit = lamp_.at(second) > 0.5;
  moment.apple = static_cast<AppleAt>(std::lround(apple_.at(second)));
  if (!mirrored_) return moment;
  const auto mirror = [](std::optional<double>& x) {
    if (x) x = 1 - *x;
  };
  moment.actor.x = 1 - moment.actor.x;
  moment.actor.angle = -moment.actor.angle;
  if (moment.other) moment.other->x = 1 - moment.other->x;
  for (std::optional<double>* x : {&moment.box, &moment.lamp, &moment.basket, &moment.flag, &moment.bench})
    mirror(*x);
  return moment;
}

// Plays an event from left to right, one thing after the other; `now` is the moment up to which it has come.
class Director {
 public:
  Director(Play& play, Generator& generator) : play_(play), generator_(generator) {}

  void play(Event event);

 private:
  double between(double low, double high) { return low + (high - low) * generator_.uniform(); }
  void wait(double seconds) { now_ += seconds; }
  void stand(double x) { play_.actor_.x = Track(x); }
  void stand_other(double x) { play_.other_.x = Track(x); }
  void go(double x, double seconds) {
    play_.actor_.x.change(now_, now_ + seconds, x);
    now_ += seconds;
  }
  void hop(double height, double seconds) {
    Track& y = play_.actor_.y;
    const double ground = y.last();
    y.change(now_, now_ + seconds / 2, ground + height);
    y.change(now_ + seconds / 2, now_ + seconds, ground);
    now_ += seconds;
  }
  void apple(AppleAt where) { play_.apple_.jump(now_, static_cast<double>(where)); }
  void lamp(bool lit) { play_.lamp_.jump(now_, lit ? 1 : 0); }

  void basket(bool in);
  void climb(bool up);
  void light(bool on);
  void move_box(bool away);
  void hand_over(bool gives);
  void stop(double seconds);
  void cross(bool quickly);
  void sleep(bool startled);
  void stumble();
  void hops(int count);
  void travel(bool overtakes);
  void light_and_hop(bool light_first);

  Play& play_;
  Generator& generator_;
  double now_ = 0;
};

void Director::basket(bool in) {
  const double far = between(0.12, 0.25), pause = between(0.3, 0.6), way = between(1.3, 1.7);
  play_.props_.basket = between(0.72, 0.8);
  play_.apple_ = Track(static_cast<double>(in ? AppleAt::actor : AppleAt::basket));
  stand(far);
  wait(pause);
  go(*play_.props_.basket - 0.17, way);
  wait(0.3);
  apple(in ? AppleAt::basket : AppleAt::actor);
  wait(0.3);
  go(far, way);
  wait(pause);
}

void Director::climb(bool up) {
  const double side = between(0.2, 0.32), top = between(0.62, 0.72);
  const double first = between(1.0, 1.8), second = between(1.0, 1.8), jump = 0.8;
  play_.props_.box = top;
  play_.box_ = Track(top);
  stand(up ? side : top);
  play_.actor_.y = Track(up ? 0 : kBoxHeight);
  wait(first);
  Track& y = play_.actor_.y;
  const double over = kBoxHeight + 0.14, to = up ? kBoxHeight : 0;
  // The way up and the way down are the same arc.
  y.change(now_, now_ + (up ? 0.6 : 0.4) * jump, over);
  y.change(now_ + (up ? 0.6 : 0.4) * jump, now_ + jump, to);
  go(up ? top : side, jump);
  wait(second);
}

void Director::light(bool on) {
  const double far = between(0.15, 0.28), pause = between(0.3, 0.6), way = between(1.2, 1.6);
  play_.props_.lamp = between(0.72, 0.8);
  play_.lamp_ = Track(on ? 0 : 1);
  stand(far);
  wait(pause);
  go(*play_.props_.lamp - 0.13, way);
  wait(0.3);
  lamp(on);
  wait(0.3);
  go(far, way);
  wait(pause);
}

void Director::move_box(bool away) {
  const double near = between(0.16, 0.22), distance = between(0.32, 0.4), gap = 0.24, way = between(2.4, 3.2);
  const double first = between(0.4, 0.8), second = between(0.4, 0.8);
  const double start = away ? near : near + distance;
  play_.props_.box = start + gap;
  play_.box_ = Track(start + gap);
  stand(start);
  wait(first);
  const double end = away ? near + distance : near;
  play_.box_.change(now_, now_ + way, end + gap);
  go(end, way);
  wait(second);
}

void Director::hand_over(bool gives) {
  const double far = between(0.12, 0.22), pause = between(0.3, 0.6), way = between(1.3, 1.7);
  const double partner = between(0.74, 0.82);
  stand_other(partner);
  play_.apple_ = Track(static_cast<double>(gives ? AppleAt::actor : AppleAt::other));
  stand(far);
  wait(pause);
  go(partner - 0.26, way);
  wait(0.3);
  apple(gives ? AppleAt::other : AppleAt::actor);
  wait(0.3);
  go(far, way);
  wait(pause);
}

void Director::stop(double seconds) {
  const double way = between(1.1, 1.4);
  play_.props_.bench = between(0.46, 0.54);
  stand(between(0.08, 0.14));
  wait(0.2);
  go(*play_.props_.bench, way);
  wait(seconds);
  go(between(0.86, 0.92), way);
  wait(0.2);
}

void Director::cross(bool quickly) {
  const double first = quickly ? between(1.3, 2.0) : between(0.2, 0.4),
               last = quickly ? between(1.3, 2.0) : between(0.2, 0.4);
  play_.props_.flag = 0.9;
  stand(between(0.1, 0.16));
  wait(first);
  go(between(0.78, 0.84), quickly ? 0.5 : between(3.2, 4.0));
  wait(last);
}

void Director::sleep(bool startled) {
  constexpr double kAsleep = 0.72, kBreath = 0.05, kBreathing = 0.9;
  const int breaths = 5, woken = startled ? 1 + static_cast<int>(generator_.index(3)) : -1;
  stand(between(0.35, 0.65));
  play_.actor_.squash = Track(kAsleep);
  play_.actor_.eyes = Track(0);
  for (int i = 0; i < breaths; ++i) {
    if (i == woken) {
      play_.actor_.eyes.jump(now_, 1);
      play_.actor_.squash.jump(now_, 1);
      hop(0.16, 0.4);
      play_.actor_.eyes.jump(now_, 0);
      play_.actor_.squash.jump(now_, kAsleep);
    }
    play_.actor_.squash.change(now_, now_ + kBreathing / 2, kAsleep + kBreath);
    play_.actor_.squash.change(now_ + kBreathing / 2, now_ + kBreathing, kAsleep);
    wait(kBreathing);
  }
}

void Director::stumble() {
  const double way = between(3.2, 4.0), start = between(0.1, 0.16), end = between(0.78, 0.84);
  const double share = between(0.35, 0.6);
  play_.props_.flag = 0.9;
  stand(start);
  wait(between(0.2, 0.4));
  go(start + share * (end - start), share * way);
  play_.actor_.angle.change(now_, now_ + 0.12, -std::numbers::pi / 2);
  play_.actor_.angle.change(now_ + 0.35, now_ + 0.5, 0);
  wait(0.5);
  go(end, (1 - share) * way);
  wait(between(0.2, 0.4));
}

void Director::hops(int count) {
  constexpr double kHop = 0.5, kWhole = 4.4;
  const double pause = (kWhole - count * kHop) / (count + 1);
  stand(between(0.35, 0.65));
  for (int i = 0; i < count; ++i) {
    wait(pause * between(0.7, 1.0));
    hop(0.22, kHop);
  }
  now_ = kWhole;
}

void Director::travel(bool overtakes) {
  const double way = between(3.0, 3.8), start = between(0.1, 0.15);
  stand(start);
  stand_other(start + 0.26);
  wait(0.3);
  play_.other_.x.change(now_, now_ + way, overtakes ? start + 0.46 : start + 0.7);
  go(overtakes ? start + 0.74 : start + 0.44, way);
  wait(0.3);
}

void Director::light_and_hop(bool light_first) {
  const double far = between(0.2, 0.3), pause = between(0.3, 0.5), way = between(0.9, 1.1);
  play_.props_.lamp = between(0.72, 0.8);
  stand(far);
  wait(pause);
  if (!light_first) {
    hop(0.22, 0.5);
    wait(pause);
  }
  go(*play_.props_.lamp - 0.13, way);
  wait(0.2);
  lamp(true);
  wait(0.2);
  go(far, way);
  if (light_first) {
    wait(pause);
    hop(0.22, 0.5);
  }
  wait(pause);
}

void Director::play(Event event) {
  switch (event) {
    case Event::put_in:
      basket(true);
      break;
    case Event::take_out:
      basket(false);
      break;
    case Event::climb_up:
      climb(true);
      break;
    case Event::climb_down:
      climb(false);
      break;
    case Event::switch_on:
      light(true);
      break;
    case Event::switch_off:
      light(false);
      break;
    case Event::push:
      move_box(true);
      break;
    case Event::pull:
      move_box(false);
      break;
    case Event::give:
      hand_over(true);
      break;
    case Event::take:
      hand_over(false);
      break;
    case Event::short_stop:
      stop(between(0.4, 0.6));
      break;
    case Event::long_stop:
      stop(between(2.6, 3.2));
      break;
    case Event::stroll:
      cross(false);
      break;
    case Event::dash:
      cross(true);
      break;
    case Event::sleep:
      sleep(false);
      break;
    case Event::startle:
      sleep(true);
      break;
    case Event::stumble:
      stumble();
      break;
    case Event::hop_once:
      hops(1);
      break;
    case Event::hop_often:
      hops(4);
      break;
    case Event::follow:
      travel(false);
      break;
    case Event::overtake:
      travel(true);
      break;
    case Event::light_then_hop:
      light_and_hop(true);
      break;
    case Event::hop_then_light:
      light_and_hop(false);
      break;
  }
  play_.seconds_ = now_;
}

Play::Play(Event event, bool mirrored, Generator& generator)
    : mirrored_(mirrored), has_other_(world::has_other(event)) {
  Director(*this, generator).play(event);
}

}  // namespace clipcap::world
