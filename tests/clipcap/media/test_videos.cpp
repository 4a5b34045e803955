// Videos as people have them against the frames that ffmpeg decodes of them
// (tools/fixtures/make_videos_golden.py), all orientations of the display matrix, colour matrices, and spans
// of such films.
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "clipcap/media/frame_image.h"
#include "clipcap/media/video.h"
#include "clipcap/media/video_writer.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Numbers = std::vector<int>;

std::filesystem::path folder() {
  const char* chosen = std::getenv("CLIPCAP_VIDEOS");
  return chosen != nullptr ? std::filesystem::path(chosen) : testing::golden_path("videos");
}

// The number that a frame of nine squares shows; -1 if none.
int number_of(const Image& image) {
  int number = 0;
  int light = 0;
  for (int64_t i = 0; i < 9; ++i) {
    const int64_t x = (2 * (i % 3) + 1) * image.width / 6;
    const int64_t y = (2 * (i / 3) + 1) * image.height / 6;
    const int level = image.rgb[static_cast<size_t>(3 * (y * image.width + x) + 1)];
    if (level > 80 && level < 176) return -1;
    if (level <= 128) continue;
    ++light;
    if (i < 8) number |= 1 << (7 - i);
  }
  return light % 2 == 1 ? number : -1;
}

Numbers numbers_of(VideoSpans& video, const FrameSampling& sampling) {
  Numbers numbers;
  video.read(sampling, [&](int64_t, Image&& image) { numbers.push_back(number_of(image)); });
  return numbers;
}

Numbers picked(const Numbers& all, const FrameSampling& sampling) {
  Numbers numbers;
  for (const int64_t i : sample_indices(static_cast<int64_t>(all.size()), sampling))
    numbers.push_back(all[static_cast<size_t>(i)]);
  return numbers;
}

}  // namespace

TEST_CASE("what is read of awkward videos is what ffmpeg decodes", "[videos]") {
  const nlohmann::json document =
      nlohmann::json::parse(read_text_file(folder() / "expected.json", 1U << 24U));
  REQUIRE(document.size() >= 35);
  for (const auto& [name, expected] : document.items()) {
    INFO(name);
    const std::filesystem::path path = folder() / name;
    if (expected == "encrypted") {
      CHECK(contains(message_of<InputError>([&] { VideoSpans video(path); }), "encrypted"));
      continue;
    }
    Numbers all;
    for (const int number : expected) {
      // At the cut beginning of a film, ffmpeg gives what its decoder made up.
      if (number >= 0) all.push_back(number);
    }
    VideoSpans video(path);
    CHECK(std::abs(video.duration() * 25 - static_cast<double>(all.size())) <
          (name == "whole.gif" ? 3 : 2.1));
    using Rule = FrameSampling::Rule;
    for (const FrameSampling& sampling :
         {FrameSampling{1000}, FrameSampling{10}, FrameSampling{7}, FrameSampling{7, Rule::linspace},
          FrameSampling{1}, FrameSampling{static_cast<int64_t>(all.size()) - 1}}) {
      INFO(sampling.frames);
      CHECK(numbers_of(video, sampling) ==
            picked(all, sampling));  // the second time from where the first ended
      VideoSpans again(path);
      CHECK(numbers_of(again, sampling) == picked(all, sampling));
    }
  }
}

TEST_CASE("spans of awkward videos are read one after the other, and back", "[videos]") {
  for (const char* name : {"joined.ts", "hevc_open.ts", "zero.mkv", "cover.mp4", "packed.avi"}) {
    INFO(name);
    VideoSpans video(folder() / name);
    const auto span = [&](double begin, double end, int64_t frames) {
      Numbers numbers;
      video.read(begin, end, {frames}, [&](int64_t, Image&& image) { numbers.push_back(number_of(image)); });
      return numbers;
    };
    CHECK(span(0.0, 0.4, 5) == Numbers{1, 3, 5, 7, 9});
    CHECK(span(0.4, 0.8, 2) == Numbers{12, 17});
    CHECK(span(0.8, 0.96, 100) == Numbers{20, 21, 22, 23});
    CHECK(span(0.96, 1.0, 3) == Numbers{24});
    CHECK(span(0.0, 0.08, 40) == Numbers{0, 1});  // back again
    CHECK(span(1.8, 100.0, 40) == Numbers{45, 46, 47});
    CHECK(span(50.0, 60.0, 40) == Numbers{47});
  }
}

TEST_CASE("all eight orientations of a display matrix are applied", "[videos]") {
  const TemporaryFolder scratch("videos_orientation");
  Image corner{64, 32, std::vector<uint8_t>(size_t{3} * 64 * 32, 20)};  // the upper left quarter is white
  for (int64_t y = 0; y < 16; ++y) {
    for (int64_t i = 0; i < 3 * 32; ++i) corner.rgb[static_cast<size_t>(3 * 64 * y + i)] = 235;
  }
  write_video(scratch.path() / "plain.mp4", {corner}, {});
  const std::string plain = file_bytes(scratch.path() / "plain.mp4");
  const size_t header = plain.find("tkhd");
  REQUIRE(header != std::string::npos);
  for (int kind = 0; kind < 8; ++kind) {
    const bool transposed = kind >= 4;
    const int first = (kind & 1) != 0 ? -1 : 1;
    const int second = (kind & 2) != 0 ? -1 : 1;
    const int a = transposed ? 0 : first;
    const int b = transposed ? second : 0;
    const int c = transposed ? first : 0;
    const int d = transposed ? 0 : second;
    INFO(a << ' ' << b << ' ' << c << ' ' << d);
    std::string bytes = plain;
    const auto put = [&](size_t place, int value) {
      const auto number = static_cast<uint32_t>(value * 65536);
      for (size_t i = 0; i < 4; ++i)
        bytes[header + 44 + 4 * place + i] = static_cast<char>(number >> (24 - 8 * i));
    };
    put(0, a), put(1, b), put(3, c), put(4, d);
    read_video(scratch.write("turned.mp4", bytes), {}, [&](int64_t, Image&& image) {
      CHECK(image.width == (transposed ? 32 : 64));
      CHECK(image.height == (transposed ? 64 : 32));
      for (int low = 0; low < 2; ++low) {
        for (int right = 0; right < 2; ++right) {
          const int64_t x = image.width * (2 * right + 1) / 4;
          const int64_t y = image.height * (2 * low + 1) / 4;
          const bool white = image.rgb[static_cast<size_t>(3 * (y * image.width + x))] > 128;
          CHECK(white == (right == (a + c < 0 ? 1 : 0) && low == (b + d < 0 ? 1 : 0)));
        }
      }
    });
  }
}

TEST_CASE("YCbCr becomes RGB by the matrix and range that the frame names", "[videos]") {
  struct Kind {
    AVColorSpace space;
    double kr;
    double kb;
  };
  for (const Kind& kind :
       {Kind{AVCOL_SPC_BT709, 0.2126, 0.0722}, Kind{AVCOL_SPC_UNSPECIFIED, 0.299, 0.114},
        Kind{AVCOL_SPC_FCC, 0.3, 0.11}, Kind{AVCOL_SPC_BT470BG, 0.299, 0.114},
        Kind{AVCOL_SPC_SMPTE170M, 0.299, 0.114}, Kind{AVCOL_SPC_SMPTE240M, 0.212, 0.087},
        Kind{AVCOL_SPC_BT2020_NCL, 0.2627, 0.0593}, Kind{AVCOL_SPC_BT2020_CL, 0.2627, 0.0593},
        Kind{AVCOL_SPC_RGB, 0.299, 0.114}, Kind{AVCOL_SPC_YCGCO, 0.299, 0.114}}) {
    for (const bool full : {false, true}) {
      INFO("matrix " << kind.space << (full ? " full" : " limited"));
      const ffmpeg::Owner<AVFrame> frame(av_frame_alloc());
      frame->format = AV_PIX_FMT_YUV444P;
      frame->width = frame->height = 16;
      frame->colorspace = kind.space;
      frame->color_range = full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
      REQUIRE(av_frame_get_buffer(frame.get(), 0) == 0);
      const int levels[3] = {120, 100, 160};
      for (int plane = 0; plane < 3; ++plane) {
        std::fill_n(frame->data[plane], 16 * static_cast<size_t>(frame->linesize[plane]),
                    static_cast<uint8_t>(levels[plane]));
      }
      FrameConverter converter("test");
      const Image image = converter.convert(*frame, {0, 1}, {});
      const double y = full ? 120.0 : (120.0 - 16) * 255 / 219;
      const double u = (100.0 - 128) * (full ? 1.0 : 255.0 / 224);
      const double v = (160.0 - 128) * (full ? 1.0 : 255.0 / 224);
      const double r = y + 2 * (1 - kind.kr) * v;
      const double b = y + 2 * (1 - kind.kb) * u;
      const double g = (y - kind.kr * r - kind.kb * b) / (1 - kind.kr - kind.kb);
      const double expected[3] = {r, g, b};
      for (size_t i = 0; i < 3; ++i) {
        INFO(i << ": " << int{image.rgb[i]} << " for " << expected[i]);
        CHECK(std::abs(image.rgb[i] - expected[i]) < 1.6);
      }
    }
  }
}

}  // namespace clipcap
