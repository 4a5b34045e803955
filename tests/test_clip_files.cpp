// Clip files of odd kinds, whole and damaged; hashes, caches and .npy features.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "clipcap/data/clip_source.h"
#include "clipcap/data/feature_cache.h"
#include "clipcap/data/npy.h"
#include "clipcap/data/sha256.h"
#include "clipcap/data/video_writer.h"
#include "tensor/check.h"
#include "tensor/random.h"
#include "tests/catch.h"

using namespace clipcap;
namespace fs = std::filesystem;

namespace {

fs::path folder() {
  const fs::path path = fs::temp_directory_path() / "clipcap-tests" / "data";
  fs::create_directories(path);
  return path;
}

fs::path shared() { return fs::path(CLIPCAP_SOURCE_DIR) / ".." / "shared"; }

// A picture whose left half has the colour of frame `i` of `count`, and whose upper half is bright.
Image frame(int i, int count, int64_t width = 64, int64_t height = 48) {
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 20)};
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      uint8_t* pixel = image.rgb.data() + (y * width + x) * 3;
      if (x < width / 2) pixel[0] = pixel[1] = pixel[2] = static_cast<uint8_t>(20 + 200 * i / count);
      if (y < height / 4) pixel[0] = pixel[1] = pixel[2] = 250;
    }
  }
  return image;
}

std::vector<Image> film(int count, int64_t width = 64, int64_t height = 48) {
  std::vector<Image> frames;
  for (int i = 0; i < count; ++i) frames.push_back(frame(i, count, width, height));
  return frames;
}

struct Taken {
  std::vector<double> grey;  // of the left side, in the middle
  int64_t width = 0;
  int64_t height = 0;
};

Taken take(const fs::path& path, int64_t count, FrameSampling::Rule rule = FrameSampling::Rule::middles) {
  Taken taken;
  load_clip(path, {count, rule}, [&](int64_t index, Image&& image) {
    CHECK(index == static_cast<int64_t>(taken.grey.size()));
    REQUIRE(static_cast<int64_t>(image.rgb.size()) == image.width * image.height * 3);
    taken.width = image.width;
    taken.height = image.height;
    taken.grey.push_back(image.rgb[static_cast<size_t>((image.height / 2 * image.width + image.width / 4) * 3)]);
  });
  return taken;
}

void expect_error(const fs::path& path, const std::string& part) {
  try {
    take(path, 4);
    FAIL("no error for " << path);
  } catch (const InputError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(path.filename().string()) != std::string::npos);
    CHECK(std::string(error.what()).find(part) != std::string::npos);
  }
}

std::string bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

}  // namespace

TEST_CASE("frames come from the middles of equal spans", "[clip_files]") {
  const fs::path path = folder() / "sixty.mp4";
  write_video(path, film(60), {});
  const Taken four = take(path, 4);
  REQUIRE(four.grey.size() == 4);
  CHECK(four.width == 64);
  for (size_t i = 0; i < 4; ++i) CHECK(four.grey[i] == Approx(20 + 200 * (7.5 + 15.0 * static_cast<double>(i)) / 60).margin(6));
  const Taken ends = take(path, 3, FrameSampling::Rule::linspace);
  REQUIRE(ends.grey.size() == 3);
  CHECK(ends.grey[0] == Approx(20).margin(5));
  CHECK(ends.grey[2] == Approx(20 + 200 * 59 / 60).margin(5));
  for (const char* ending : {".mkv", ".avi", ".mov"}) {
    const fs::path other = folder() / (std::string("sixty") + ending);
    write_video(other, film(60), {});
    const Taken same = take(other, 4);
    REQUIRE(same.grey.size() == 4);
    for (size_t i = 0; i < 4; ++i) CHECK(same.grey[i] == Approx(four.grey[i]).margin(4));
  }
}

TEST_CASE("short clips give each frame once, long ones are sought in", "[clip_files]") {
  write_video(folder() / "one.mp4", film(1), {});
  CHECK(take(folder() / "one.mp4", 8).grey.size() == 1);
  write_video(folder() / "five.mp4", film(5), {});
  const Taken five = take(folder() / "five.mp4", 8);
  REQUIRE(five.grey.size() == 5);
  for (size_t i = 0; i < 5; ++i) CHECK(five.grey[i] == Approx(20 + 40 * static_cast<double>(i)).margin(6));
  write_video(folder() / "long.mp4", film(400), {});
  const Taken two = take(folder() / "long.mp4", 2);
  REQUIRE(two.grey.size() == 2);
  CHECK(two.grey[0] == Approx(70).margin(5));
  CHECK(two.grey[1] == Approx(170).margin(5));
}

TEST_CASE("a variable frame rate is respected", "[clip_files]") {
  VideoWriterOptions options;
  options.timestamps = {0, 1, 2, 3, 40, 80};  // the fourth frame stays for most of the first half
  write_video(folder() / "vfr.mp4", film(6), options);
  const Taken taken = take(folder() / "vfr.mp4", 4);
  REQUIRE(taken.grey.size() == 4);
  CHECK(taken.grey[0] == Approx(20 + 200 * 3 / 6).margin(6));
  CHECK(taken.grey[1] == Approx(20 + 200 * 3 / 6).margin(6));
  CHECK(taken.grey[2] == Approx(20 + 200 * 4 / 6).margin(6));
}

TEST_CASE("rotation metadata turns the picture", "[clip_files]") {
  for (const int degrees : {90, 180, 270}) {
    VideoWriterOptions options;
    options.rotation = degrees;
    const fs::path path = folder() / ("turned" + std::to_string(degrees) + ".mp4");
    write_video(path, film(3, 64, 48), options);
    Image first;
    load_clip(path, {1, FrameSampling::Rule::middles}, [&](int64_t, Image&& image) { first = std::move(image); });
    CHECK(first.width == (degrees == 180 ? 64 : 48));
    CHECK(first.height == (degrees == 180 ? 48 : 64));
    // The stored picture's bright upper edge ends up right, below or left when turned clockwise.
    const auto grey = [&](int64_t x, int64_t y) { return static_cast<int>(first.rgb[static_cast<size_t>((y * first.width + x) * 3)]); };
    const int64_t w = first.width;
    const int64_t h = first.height;
    const int edge = degrees == 90 ? grey(w - 3, h / 2) : degrees == 180 ? grey(w / 2, h - 3) : grey(2, h / 2);
    CHECK(edge > 200);
    CHECK(grey(w / 2, h / 2) < 200);
  }
}

TEST_CASE("folders of frames and single pictures", "[clip_files]") {
  const fs::path frames = folder() / "frames";
  fs::remove_all(frames);
  fs::create_directories(frames);
  // The smallest picture format to write by hand: an uncompressed 2 x 2 BMP.
  const auto bmp = [](uint8_t grey) {
    std::string bytes("BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0\0\0\0\0\x10\0\0\0", 38);
    bytes += std::string(16, '\0');
    for (int row = 0; row < 2; ++row) bytes += std::string(6, static_cast<char>(grey)) + std::string(2, '\0');
    return bytes;
  };
  for (const int i : {1, 2, 10}) write(frames / ("f" + std::to_string(i) + ".bmp"), bmp(static_cast<uint8_t>(10 * i)));
  CHECK(take(frames, 5).grey == std::vector<double>{10, 20, 100});
  CHECK(take(frames / "f2.bmp", 5).grey == std::vector<double>{20});
  write(frames / "f3.jpg", "\xff\xd8\xff\xe0 broken");
  expect_error(frames, "");
  try {
    take(frames, 5);
  } catch (const InputError& error) {
    CHECK(std::string(error.what()).find("f3.jpg") != std::string::npos);
  }
  fs::create_directories(folder() / "nothing");
  expect_error(folder() / "nothing", "without");
}

TEST_CASE("what is no video says so in one line", "[clip_files]") {
  write(folder() / "zero.mp4", "");
  expect_error(folder() / "zero.mp4", "empty");
  write(folder() / "text.mp4", "this is a text file\nwith two lines\n");
  expect_error(folder() / "text.mp4", "");
  expect_error(folder() / "absent.mp4", "no such file");
  // One second of silence as a WAV file.
  std::string wav("RIFF\x64\x1f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x40\x1f\0\0", 44);
  write(folder() / "audio.wav", wav + std::string(8000, '\x80'));
  expect_error(folder() / "audio.wav", "no video stream");
  write_video(folder() / "whole.mp4", film(30), {});
  const std::string whole = bytes_of(folder() / "whole.mp4");
  write(folder() / "cut.mp4", whole.substr(0, whole.size() / 2));  // the index stands at the end
  expect_error(folder() / "cut.mp4", "");
}

TEST_CASE("damaged videos give frames or an InputError, never a crash", "[clip_files]") {
  for (const char* ending : {".avi", ".mp4", ".mkv"}) {
    const fs::path good = folder() / (std::string("fuzz") + ending);
    write_video(good, film(12), {});
    const std::string bytes = bytes_of(good);
    const fs::path bad = folder() / (std::string("damaged") + ending);
    Generator generator(3);
    for (int i = 0; i < 60; ++i) {
      std::string damaged = bytes;
      if (i % 3 == 0) {
        damaged.resize(static_cast<size_t>(generator.index(static_cast<int64_t>(bytes.size()))));
      } else {
        for (int flips = 0; flips < 1 + i % 7; ++flips) {
          damaged[static_cast<size_t>(generator.index(static_cast<int64_t>(bytes.size())))] = static_cast<char>(generator.index(256));
        }
      }
      write(bad, damaged);
      try {
        take(bad, 4);
      } catch (const InputError&) {
        continue;
      }
    }
  }
}

TEST_CASE("the real clips all decode", "[clip_files]") {
  if (!fs::exists(shared() / "clips")) SKIP_TEST("no ../shared/clips");
  int clips = 0;
  for (const auto& entry : fs::directory_iterator(shared() / "clips" / "videos")) {
    INFO(entry.path());
    CHECK(take(entry.path(), 6).grey.size() == 6);
    ++clips;
  }
  CHECK(clips == 12);
}

TEST_CASE("SHA-256 of the standard's messages", "[clip_files]") {
  const auto digest = [](const std::string& text) {
    Sha256 hash;
    hash.update(text);
    return hash.hex();
  };
  CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(digest(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("the feature cache gives back what was stored and survives damage", "[clip_files]") {
  const fs::path cache = folder() / "cache";
  fs::remove_all(cache);
  setenv("CLIPCAP_CACHE", cache.c_str(), 1);
  write_video(folder() / "cached.mp4", film(3), {});
  const std::string key = feature_cache_key(folder() / "cached.mp4", "encoder");
  CHECK(key != feature_cache_key(folder() / "cached.mp4", "another"));
  int64_t rows = 0;
  int64_t dim = 0;
  CHECK_FALSE(load_cached_features(key, rows, dim).has_value());
  store_cached_features(key, {1, 2, 3, 4, 5, 6}, 2, 3);
  CHECK(load_cached_features(key, rows, dim) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(rows == 2);
  write(cache / "features" / (key + ".safetensors"), "damaged");
  CHECK_FALSE(load_cached_features(key, rows, dim).has_value());
  unsetenv("CLIPCAP_CACHE");
}

TEST_CASE("npy: versions, truncation, lies", "[clip_files]") {
  const auto npy = [](const std::string& header, const std::string& data) {
    std::string bytes("\x93NUMPY\x01\0", 8);
    bytes += static_cast<char>(header.size() & 255U);
    bytes += static_cast<char>(header.size() >> 8U);
    return bytes + header + data;
  };
  const fs::path path = folder() / "a.npy";
  write(path, npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n", std::string("\0\0\x80\x3f\0\0\0\x40", 8)));
  CHECK(read_npy(path).values == std::vector<float>{1, 2});
  for (const char* header : {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }", "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }",
                             "{'descr': '|O', 'fortran_order': False, 'shape': (2, 1), }", "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "{}", ""}) {
    write(path, npy(header, std::string(8, '\0')));
    CHECK_THROWS_AS(read_npy(path), InputError);
  }
}
