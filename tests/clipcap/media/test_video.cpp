// Reading video: which frames are taken, that seeking finds the same ones as decoding everything,
// orientation, pixel shape, and every kind of broken file. The clips are encoded here, each frame carrying
// its number as bars.
#include "clipcap/media/video.h"

#include <cmath>

#include "clipcap/data/annotations.h"
#include "clipcap/media/clip_source.h"
#include "clipcap/media/video_writer.h"
#include "clipcap/text/vocabulary.h"
#include "clipcap/world/drawn_clips.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

constexpr int64_t kBits = 8;

// 128 x 64: eight vertical bars, white for the set bits of `number`, the lowest on the left.
Image numbered(int number) {
  Image image{128, 64, std::vector<uint8_t>(128 * 64 * 3)};
  for (int64_t i = 0; i < 128 * 64; ++i) {
    const bool set = (number >> (i % 128 / (128 / kBits)) & 1) != 0;
    for (int64_t c = 0; c < 3; ++c) image.rgb[static_cast<size_t>(3 * i + c)] = set ? 235 : 20;
  }
  return image;
}

int number_of(const Image& image) {
  int number = 0;
  for (int64_t bit = 0; bit < kBits; ++bit) {
    const int64_t x = (2 * bit + 1) * image.width / (2 * kBits);
    if (image.rgb[static_cast<size_t>((image.height / 2 * image.width + x) * 3)] > 128) number |= 1 << bit;
  }
  return number;
}

std::vector<Image> numbered_frames(int count) {
  std::vector<Image> frames;
  for (int i = 0; i < count; ++i) frames.push_back(numbered(i));
  return frames;
}

std::vector<int> numbers_in(const std::filesystem::path& path, int64_t frames,
                            FrameSampling::Rule rule = FrameSampling::Rule::middles) {
  std::vector<int> numbers;
  const int64_t given = read_video(path, {frames, rule}, [&](int64_t index, Image&& image) {
    CHECK(index == static_cast<int64_t>(numbers.size()));
    REQUIRE(image.rgb.size() == static_cast<size_t>(image.width * image.height * 3));
    numbers.push_back(number_of(image));
  });
  CHECK(given == static_cast<int64_t>(numbers.size()));
  return numbers;
}

std::vector<int> first_numbers(int count) {
  std::vector<int> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(i);
  return numbers;
}

std::string error_of(const std::filesystem::path& path) {
  return message_of<InputError>([&] { read_video(path, {}, [](int64_t, Image&&) {}); });
}

// One second of 8-bit silence at 8 kHz.
std::string silent_wav() {
  const auto number = [](uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
    return text;
  };
  return "RIFF" + number(36 + 8000, 4) + "WAVEfmt " + number(16, 4) + number(1, 2) + number(1, 2) +
         number(8000, 4) + number(8000, 4) + number(1, 2) + number(8, 2) + "data" + number(8000, 4) +
         std::string(8000, '\x80');
}

}  // namespace

TEST_CASE("frames at the middles of equal spans, or by linspace", "[video]") {
  using Indices = std::vector<int64_t>;
  CHECK(sample_indices(8, {4}) == Indices{1, 3, 5, 7});
  CHECK(sample_indices(9, {3}) == Indices{1, 4, 7});
  CHECK(sample_indices(3, {40}) == Indices{0, 1, 2});
  CHECK(sample_indices(0, {4}).empty());
  // numpy.round(numpy.linspace(0, N-1, n)): halves go to the even number
  CHECK(sample_indices(8, {4, FrameSampling::Rule::linspace}) == Indices{0, 2, 5, 7});
  CHECK(sample_indices(6, {3, FrameSampling::Rule::linspace}) == Indices{0, 2, 5});
  CHECK(sample_indices(8, {3, FrameSampling::Rule::linspace}) == Indices{0, 4, 7});
  CHECK(sample_indices(5, {1, FrameSampling::Rule::linspace}) == Indices{0});
}

TEST_CASE("seeking gives the same frames as decoding everything, in every container", "[video]") {
  const TemporaryFolder folder("video_containers");
  struct Kind {
    const char* name;
    const char* codec;
    int b_frames;
  };
  for (const Kind& kind :
       {Kind{"a.mp4", "mpeg4", 0}, Kind{"b.mp4", "mpeg4", 2}, Kind{"c.mkv", "mpeg4", 2},
        Kind{"d.avi", "mpeg4", 0}, Kind{"e.avi", "mpeg4", 2}, Kind{"f.mov", "mpeg4", 2},
        Kind{"g.ts", "mpeg2video", 2}, Kind{"h.mpg", "mpeg2video", 2}, Kind{"i.flv", "flv", 0},
        Kind{"j.mp4", "libx264", 2}, Kind{"k.mkv", "libx264", 3}, Kind{"l.ts", "libx264", 2},
        Kind{"m.webm", "libvpx", 0}, Kind{"n.webm", "libvpx-vp9", 0}, Kind{"o.m4v", "mpeg4", 2},
        Kind{"p.h264", "libx264", 0}, Kind{"q.h264", "libx264", 2}}) {
    INFO(kind.name << " " << kind.codec);
    const std::filesystem::path path = folder.path() / kind.name;
    VideoWriterOptions options;
    options.codec = kind.codec;
    options.b_frames = kind.b_frames;
    options.frames_per_second = 25;
    try {
      write_video(path, numbered_frames(100), options);
    } catch (const Error& error) {
      WARN("not tried: " << error.what());  // FFmpeg was built without this encoder
      continue;
    }
    CHECK(numbers_in(path, 100) == first_numbers(100));
    CHECK(numbers_in(path, 5) == std::vector<int>{10, 30, 50, 70, 90});
    CHECK(numbers_in(path, 1) == std::vector<int>{50});
    CHECK(numbers_in(path, 3, FrameSampling::Rule::linspace) == std::vector<int>{0, 50, 99});
    CHECK(numbers_in(path, 40) == [] {
      std::vector<int> expected;
      for (int64_t i = 0; i < 40; ++i) expected.push_back(static_cast<int>((2 * i + 1) * 100 / 80));
      return expected;
    }());
  }
}

TEST_CASE("short clips give each frame once", "[video]") {
  const TemporaryFolder folder("video_short");
  for (const int count : {1, 2, 7}) {
    const std::filesystem::path path = folder.path() / "short.mp4";
    write_video(path, numbered_frames(count), {});
    CHECK(numbers_in(path, 40) == first_numbers(count));
    CHECK(numbers_in(path, 40, FrameSampling::Rule::linspace) == first_numbers(count));
    CHECK(numbers_in(path, 1).size() == 1);
  }
}

TEST_CASE("a variable frame rate is read by time, not by count", "[video]") {
  const TemporaryFolder folder("video_vfr");
  VideoWriterOptions options;
  options.frames_per_second = 10;
  options.timestamps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101, 102};  // frame 9 stands for nine seconds
  for (const char* name : {"vfr.mkv", "vfr.mp4"}) {
    INFO(name);
    const std::filesystem::path path = folder.path() / name;
    write_video(path, numbered_frames(13), options);
    CHECK(numbers_in(path, 4) == std::vector<int>{9, 9, 9, 9});
    const std::vector<int> ten = numbers_in(path, 10);
    CHECK(ten == std::vector<int>{5, 9, 9, 9, 9, 9, 9, 9, 9, 9});
    CHECK(numbers_in(path, 13) == first_numbers(13));
    CHECK(numbers_in(path, 3, FrameSampling::Rule::linspace) == std::vector<int>{0, 6, 12});
  }
}

TEST_CASE("a film is read span by span as if each were a file of its own", "[video]") {
  const TemporaryFolder folder("video_spans");
  struct Kind {
    const char* name;
    const char* codec;
    int b_frames;
  };
  for (const Kind& kind : {Kind{"a.mp4", "mpeg4", 2}, Kind{"b.mkv", "mpeg4", 0}, Kind{"c.avi", "mpeg4", 2},
                           Kind{"d.ts", "mpeg2video", 2}, Kind{"e.mp4", "libx264", 2},
                           Kind{"f.h264", "libx264", 2}, Kind{"g.webm", "libvpx-vp9", 0}}) {
    INFO(kind.name << " " << kind.codec);
    const std::filesystem::path path = folder.path() / kind.name;
    VideoWriterOptions options;
    options.codec = kind.codec;
    options.b_frames = kind.b_frames;
    options.frames_per_second = 25;
    try {
      write_video(path, numbered_frames(110), options);
    } catch (const Error& error) {
      WARN("not tried: " << error.what());  // FFmpeg was built without this encoder
      continue;
    }
    const auto span = [](VideoSpans& film, double start, double end, int64_t frames) {
      std::vector<int> numbers;
      const int64_t given =
          film.read(start, end, {frames, FrameSampling::Rule::middles}, [&](int64_t index, Image&& image) {
            CHECK(index == static_cast<int64_t>(numbers.size()));
            numbers.push_back(number_of(image));
          });
      CHECK(given == static_cast<int64_t>(numbers.size()));
      return numbers;
    };
    VideoSpans film(path);
    CHECK(film.duration() == Approx(4.4).margin(0.002));
    CHECK(span(film, 0, 1, 5) == std::vector<int>{2, 7, 12, 17, 22});
    CHECK(span(film, 1, 2, 5) == std::vector<int>{27, 32, 37, 42, 47});
    CHECK(span(film, 3, 4, 1) == std::vector<int>{87});  // a second left out
    CHECK(span(film, 4, 5, 40) == std::vector<int>{100, 101, 102, 103, 104, 105, 106, 107, 108, 109});
    VideoSpans finely(path);  // shorter than a frame: one that begins in it, or the one shown
    CHECK(span(finely, 0, 0.03, 4) == std::vector<int>{0});
    CHECK(span(finely, 0.05, 0.07, 4) == std::vector<int>{1});
    CHECK(span(finely, 0.09, 0.11, 4) == std::vector<int>{2});
    CHECK(span(finely, 0.11, 0.13, 4) == std::vector<int>{3});
    VideoSpans whole(path);
    CHECK(span(whole, 0, whole.duration(), 7) == numbers_in(path, 7));
  }
}

TEST_CASE("a picture that stands still belongs to every span that shows it", "[video]") {
  const TemporaryFolder folder("video_still_spans");
  VideoWriterOptions options;
  options.frames_per_second = 10;
  options.timestamps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101, 102};  // frame 9 stands for nine seconds
  const std::filesystem::path path = folder.path() / "still.mkv";
  write_video(path, numbered_frames(13), options);
  VideoSpans film(path);
  std::vector<std::vector<int>> spans;
  for (int k = 0; k < 6; ++k) {
    std::vector<int>& numbers = spans.emplace_back();
    film.read(2.0 * k, 2.0 * k + 2, {4, FrameSampling::Rule::middles},
              [&](int64_t, Image&& image) { numbers.push_back(number_of(image)); });
  }
  CHECK(spans == std::vector<std::vector<int>>{{2, 7, 9, 9}, {9}, {9}, {9}, {9}, {10, 11, 12}});
}

TEST_CASE("a span of which nothing can be decoded is named", "[video]") {
  const TemporaryFolder folder("video_lost_span");
  const std::filesystem::path whole = folder.path() / "whole.mp4";
  VideoWriterOptions options;
  options.frames_per_second = 25;
  options.codec = "mpeg2video";  // groups of twelve
  write_video(whole, numbered_frames(100), options);
  std::string bytes = file_bytes(whole);
  for (size_t i = bytes.size() * 2 / 5; i < bytes.size() * 3 / 5; ++i) bytes[i] = '\0';
  const std::filesystem::path holed = folder.write("holed.mp4", bytes);
  VideoSpans film(holed);
  int read = 0;
  std::string error;
  for (int k = 0; k < 20; ++k) {
    try {
      film.read(0.2 * k, 0.2 * k + 0.2, {2, FrameSampling::Rule::middles}, [&](int64_t, Image&& image) {
        CHECK(number_of(image) < 5 * k + 5);  // never a frame of a later span
      });
      ++read;
    } catch (const InputError& failed) {
      error = failed.what();
    }
  }
  CHECK(read > 10);
  CHECK(read < 20);
  check_contains(error, "holed.mp4: no frame could be decoded from second ");
}

TEST_CASE("rotation and pixel shape are applied", "[video]") {
  const TemporaryFolder folder("video_rotation");
  // Upper left quarter white, the rest black.
  Image corner{128, 64, std::vector<uint8_t>(128 * 64 * 3, 20)};
  for (int64_t y = 0; y < 32; ++y) {
    for (int64_t i = 0; i < 64 * 3; ++i) corner.rgb[static_cast<size_t>(y * 128 * 3 + i)] = 235;
  }
  for (const int rotation : {0, 90, 180, 270}) {
    INFO("rotation " << rotation);
    VideoWriterOptions options;
    options.rotation = rotation;
    const std::filesystem::path path = folder.path() / "rotated.mp4";
    write_video(path, {corner, corner}, options);
    read_video(path, {}, [&](int64_t, Image&& image) {
      CHECK(image.width == (rotation % 180 == 0 ? 128 : 64));
      CHECK(image.height == (rotation % 180 == 0 ? 64 : 128));
      const auto bright = [&](int64_t right, int64_t low) {
        const int64_t x = image.width / 4 + right * image.width / 2;
        const int64_t y = image.height / 4 + low * image.height / 2;
        return image.rgb[static_cast<size_t>((y * image.width + x) * 3)] > 128;
      };
      // Clockwise from the upper left corner.
      const bool corners[4] = {bright(0, 0), bright(1, 0), bright(1, 1), bright(0, 1)};
      for (int i = 0; i < 4; ++i) CHECK(corners[i] == (i == rotation / 90));
    });
  }
  for (const std::array<int, 2> aspect : {std::array{2, 1}, std::array{1, 2}, std::array{16, 15}}) {
    VideoWriterOptions options;
    options.pixel_aspect = aspect;
    const std::filesystem::path path = folder.path() / "wide.mkv";
    write_video(path, numbered_frames(3), options);
    read_video(path, {}, [&](int64_t index, Image&& image) {
      CHECK(image.width == (aspect[0] > aspect[1] ? std::lround(128.0 * aspect[0] / aspect[1]) : 128));
      CHECK(image.height == (aspect[0] > aspect[1] ? 64 : 128));
      CHECK(number_of(image) == index);
    });
  }
}

TEST_CASE("files that are no video are named, with the reason", "[video]") {
  const TemporaryFolder folder("video_broken");
  CHECK(contains(error_of(folder.path() / "missing.mp4"), "missing.mp4: no such file"));
  CHECK(contains(error_of(folder.path()), "not a regular file"));
  CHECK(contains(error_of(folder.write("empty.mp4", "")), "empty.mp4: the file is empty"));
  std::string text;
  for (int i = 0; i < 200; ++i) text += "This is a letter, not a film.\n";
  CHECK(contains(error_of(folder.write("letter.mp4", text)), "letter.mp4: not a"));
  CHECK(contains(error_of(folder.write("letter.txt", text)), "letter.txt: not a"));
  CHECK(contains(error_of(folder.write("sound.wav", silent_wav())), "sound.wav: no video stream"));
  CHECK(contains(error_of(folder.write("zeros.avi", std::string(10000, '\0'))), "zeros.avi: "));
  const std::filesystem::path whole = folder.path() / "whole.mp4";
  write_video(whole, numbered_frames(60), {});
  const std::string bytes = file_bytes(whole);
  const std::string message = error_of(folder.write("cut.mp4", bytes.substr(0, bytes.size() / 2)));
  CHECK(contains(message, "cut.mp4: truncated or damaged MP4"));
  CHECK(!contains(message, "\n"));
  // A playlist must not make FFmpeg open what it names.
  const std::string list = "ffconcat version 1.0\nfile 'whole.mp4'\n";
  CHECK(!error_of(folder.write("list.ffconcat", list)).empty());
  CHECK(!error_of(folder.write("list.m3u8",
                               "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nwhole.mp4\n#EXT-X-ENDLIST\n"))
             .empty());
}

TEST_CASE("what is left of a truncated or damaged video is read", "[video]") {
  const TemporaryFolder folder("video_truncated");
  for (const char* name : {"whole.mkv", "whole.avi"}) {  // containers that need nothing from their end
    INFO(name);
    const std::filesystem::path whole = folder.path() / name;
    write_video(whole, numbered_frames(100), {});
    const std::string bytes = file_bytes(whole);
    const std::vector<int> cut =
        numbers_in(folder.write(std::string("cut_") + name, bytes.substr(0, bytes.size() * 4 / 5)), 10);
    REQUIRE(cut.size() >= 9);
    for (size_t i = 1; i < cut.size(); ++i) CHECK(cut[i] > cut[i - 1]);
    CHECK(cut.back() < 99);
    std::string holed = bytes;  // two frames' worth of rubbish in the middle
    for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 300; ++i) holed[i] = static_cast<char>(i * 37);
    CHECK(numbers_in(folder.write(std::string("holed_") + name, holed), 20).size() >= 18);
  }
}

TEST_CASE("damaged videos give an error or frames", "[video]") {
  const TemporaryFolder folder("video_damaged");
  std::vector<std::string> clips;
  for (const char* name : {"a.mp4", "b.mkv", "c.avi"}) {
    write_video(folder.path() / name, numbered_frames(15), {});
    clips.push_back(file_bytes(folder.path() / name));
  }
  int read = 0;
  for (unsigned variant = 0; variant < 300; ++variant) {
    INFO("variant " << variant);
    const std::string bytes = damaged(clips[variant % clips.size()], variant);
    int64_t given = 0;
    try {
      read_video(folder.write("damaged", bytes), {4}, [&](int64_t, Image&& image) {
        ++given;
        CHECK(image.rgb.size() == static_cast<size_t>(image.width * image.height * 3));
      });
      CHECK((given > 0 && given <= 4));
      ++read;
    } catch (const InputError& error) {
      CHECK(!contains(error.what(), "\n"));
    }
  }
  CHECK(read > 100);
}

TEST_CASE("the real clips", "[video][needs_shared]") {
  const std::filesystem::path folder = shared_data() / "clips/videos";
  if (!std::filesystem::exists(folder)) SKIP_TEST("../shared/clips is not there");
  struct Clip {
    const char* name;
    int64_t width;
    int64_t height;
    int64_t frames;
  };
  for (const Clip& clip : {Clip{"arm_wrestling.mp4", 427, 256, 280}, Clip{"basketball.mp4", 426, 240, 300},
                           Clip{"bikes.mp4", 640, 272, 250}, Clip{"bunny.mp4", 1280, 720, 132},
                           Clip{"carphone.mp4", 193, 144, 120}, Clip{"cockatoo.mp4", 1280, 720, 280},
                           Clip{"lab_person.avi", 1920, 1080, 103}, Clip{"makeup.avi", 320, 240, 164},
                           Clip{"newtons_cradle.gif", 200, 150, 36}, Clip{"pancake.mkv", 426, 240, 310},
                           Clip{"pool.mp4", 455, 256, 300}, Clip{"two_people.mp4", 1920, 1080, 72}}) {
    INFO(clip.name);
    const int64_t given = load_clip(folder / clip.name, {4}, [&](int64_t, Image&& image) {
      CHECK(image.width == clip.width);
      CHECK(image.height == clip.height);
    });
    CHECK(given == 4);
    if (clip.width > 430) continue;  // the others take seconds
    const FrameSampling all{100'000};
    CHECK(load_clip(folder / clip.name, all, [](int64_t, Image&&) {}) == clip.frames);
  }
}

TEST_CASE("drawn clips are a data set that can be read back", "[video]") {
  const TemporaryFolder folder("drawn");
  write_drawn_clips(folder.path() / "a", 6, 1);
  write_drawn_clips(folder.path() / "b", 6, 1);
  const Dataset dataset = read_dataset(folder.path() / "a", {});
  REQUIRE(dataset.clips.size() == 6);
  for (const Dataset::Clip& clip : dataset.clips) {
    CHECK(dataset.split(clip) == "train");
    REQUIRE(clip.captions == 4);
    for (const Dataset::Rows& caption : dataset.captions_of(clip)) {
      CHECK(!dataset.tokens[caption.text].empty());
      for (const uint32_t count : caption.count) CHECK(count > 0);
    }
    const std::filesystem::path file = dataset.file(clip);
    int64_t differing = 0;
    std::vector<uint8_t> before;
    CHECK(load_clip(file, {5}, [&](int64_t, Image&& image) {
            differing += before.empty() || before == image.rgb ? 0 : 1;
            before = std::move(image.rgb);
          }) == 5);
    CHECK(differing >= 1);  // something happens
    CHECK(file_bytes(file) == file_bytes(folder.path() / "b/videos" / file.filename()));
  }
  const Dataset by_v2c = read_dataset(folder.path() / "a", {.splits = "v2c"});
  for (const Dataset::Clip& clip : by_v2c.clips) CHECK(by_v2c.split(clip) == "train");
  CHECK(Vocabulary::from_v2c_info(folder.path() / "a/v2c_info.json").size() > 10);
}

}  // namespace clipcap
