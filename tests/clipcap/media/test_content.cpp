// What files are by their content: pictures under any name, clips that begin as pictures, what stands in a
// file's place, companions of other systems in frame folders, and pictures whose end is missing.
#include "clipcap/media/content.h"

#include "clipcap/media/clip_source.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using namespace std::string_literals;

std::string golden(const std::string& name) { return file_bytes(testing::golden_path("pictures") / name); }

std::vector<Image> frames_of(const std::filesystem::path& path) {
  std::vector<Image> frames;
  load_clip(path, {1000}, [&](int64_t, Image&& image) { frames.push_back(std::move(image)); });
  return frames;
}

std::string box(const std::string& major, const std::string& brands) {
  const auto size = static_cast<char>(16 + brands.size());
  return "\0\0\0"s + size + "ftyp" + major + "\0\0\0\0"s + brands + std::string(200, '\1');
}

}  // namespace

TEST_CASE("what is no picture or one of a kind that is not read is named, whatever its ending", "[content]") {
  const TemporaryFolder folder("content");
  struct Kind {
    std::string bytes;
    const char* word;
  };
  for (const Kind& kind : {
           Kind{"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"},
           Kind{"<!DOCTYPE html><html>403</html>", "HTML"},
           Kind{"\xef\xbb\xbf\n  <HTML lang=en>", "HTML"},
           Kind{"<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\">\n<html>", "HTML"},
           Kind{"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"},
           Kind{"{\"message\": \"not found\"}", "JSON"},
           Kind{"<svg xmlns=\"http://www.w3.org/2000/svg\">", "SVG"},
           Kind{box("heic", "mif1heic"), "HEIC"},
           Kind{box("mif1", "heicmif1"), "HEIC"},
           Kind{box("mif1", "avifmif1"), "AVIF"},
           Kind{box("avif", "mif1avif"), "AVIF"},
           Kind{"II*\0\x08\0\0\0"s + std::string(100, '\0'), "TIFF"},
           Kind{"MM\0*\0\0\0\x08"s + std::string(100, '\0'), "TIFF"},
           Kind{"8BPS\0\1"s + std::string(100, '\0'), "Photoshop"},
           Kind{"\0\0\0\x0cjP  \r\n\x87\n"s, "JPEG 2000"},
           Kind{"\xff\x0a"s + std::string(100, '\0'), "JPEG XL"},
           Kind{"\0\0\0\x0cJXL \r\n\x87\n"s, "JPEG XL"},
           Kind{"P6\n2 2\n255\n" + std::string(12, 'x'), "PPM"},
           Kind{"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0"s + std::string(30, '\1'), "icon"},
           Kind{"\12\5\1\x8"s + std::string(120, '\1'), "PCX"},
           Kind{"\0\0\2\0\0\0\0\0\0\0\0\0\x10\0\x10\0\x18\0"s + std::string(100, '\1'), "TGA"},
           Kind{"qoif\0\0\0\1\0\0\0\1\3\0"s, "QOI"},
           Kind{"%PDF-1.7\n", "PDF"},
           Kind{"PK\3\4\x14\0"s, "ZIP"},
       }) {
    for (const char* name : {"x.png", "x.jpg", "x.mp4", "x"}) {
      INFO(kind.word << ' ' << name);
      const std::filesystem::path path = folder.write(name, kind.bytes);
      for (const std::string& message :
           {message_of<InputError>([&] { static_cast<void>(read_picture(path)); }),
            message_of<InputError>([&] { load_clip(path, {}, [](int64_t, Image&&) {}); })}) {
        check_contains(message, kind.word);
        check_contains(message, name);
        CHECK(!contains(message, "\n"));
        CHECK(!contains(message, "truncated"));
        CHECK(!contains(message, "damaged"));
      }
    }
  }
}

TEST_CASE("a damaged picture is not called a video", "[content]") {
  const TemporaryFolder folder("content_damaged");
  for (const char* name : {"0-rgb.png", "0-420.jpg", "0-rgb.bmp", "0-lossy.webp", "0-progressive.jpg",
                           "0-lossless.webp", "0-rle8.bmp", "0-lossy-alpha.webp"}) {
    const std::string whole = golden(name);
    for (const size_t left : {size_t{1}, size_t{20}, whole.size() / 2, whole.size() * 9 / 10}) {
      INFO(name << ' ' << left);
      const std::filesystem::path path =
          folder.write("cut" + std::filesystem::path(name).extension().string(), whole.substr(0, left));
      for (const std::string& message :
           {message_of<InputError>([&] { static_cast<void>(read_picture(path)); }),
            message_of<InputError>([&] { load_clip(path, {}, [](int64_t, Image&&) {}); })}) {
        check_contains(message, "picture");
        CHECK(!contains(message, "video"));
        CHECK(!contains(message, "MP4"));
      }
    }
  }
}

TEST_CASE("a picture of which only the end is missing is whole", "[content]") {
  const TemporaryFolder folder("content_ends");
  for (const char* name : {"0-rgb.png", "0-palette.png", "0-grey16.png", "0-rgba.png"}) {
    INFO(name);
    const std::string whole = golden(name);
    const Image expected = read_picture(folder.write("whole", whole));
    for (const size_t missing : {1, 4, 12, 13, 16}) {  // of the last chunk, of the data's checksums
      INFO(missing);
      const Image cut = read_picture(folder.write("cut", whole.substr(0, whole.size() - missing)));
      CHECK(cut.rgb == expected.rgb);
      CHECK(cut.alpha == expected.alpha);
      CHECK(cut.mode == expected.mode);
    }
    CHECK_THROWS_AS(read_picture(folder.write("cut", whole.substr(0, whole.size() - 40))), InputError);
  }
  for (const char* name : {"0-444.jpg", "0-420.jpg", "0-progressive.jpg", "0-grey.jpg", "0-cmyk.jpg"}) {
    INFO(name);
    const std::string whole = golden(name);
    const Image expected = read_picture(folder.write("whole", whole));
    for (const size_t missing : {1, 2}) {
      CHECK(read_picture(folder.write("cut", whole.substr(0, whole.size() - missing))).rgb == expected.rgb);
    }
    CHECK_THROWS_AS(read_picture(folder.write("cut", whole.substr(0, whole.size() - 12))), InputError);
  }
}

TEST_CASE("a progressive picture that lacks its last scans is not whole", "[content]") {
  const TemporaryFolder folder("content_scans");
  const std::string whole = golden("0-progressive.jpg");
  int scans = 0;
  for (size_t at = whole.find("\xff\xda"); at != std::string::npos; at = whole.find("\xff\xda", at + 2)) {
    // Tables may stand before a scan: the picture ends where they begin.
    size_t end = at;
    while (whole.rfind("\xff\xc4", end) != std::string::npos &&
           whole.rfind("\xff\xc4", end) > whole.rfind("\xff\xda", at - 1))
      end = whole.rfind("\xff\xc4", end) - 1;
    if (++scans == 1) continue;
    INFO(scans);
    CHECK_THROWS_AS(read_picture(folder.write("cut.jpg", whole.substr(0, end))), InputError);
  }
  CHECK(scans > 3);
}

TEST_CASE("BMP variants that are not read are named", "[content]") {
  const TemporaryFolder folder("content_bmp");
  const auto refused = [&](size_t at, char value, const char* word) {
    std::string bytes = golden("0-rgb.bmp");
    bytes[at] = value;
    check_contains(
        message_of<InputError>([&] { static_cast<void>(read_picture(folder.write("x.bmp", bytes))); }), word);
  };
  refused(14, 16, "header of 16 bytes");
  refused(28, 2, "2 bits");
  refused(28, 64, "64 bits");
  refused(30, 4, "compression 4");
  refused(30, 3, "bit fields");
  refused(30, 1, "run-length");
}

TEST_CASE("pictures that go on as films are clips, those that carry a preview are pictures", "[content]") {
  const TemporaryFolder folder("content_clips");
  const std::string jpeg = golden("0-420.jpg");
  const std::filesystem::path motion = folder.write("motion.jpg", jpeg + jpeg + jpeg);
  CHECK(!is_picture(motion));
  CHECK(frames_of(motion).size() == 3);
  CHECK(read_picture(motion).rgb == read_picture(folder.write("one.jpg", jpeg)).rgb);
  CHECK(is_picture(folder.write("padded.jpg", jpeg + std::string(500, '\0'))));
  CHECK(is_picture(folder.write("other.jpg", jpeg + golden("1-420.jpg"))));  // of another size: an appendix
  std::string format = jpeg;  // the Multi-Picture Format: a phone's second picture is no second frame
  format.insert(2, "\xff\xe2\0\x08MPF\0x\1"s.substr(0, 10));
  CHECK(is_picture(folder.write("several.jpg", format + jpeg)));
  const std::filesystem::path animated = folder.write("animated.png", golden("0-animated.webp"));
  CHECK(!is_picture(animated));
  CHECK(is_picture(folder.write("still.webp", golden("0-lossy-alpha.webp"))));
  const std::vector<Image> frames = frames_of(animated);
  REQUIRE(frames.size() == 2);
  CHECK(frames[0].rgb == read_picture(animated).rgb);
  CHECK(frames[0].rgb != frames[1].rgb);
  // 40 ms, then 80: by time the second is shown at the middle.
  load_clip(animated, {1}, [&](int64_t, Image&& image) { CHECK(image.rgb == frames[1].rgb); });
  const std::filesystem::path apng = testing::golden_path("videos") / "whole.apng";
  CHECK(!is_picture(apng));
  CHECK(frames_of(apng).size() == 20);
  CHECK(read_picture(apng).rgb == frames_of(apng)[0].rgb);
}

TEST_CASE("a frame folder's pictures are found by content, companions are passed over", "[content]") {
  const TemporaryFolder folder("content_folder");
  folder.write("000.png", golden("0-rgb.png"));
  folder.write("001.webp", golden("0-lossy.webp"));
  folder.write("002", golden("0-420.jpg"));
  folder.write("003.frame", golden("0-rgb.bmp"));
  folder.write("004.jpg", golden("0-lossless.webp"));
  for (const char* name : {".DS_Store", "._000.png", ".000.png.swp", "Thumbs.db", "desktop.ini", "000.png~",
                           "notes.txt", "@eaDir/000.png", "__MACOSX/._000.png", "film.mp4"}) {
    folder.write(name, "\0\5\x16\7"s);
  }
  folder.write(".hidden.png", golden("0-rgb.png"));
  const auto names = [&] {
    std::vector<std::string> found;
    for (const auto& path : list_frame_folder(folder.path())) found.push_back(path.filename().string());
    return found;
  };
  CHECK(names() == std::vector<std::string>{"000.png", "001.webp", "002", "003.frame", "004.jpg"});
  CHECK(frames_of(folder.path()).size() == 5);
  const auto refused = [&](const char* name, const std::string& bytes, const char* word) {
    INFO(name);
    const std::filesystem::path path = folder.write(name, bytes);
    const std::string message = message_of<InputError>([&] { frames_of(folder.path()); });
    check_contains(message, name);
    check_contains(message, word);
    std::filesystem::remove(path);
  };
  refused("005.heic", box("heic", "mif1heic"), "HEIC");
  refused("005.tif", "II*\0\x08\0\0\0"s, "TIFF");
  refused("005.gif", "GIF89a"s, "GIF");
  refused("005.NEF", "\1\2\3"s, "named like a picture");
  refused("005.png", "version https://git-lfs.github.com/spec/v1\n", "Git LFS");
  refused("005.jpg", "", "empty");
  std::filesystem::create_symlink("nowhere.png", folder.path() / "006.png");
  check_contains(message_of<InputError>([&] { frames_of(folder.path()); }), "006.png");
}

TEST_CASE("pictures are read up to a limit that is named", "[content]") {
  const TemporaryFolder folder("content_limits");
  std::string tall = golden("0-rgb.bmp");
  const auto size = [&](uint32_t width, uint32_t height) {
    for (size_t i = 0; i < 4; ++i) {
      tall[18 + i] = static_cast<char>(width >> (8 * i));
      tall[22 + i] = static_cast<char>(height >> (8 * i));
    }
    return message_of<InputError>([&] { static_cast<void>(read_picture(folder.write("tall.bmp", tall))); });
  };
  check_contains(size(20, 70000), "20 x 70000 pixels are too many (at most 65535 a side");
  check_contains(size(65000, 65000),
                 "65000 x 65000 pixels are too many (at most 65535 a side and 134217728 in all)");
  check_contains(size(0, 5), "0 x 5");
  CHECK(contains(size(20, 60000), "before its last row"));
}

}  // namespace clipcap
