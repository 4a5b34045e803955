#include "clipcap/world/stage.h"

#include <array>
#include <cmath>
#include <numbers>

namespace clipcap::world {
namespace {

constexpr double kGround = 0.24;
constexpr std::array<const char*, kShapes> kShapeWords{"ball", "block", "triangle", "star", "ring"};
constexpr std::array<const char*, kPaints> kPaintWords{"red", "orange", "yellow", "green", "blue", "purple"};
constexpr std::array<const char*, kPlaces> kPlaceWords{"grass", "sand", "snow", "road"};
constexpr std::array<const char*, kHours> kHourWords{"day", "dusk", "night"};

constexpr std::array<Colour, kPaints> kPaintColours{{{0.86, 0.13, 0.12},
                                                     {0.98, 0.50, 0.08},
                                                     {0.97, 0.86, 0.16},
                                                     {0.10, 0.55, 0.22},
                                                     {0.13, 0.33, 0.90},
                                                     {0.58, 0.20, 0.72}}};
constexpr std::array<Colour, kPlaces> kGroundColours{
    {{0.50, 0.74, 0.36}, {0.90, 0.80, 0.56}, {0.94, 0.96, 0.98}, {0.42, 0.42, 0.46}}};

struct Sky {
  Colour below, above;
  double light;  // that falls on the ground
};
constexpr std::array<Sky, kHours> kSkies{{{{0.80, 0.92, 1.00}, {0.52, 0.76, 0.98}, 1.00},
                                          {{0.98, 0.72, 0.52}, {0.55, 0.40, 0.62}, 0.80},
                                          {{0.16, 0.18, 0.34}, {0.05, 0.06, 0.16}, 0.50}}};

constexpr Colour kWood{0.55, 0.36, 0.20}, kDarkWood{0.38, 0.24, 0.13}, kMetal{0.35, 0.36, 0.40},
    kBlack{0.06, 0.06, 0.08}, kWhite{0.98, 0.98, 0.98}, kStraw{0.80, 0.62, 0.30}, kApple{0.78, 0.08, 0.20},
    kLeaf{0.20, 0.60, 0.20}, kFlag{0.93, 0.20, 0.40};

Colour darkened(Colour colour, double light) {
  return {colour.red * light, colour.green * light, colour.blue * light};
}

void box(Canvas& canvas, double left, double right, double bottom, double top, Colour colour) {
  canvas.polygon({{left, bottom}, {right, bottom}, {right, top}, {left, top}}, colour);
}

void apple(Canvas& canvas, Point at) {
  canvas.disc(at, 0.034, kApple);
  box(canvas, at.x - 0.004, at.x + 0.004, at.y + 0.028, at.y + 0.052, kDarkWood);
  canvas.disc({at.x + 0.018, at.y + 0.044}, 0.012, kLeaf);
}

double radius_of(const Looks& looks) { return looks.big ? 0.115 : 0.08; }

// Corners of a shape of radius 1 around the origin.
std::vector<Point> corners(Shape shape) {
  std::vector<Point> result;
  const auto turn = [&](double radius, double degrees) {
    const double angle = degrees * std::numbers::pi / 180;
    result.push_back({radius * std::sin(angle), radius * std::cos(angle)});
  };
  switch (shape) {
    case Shape::block:
      return {{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}};
    case Shape::triangle:
      return {{-1.1, -0.9}, {1.1, -0.9}, {0, 1.1}};
    case Shape::star:
      for (int i = 0; i < 10; ++i) turn(i % 2 == 0 ? 1.2 : 0.56, 36.0 * i);
      return result;
    case Shape::ball:
    case Shape::ring:
      break;
  }
  for (int i = 0; i < 40; ++i) turn(1, 9.0 * i);
  return result;
}

// An actor stands on its lowest edge; leaning and squashing happen about its middle.
void actor(Canvas& canvas, const Looks& looks, const Pose& pose) {
  const double radius = radius_of(looks);
  const Point middle{pose.x, kGround + pose.y + 0.9 * radius * pose.squash};
  const double c = std::cos(pose.angle), s = std::sin(pose.angle);
  const auto placed = [&](Point p) {
    const double x = p.x * radius, y = p.y * radius * pose.squash;
    return Point{middle.x + c * x - s * y, middle.y + s * x + c * y};
  };
  std::vector<Point> outline, hole;
  for (const Point& corner : corners(looks.shape)) {
    outline.push_back(placed(corner));
    if (looks.shape == Shape::ring) hole.push_back(placed({0.5 * corner.x, 0.5 * corner.y}));
  }
  canvas.polygon(outline, kPaintColours[static_cast<size_t>(looks.paint)], hole);
  // In a ring the eyes sit on its upper edge.
  const double eye_y = looks.shape == Shape::ring ? 0.76 : looks.shape == Shape::triangle ? -0.1 : 0.2;
  for (const double side : {-0.3, 0.3}) {
    const Point eye = placed({side, eye_y});
    if (pose.eyes > 0.5) {
      canvas.disc(eye, 0.24 * radius, kWhite);
      canvas.disc(eye, 0.12 * radius, kBlack);
    } else {
      box(canvas, eye.x - 0.2 * radius, eye.x + 0.2 * radius, eye.y - 0.05 * radius, eye.y + 0.05 * radius,
          kBlack);
    }
  }
}

Point above(const Looks& looks, const Pose& pose) {
  return {pose.x, kGround + pose.y + 1.8 * radius_of(looks) * pose.squash + 0.045};
}

void lamp(Canvas& canvas, double x, bool lit) {
  box(canvas, x - 0.012, x + 0.012, kGround, kGround + 0.4, kMetal);
  box(canvas, x - 0.05, x + 0.05, kGround, kGround + 0.02, kMetal);
  const Point bulb{x, kGround + 0.43};
  if (lit) canvas.glow(bulb, 0.34, {0.55, 0.48, 0.20});
  canvas.disc(bulb, 0.055, lit ? Colour{1.0, 0.96, 0.62} : Colour{0.30, 0.31, 0.35});
  canvas.polygon({{x - 0.075, kGround + 0.45}, {x + 0.075, kGround + 0.45}, {x, kGround + 0.53}}, kMetal);
}

void bench(Canvas& canvas, double x) {
  box(canvas, x - 0.11, x + 0.11, kGround + 0.07, kGround + 0.095, kWood);
  box(canvas, x - 0.11, x + 0.11, kGround + 0.15, kGround + 0.175, kWood);
  for (const double side : {-0.09, 0.09})
    box(canvas, x + side - 0.01, x + side + 0.01, kGround, kGround + 0.19, kDarkWood);
}

void flag(Canvas& canvas, double x) {
  box(canvas, x - 0.01, x + 0.01, kGround, kGround + 0.42, kMetal);
  canvas.polygon({{x, kGround + 0.42}, {x, kGround + 0.29}, {x - 0.15, kGround + 0.355}}, kFlag);
}

void basket(Canvas& canvas, double x, bool full) {
  if (full) apple(canvas, {x, kGround + 0.115});
  canvas.polygon(
      {{x - 0.065, kGround}, {x + 0.065, kGround}, {x + 0.095, kGround + 0.11}, {x - 0.095, kGround + 0.11}},
      kStraw);
  box(canvas, x - 0.09, x + 0.09, kGround + 0.045, kGround + 0.06, kDarkWood);
}

}  // namespace

const char* word(Shape shape) { return kShapeWords[static_cast<size_t>(shape)]; }
const char* word(Paint paint) { return kPaintWords[static_cast<size_t>(paint)]; }
const char* word(Place place) { return kPlaceWords[static_cast<size_t>(place)]; }
const char* word(Hour hour) { return kHourWords[static_cast<size_t>(hour)]; }

Image draw(const Setting& setting, const Moment& moment) {
  Canvas canvas(kSide);
  const Sky& sky = kSkies[static_cast<size_t>(setting.hour)];
  canvas.landscape(kGround, darkened(kGroundColours[static_cast<size_t>(setting.place)], sky.light),
                   sky.below, sky.above);
  if (setting.hour == Hour::day) canvas.disc({0.86, 0.87}, 0.07, {1.0, 0.93, 0.45});
  if (setting.hour == Hour::night) {
    canvas.disc({0.86, 0.87}, 0.06, {0.93, 0.93, 0.85});
    canvas.disc({0.835, 0.885}, 0.052, {0.06, 0.07, 0.18});
  }
  if (setting.place == Place::road)
    for (int i = 0; i < 4; ++i)
      box(canvas, 0.06 + 0.26 * i, 0.16 + 0.26 * i, 0.10, 0.125, darkened(kWhite, sky.light));
  if (moment.flag) flag(canvas, *moment.flag);
  if (moment.bench) bench(canvas, *moment.bench);
  if (moment.lamp) lamp(canvas, *moment.lamp, moment.lamp_lit);
  if (moment.box) {
    box(canvas, *moment.box - 0.12, *moment.box + 0.12, kGround, kGround + kBoxHeight, kWood);
    box(canvas, *moment.box - 0.12, *moment.box + 0.12, kGround + 0.09, kGround + 0.11, kDarkWood);
  }
  if (moment.other) actor(canvas, setting.other, *moment.other);
  actor(canvas, setting.actor, moment.actor);
  if (moment.basket) basket(canvas, *moment.basket, moment.apple == AppleAt::basket);
  if (moment.apple == AppleAt::actor) apple(canvas, above(setting.actor, moment.actor));
  if (moment.apple == AppleAt::other && moment.other) apple(canvas, above(setting.other, *moment.other));
  return canvas.image();
}

}  // namespace clipcap::world
