#include "clipcap/media/bmp.h"

#include <algorithm>
#include <array>

#include "clipcap/media/picture_limits.h"

namespace clipcap {
namespace {

enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

struct Header {
  uint32_t length = 0;
  int64_t width = 0;
  int64_t height = 0;
  uint32_t bits = 0;
  uint32_t compression = kRaw;
  int64_t colours = 0;  // of the palette
  bool top_down = false;
  std::array<uint32_t, 4> masks{};  // red, green, blue, alpha
  size_t palette_at = 0;
  size_t pixels_at = 0;
};

// Where the bytes of a pixel's red, green, blue and alpha lie; alpha -1: none.
struct Layout {
  std::array<uint32_t, 4> masks;
  std::array<int, 4> bytes;
};
constexpr Layout kLayouts[] = {
    // of 32 bits; Pillow knows no others
    {{0xFF0000, 0xFF00, 0xFF, 0}, {2, 1, 0, -1}},
    {{0xFF000000, 0xFF0000, 0xFF00, 0}, {3, 2, 1, -1}},
    {{0xFF000000, 0xFF00, 0xFF, 0}, {3, 1, 0, -1}},
    {{0xFF000000, 0xFF0000, 0xFF00, 0xFF}, {3, 2, 1, 0}},
    {{0xFF, 0xFF00, 0xFF0000, 0xFF000000}, {0, 1, 2, 3}},
    {{0xFF0000, 0xFF00, 0xFF, 0xFF000000}, {2, 1, 0, 3}},
    {{0xFF000000, 0xFF00, 0xFF, 0xFF0000}, {3, 1, 0, 2}},
    {{0, 0, 0, 0}, {2, 1, 0, 3}},
};
constexpr std::array<uint32_t, 3> kMasks565{0xF800, 0x7E0, 0x1F};
constexpr std::array<uint32_t, 3> kMasks555{0x7C00, 0x3E0, 0x1F};
constexpr std::array<uint32_t, 3> kMasks888{0xFF0000, 0xFF00, 0xFF};

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  Image read() {
    read_header();
    check_picture_size(name_, header_.width, header_.height);
    if (header_.compression == kRaw || header_.compression == kBitFields)
      static_cast<void>(
          row_at(header_.top_down ? header_.height - 1 : 0));  // before there is room for the picture
    Image image{header_.width, header_.height, {}};
    image.rgb.resize(static_cast<size_t>(3 * image.width * image.height));
    if (header_.bits <= 8) {
      read_indexed(image);
    } else if (header_.bits == 16) {
      read_16(image);
    } else {
      read_bytes(image);
    }
    return image;
  }

 private:
  [[nodiscard]] uint32_t number(size_t at, size_t width) const {
    CHECK_INPUT(at + width <= bytes_.size(), name_, ": broken picture (the BMP ends in its header)");
    uint32_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8U | std::to_integer<uint32_t>(bytes_[at + i]);
    return value;
  }
  [[nodiscard]] uint8_t byte(size_t at) const { return std::to_integer<uint8_t>(bytes_[at]); }

  void read_header() {
    Header& h = header_;
    h.pixels_at = number(10, 4);
    h.length = number(14, 4);
    const bool core = h.length == 12;
    CHECK_INPUT(core || h.length == 40 || h.length == 52 || h.length == 56 || h.length == 64 ||
                    h.length == 108 || h.length == 124,
                name_, ": a BMP with a header of ", h.length, " bytes, which is not read");
    if (core) {
      h.width = number(18, 2);
      h.height = number(20, 2);
      h.bits = number(24, 2);
    } else {
      h.width = number(18, 4);
      h.top_down = number(25, 1) == 0xFF;
      h.height = h.top_down ? (int64_t{1} << 32) - number(22, 4) : number(22, 4);
      h.bits = number(28, 2);
      h.compression = number(30, 4);
      h.colours = number(46, 4);
    }
    CHECK_INPUT(h.bits == 1 || h.bits == 4 || h.bits == 8 || h.bits == 16 || h.bits == 24 || h.bits == 32,
                name_, ": a BMP of ", h.bits, " bits a pixel, which is not read");
    CHECK_INPUT(h.compression <= kBitFields, name_, ": a BMP of compression ", h.compression,
                ", which is not read (none, run-length and bit fields are)");
    const bool rle = h.compression == kRle8 || h.compression == kRle4;
    CHECK_INPUT(!rle || h.bits <= 8, name_, ": broken picture (a run-length compressed BMP of ", h.bits,
                " bits)");
    size_t at = 14 + h.length;
    if (h.compression == kBitFields) {
      const bool inside = h.length >= 52;
      for (size_t i = 0; i < (h.length >= 56 ? 4 : 3); ++i)
        h.masks[i] = number((inside ? 54 : at) + 4 * i, 4);
      if (!inside) at += 12;
    }
    if (h.colours == 0) h.colours = int64_t{1} << h.bits;
    h.palette_at = at;
    if (h.bits <= 8) {
      CHECK_INPUT(h.colours <= 65536, name_, ": broken picture (a BMP palette of ", h.colours, " colours)");
      const auto palette = static_cast<size_t>(h.colours) * entry();
      at += palette;
      if (h.pixels_at == 14 + h.length) h.pixels_at += palette;  // the palette was forgotten
    }
    if (h.pixels_at == 0) h.pixels_at = at;
  }

  [[nodiscard]] size_t entry() const { return header_.length == 12 ? 3 : 4; }

  // Blue, green, red of a palette's colour; black past its end.
  [[nodiscard]] std::array<uint8_t, 3> colour(size_t index) const {
    const size_t at = header_.palette_at + index * entry();
    if (static_cast<int64_t>(index) >= header_.colours || at + 3 > bytes_.size()) return {};
    return {byte(at), byte(at + 1), byte(at + 2)};
  }

  // Whether the palette is no more than grey levels in order: Pillow then opens the picture as greyscale.
  [[nodiscard]] bool has_grey_palette() const {
    for (int64_t i = 0; i < header_.colours; ++i) {
      const auto level = static_cast<uint8_t>(header_.colours == 2 ? i * 255 : i);
      const size_t at = header_.palette_at + static_cast<size_t>(i) * entry();
      if (at + 3 > bytes_.size() || byte(at) != level || byte(at + 1) != level || byte(at + 2) != level)
        return false;
    }
    return true;
  }

  // First byte of a row of the picture, counted from its top.
  [[nodiscard]] size_t row_at(int64_t y) const {
    const int64_t stored = header_.top_down ? y : header_.height - 1 - y;
    const int64_t stride = ((header_.width * header_.bits + 31) >> 3) & ~int64_t{3};
    const size_t at = header_.pixels_at + static_cast<size_t>(stored * stride);
    const size_t needed = static_cast<size_t>((header_.width * header_.bits + 7) / 8);
    CHECK_INPUT(at + needed <= bytes_.size(), name_, ": broken picture (the BMP ends before its last row)");
    return at;
  }

  void read_indexed(Image& image) {
    const Header& h = header_;
    const bool rle = h.compression == kRle8 || h.compression == kRle4;
    CHECK_INPUT(h.compression != kBitFields, name_, ": a BMP of ", h.bits,
                " bits with bit fields, which is not read");
    const std::vector<uint8_t> runs = rle ? unpacked_runs() : std::vector<uint8_t>();
    const bool grey = has_grey_palette();
    image.mode = grey && h.colours > 2 ? PixelMode::rgb : PixelMode::indexed;
    std::array<std::array<uint8_t, 3>, 256> palette{};
    for (size_t i = 0; i < palette.size(); ++i) palette[i] = colour(i);
    uint8_t* to = image.rgb.data();
    for (int64_t y = 0; y < h.height; ++y) {
      const size_t row = rle ? static_cast<size_t>((h.top_down ? y : h.height - 1 - y) * h.width) : row_at(y);
      for (int64_t x = 0; x < h.width; ++x, to += 3) {
        size_t index = 0;
        if (rle) {
          index = runs[row + static_cast<size_t>(x)];
        } else {
          const auto bit = static_cast<size_t>(x) * h.bits;
          const unsigned shift = 8U - h.bits - static_cast<unsigned>(bit % 8);
          index = byte(row + bit / 8) >> shift & ((1U << h.bits) - 1U);
        }
        const std::array<uint8_t, 3>& bgr = palette[index];
        to[0] = bgr[2], to[1] = bgr[1], to[2] = bgr[0];
      }
    }
  }

  // Indices by rows as they are stored. What Pillow makes of runs that leave their row is kept: all later
  // pixels move.
  [[nodiscard]] std::vector<uint8_t> unpacked_runs() const {
    const bool four = header_.compression == kRle4;
    const auto width = static_cast<size_t>(header_.width);
    const size_t count = width * static_cast<size_t>(header_.height);
    std::vector<uint8_t> data;
    data.reserve(count + 255);
    size_t at = header_.pixels_at;
    size_t x = 0;
    while (data.size() < count && at + 2 <= bytes_.size()) {
      size_t run = byte(at);
      const uint8_t value = byte(at + 1);
      at += 2;
      if (run > 0) {
        if (x + run > width) run = x < width ? width - x : 0;
        for (size_t i = 0; i < run; ++i)
          data.push_back(!four ? value : i % 2 == 0 ? value >> 4U : value & 15U);
        x += run;
      } else if (value == 0) {  // end of the row
        while (data.size() % width != 0) data.push_back(0);
        x = 0;
      } else if (value == 1) {  // end of the picture
        break;
      } else if (value == 2) {  // a jump
        if (at + 2 > bytes_.size()) break;
        data.resize(std::min(count, data.size() + byte(at) + byte(at + 1) * width));
        at += 2;
        x = data.size() % width;
      } else {  // pixels one by one
        const size_t pixels = std::min<size_t>(count - data.size(), value);
        const size_t stored = four ? (pixels + 1) / 2 : pixels;
        if (at + stored > bytes_.size()) break;
        for (size_t i = 0; i < pixels; ++i) {
          data.push_back(!four ? byte(at + i) : i % 2 == 0 ? byte(at + i / 2) >> 4U : byte(at + i / 2) & 15U);
        }
        at += stored;
        if (data.size() == count) break;
        x += value;
        at += at % 2;
      }
    }
    CHECK_INPUT(data.size() >= count, name_, ": broken picture (the run-length compressed BMP lacks ",
                count - std::min(count, data.size()), " pixels)");
    return data;
  }

  [[nodiscard]] bool has_masks(const std::array<uint32_t, 3>& masks) const {
    return std::equal(masks.begin(), masks.end(), header_.masks.begin());
  }
  [[noreturn]] void refuse_masks() const {
    fail_input(name_, ": a BMP of ", header_.bits,
               " bits with bit fields of an unusual layout, which is not read");
  }

  void read_16(Image& image) {
    const bool six = header_.compression == kBitFields && has_masks(kMasks565);  // bits of green
    if (header_.compression == kBitFields && !six && !has_masks(kMasks555)) refuse_masks();
    uint8_t* to = image.rgb.data();
    for (int64_t y = 0; y < image.height; ++y) {
      size_t at = row_at(y);
      for (int64_t x = 0; x < image.width; ++x, at += 2, to += 3) {
        const unsigned pixel = byte(at) | static_cast<unsigned>(byte(at + 1)) << 8U;
        to[0] = static_cast<uint8_t>((pixel >> (six ? 11U : 10U) & 31U) * 255 / 31);
        to[1] = static_cast<uint8_t>(six ? (pixel >> 5U & 63U) * 255 / 63 : (pixel >> 5U & 31U) * 255 / 31);
        to[2] = static_cast<uint8_t>((pixel & 31U) * 255 / 31);
      }
    }
  }

  void read_bytes(Image& image) {
    const size_t width = header_.bits / 8;
    std::array<int, 4> places{2, 1, 0, -1};
    if (header_.compression == kBitFields && width == 3 && !has_masks(kMasks888)) refuse_masks();
    if (header_.compression == kBitFields && width == 4) {
      const auto* layout = std::find_if(std::begin(kLayouts), std::end(kLayouts),
                                        [&](const Layout& one) { return one.masks == header_.masks; });
      if (layout == std::end(kLayouts)) refuse_masks();
      places = layout->bytes;
    }
    if (places[3] >= 0) {
      image.mode = PixelMode::alpha;
      image.alpha.reserve(image.rgb.size() / 3);
    }
    uint8_t* to = image.rgb.data();
    for (int64_t y = 0; y < image.height; ++y) {
      size_t at = row_at(y);
      for (int64_t x = 0; x < image.width; ++x, at += width, to += 3) {
        for (size_t c = 0; c < 3; ++c) to[c] = byte(at + static_cast<size_t>(places[c]));
        if (places[3] >= 0) image.alpha.push_back(byte(at + static_cast<size_t>(places[3])));
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  Header header_;
};

}  // namespace

Image read_bmp(std::span<const std::byte> bytes, const std::string& name) {
  return Reader(bytes, name).read();
}

}  // namespace clipcap
