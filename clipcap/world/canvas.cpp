#include "clipcap/world/canvas.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace clipcap::world {
namespace {

Colour mix(Colour a, Colour b, double share) {
  return {a.red + (b.red - a.red) * share, a.green + (b.green - a.green) * share,
          a.blue + (b.blue - a.blue) * share};
}

uint8_t byte_of(double light) { return static_cast<uint8_t>(std::lround(255 * std::clamp(light, 0.0, 1.0))); }

// Signed distance to a polygon: negative inside, by the even-odd rule.
double polygon_distance(const std::vector<Point>& corners, Point p) {
  double nearest = std::numeric_limits<double>::max();
  bool inside = false;
  for (size_t i = 0, j = corners.size() - 1; i < corners.size(); j = i++) {
    const Point a = corners[i], b = corners[j];
    const double ex = b.x - a.x, ey = b.y - a.y, px = p.x - a.x, py = p.y - a.y;
    const double along = std::clamp((px * ex + py * ey) / (ex * ex + ey * ey), 0.0, 1.0);
    nearest = std::min(nearest, std::hypot(px - along * ex, py - along * ey));
    if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside ? -nearest : nearest;
}

}  // namespace

Canvas::Canvas(int side) : side_(side), pixels_(static_cast<size_t>(side) * static_cast<size_t>(side)) {}

template <class Distance>
void Canvas::fill(Point centre, double reach, Colour colour, const Distance& distance) {
  const double side = side_;
  const auto bound = [&](double value) {
    return static_cast<int>(std::clamp(std::floor(value * side), 0.0, side - 1));
  };
  const int first_row = bound(1 - centre.y - reach - 1 / side),
            last_row = bound(1 - centre.y + reach + 1 / side);
  const int first = bound(centre.x - reach - 1 / side), last = bound(centre.x + reach + 1 / side);
  for (int row = first_row; row <= last_row; ++row) {
    for (int column = first; column <= last; ++column) {
      const Point p{(column + 0.5) / side, 1 - (row + 0.5) / side};
      const double covered = std::clamp(0.5 - distance(p) * side, 0.0, 1.0);
      Colour& pixel =
          pixels_[static_cast<size_t>(row) * static_cast<size_t>(side_) + static_cast<size_t>(column)];
      pixel = mix(pixel, colour, covered);
    }
  }
}

void Canvas::landscape(double height, Colour ground, Colour sky_below, Colour sky_above) {
  for (int row = 0; row < side_; ++row) {
    const double y = 1 - (row + 0.5) / side_;
    const Colour sky = mix(sky_below, sky_above, (y - height) / (1 - height));
    const double earth = std::clamp(0.5 - (y - height) * side_, 0.0, 1.0);
    const auto begin = pixels_.begin() + static_cast<std::ptrdiff_t>(row) * side_;
    std::fill(begin, begin + side_, mix(sky, ground, earth));
  }
}

void Canvas::disc(Point centre, double radius, Colour colour) {
  fill(centre, radius, colour, [&](Point p) { return std::hypot(p.x - centre.x, p.y - centre.y) - radius; });
}

void Canvas::polygon(const std::vector<Point>& corners, Colour colour, const std::vector<Point>& hole) {
  Point centre{0, 0};
  for (const Point& corner : corners) {
    centre.x += corner.x / static_cast<double>(corners.size());
    centre.y += corner.y / static_cast<double>(corners.size());
  }
  double reach = 0;
  for (const Point& corner : corners)
    reach = std::max({reach, std::abs(corner.x - centre.x), std::abs(corner.y - centre.y)});
  fill(centre, reach, colour, [&](Point p) {
    const double outside = polygon_distance(corners, p);
    return hole.empty() ? outside : std::max(outside, -polygon_distance(hole, p));
  });
}

void Canvas::glow(Point centre, double radius, Colour light) {
  for (int row = 0; row < side_; ++row) {
    for (int column = 0; column < side_; ++column) {
      const Point p{(column + 0.5) / side_, 1 - (row + 0.5) / side_};
      const double strength = std::max(0.0, 1 - std::hypot(p.x - centre.x, p.y - centre.y) / radius);
      Colour& pixel =
          pixels_[static_cast<size_t>(row) * static_cast<size_t>(side_) + static_cast<size_t>(column)];
      pixel.red += light.red * strength;
      pixel.green += light.green * strength;
      pixel.blue += light.blue * strength;
    }
  }
}

Image Canvas::image() const {
  Image image{side_, side_, {}};
  image.rgb.reserve(pixels_.size() * 3);
  for (const Colour& pixel : pixels_)
    for (const double light : {pixel.red, pixel.green, pixel.blue}) image.rgb.push_back(byte_of(light));
  return image;
}

}  // namespace clipcap::world
