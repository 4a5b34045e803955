// Flat shapes with smooth edges on a square picture: all that the generated world needs to draw itself.
#pragma once

#include <vector>

#include "clipcap/media/image.h"

namespace clipcap::world {

/// Light, each part in [0, 1].
struct Colour {
  double red, green, blue;
};

/// A place in the picture: (0,0) is the lower left corner, (1,1) the upper right one.
struct Point {
  double x, y;
};

class Canvas {
 public:
  explicit Canvas(int side);

  /// Fills everything below `height` with `ground` and the rest with a sky that changes from bottom to top.
  void landscape(double height, Colour ground, Colour sky_below, Colour sky_above);
  void disc(Point centre, double radius, Colour colour);
  /// `hole`, where given, stays free.
  void polygon(const std::vector<Point>& corners, Colour colour, const std::vector<Point>& hole = {});
  /// Light that is added, strongest in the middle and gone at `radius`.
  void glow(Point centre, double radius, Colour light);

  [[nodiscard]] Image image() const;

 private:
  // Blends `colour` where `distance(point)` is below 0; one pixel of transition.
  template <class Distance>
  void fill(Point centre, double reach, Colour colour, const Distance& distance);

  int side_;
  std::vector<Colour> pixels_;  // [side,side], the top row first
};

}  // namespace clipcap::world
