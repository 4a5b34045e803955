// One moment of the generated world and its picture: actors, the things they handle, the place and the hour.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "clipcap/world/canvas.h"

namespace clipcap::world {

/// Pixels of a frame's side.
inline constexpr int kSide = 128;

enum class Shape : uint8_t { ball, block, triangle, star, ring };
enum class Paint : uint8_t { red, orange, yellow, green, blue, purple };
enum class Place : uint8_t { grass, sand, snow, road };
enum class Hour : uint8_t { day, dusk, night };
inline constexpr int kShapes = 5, kPaints = 6, kPlaces = 4, kHours = 3;

/// "ball", "red", …: the words for them, the usual one first.
[[nodiscard]] const char* word(Shape shape);
[[nodiscard]] const char* word(Paint paint);
[[nodiscard]] const char* word(Place place);
[[nodiscard]] const char* word(Hour hour);

/// What an actor looks like, all through a clip.
struct Looks {
  Shape shape = Shape::ball;
  Paint paint = Paint::red;
  bool big = false;
};

/// How an actor stands at one moment. Eyes look at the viewer: a single frame does not tell where it is going.
struct Pose {
  double x = 0.5;     // of its middle
  double y = 0;       // above the ground
  double angle = 0;   // radians it leans, to the left
  double squash = 1;  // height against its own
  double eyes = 1;    // open above 0.5
};

enum class AppleAt : uint8_t { nowhere, actor, other, basket };

/// Everything that a frame shows.
struct Moment {
  Pose actor;
  std::optional<Pose> other;
  std::optional<double> box, lamp, basket, flag, bench;  // x of things that stand there
  bool lamp_lit = false;
  AppleAt apple = AppleAt::nowhere;
};

struct Setting {
  Place place = Place::grass;
  Hour hour = Hour::day;
  Looks actor, other;
};

/// Height of the box that actors climb.
inline constexpr double kBoxHeight = 0.2;

[[nodiscard]] Image draw(const Setting& setting, const Moment& moment);

}  // namespace clipcap::world
