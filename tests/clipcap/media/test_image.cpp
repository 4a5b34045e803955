// Pictures, frame folders, .npy files, hashes and the feature cache: the small readers of a clip's data.
#include "clipcap/media/image.h"

#include <cstdlib>
#include <cstring>

#include "clipcap/cache/sha256.h"
#include "clipcap/data/feature_cache.h"
#include "clipcap/media/clip_source.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// Written by Pillow: 2 x 2 RGB (red, green / blue, white); 1 x 1 RGBA (10, 20, 30, alpha 0); 1 x 1 of 16-bit
// grey 0xabcd; 2 x 1 palette; 1 x 1 of grey with alpha (77, 0).
const std::string kRgb = from_hex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a730000001649444154789c63f8cfc0c0f09f"
    "819181e1ffffff0c001ef604fd09ed343e0000000049454e44ae426082");
const std::string kRgba = from_hex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63e01291630000"
    "00a5003d699888bc0000000049454e44ae426082");
const std::string kGrey16 = from_hex(
    "89504e470d0a1a0a0000000d49484452000000010000000110000000006aee47160000000b49444154789c63587d16000226"
    "0179ee49eaec0000000049454e44ae426082");
const std::string kPalette = from_hex(
    "89504e470d0a1a0a0000000d4948445200000002000000010103000000ceecedc900000006504c5445010203c8643250b4ae"
    "3f0000000a49444154789c63700000004200412937f4ef0000000049454e44ae426082");
const std::string kGreyAlpha = from_hex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b49444154789c63f0650000009d"
    "004ed4fb68ce0000000049454e44ae426082");
const std::string kJpeg = from_hex(
    "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706"
    "080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb004301030404050405"
    "09050509140d0b0d141414141414141414141414141414141414141414141414141414141414141414141414141414141414"
    "1414141414141414ffc00011080008000803012200021101031101ffc4001f00000105010101010101000000000000000001"
    "02030405060708090a0bffc400b5100002010303020403050504040000017d01020300041105122131410613516107227114"
    "328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a53545556"
    "5758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5"
    "b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffc4001f010003"
    "0101010101010101010000000000000102030405060708090a0bffc400b51100020102040403040705040400010277000102"
    "031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35"
    "363738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495"
    "969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9ea"
    "f2f3f4f5f6f7f8f9faffda000c03010002110311003f00a9451457e1e7f481ffd9");
// A 24-bit BMP, one pixel (1, 2, 3).
const std::string kBmp = from_hex(
    "424d3a00000000000000360000002800000001000000010000000100180000000000040000000000000000000000000000000000"
    "0000"
    "03020100");

}  // namespace

TEST_CASE("every kind of picture becomes RGB, alpha dropped", "[image]") {
  const TemporaryFolder folder("image");
  const auto rgb = [&](const std::string& bytes) { return read_picture(folder.write("picture", bytes)).rgb; };
  const Image image = read_picture(folder.write("rgb.png", kRgb));
  CHECK(image.width == 2);
  CHECK(image.height == 2);
  CHECK(image.rgb == std::vector<uint8_t>{255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255});
  CHECK(rgb(kRgba) == std::vector<uint8_t>{10, 20, 30});
  CHECK(rgb(kGrey16) == std::vector<uint8_t>{0xff, 0xff, 0xff});  // Pillow's conversion saturates
  CHECK(rgb(kPalette) == std::vector<uint8_t>{1, 2, 3, 200, 100, 50});
  CHECK(rgb(kGreyAlpha) == std::vector<uint8_t>{77, 77, 77});
  CHECK(rgb(kBmp) == std::vector<uint8_t>{1, 2, 3});
  const std::vector<uint8_t> jpeg = rgb(kJpeg);  // 8 x 8 of (200, 100, 50)
  REQUIRE(jpeg.size() == 8 * 8 * 3);
  CHECK(std::abs(jpeg[0] - 200) <= 3);
  CHECK(std::abs(jpeg[1] - 100) <= 3);
  CHECK(std::abs(jpeg[2] - 50) <= 3);
}

TEST_CASE("four inks become RGB as Pillow's integers have it, black ink among them", "[image]") {
  // 255 - k - c (255 - k) / 255, each product rounded.
  const std::vector<uint8_t> ink{0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 128, 0, 100, 50, 200, 55, 10, 20, 30, 200};
  CHECK(rgb_of_ink(ink) ==
        std::vector<uint8_t>{255, 255, 255, 0, 0, 0, 0, 255, 127, 122, 161, 43, 53, 51, 49});
}

TEST_CASE("broken pictures are named", "[image]") {
  const TemporaryFolder folder("image_broken");
  for (const std::string& bytes :
       {std::string(), std::string("hello"), kRgb.substr(0, 40), kJpeg.substr(0, 100), std::string("BM")}) {
    const std::filesystem::path path = folder.write("broken.png", bytes);
    const std::string message = message_of<InputError>([&] { static_cast<void>(read_picture(path)); });
    CHECK(message.find("broken.png: ") != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
  }
  std::string huge = kRgb;
  huge.replace(16, 8, from_hex("7fffffff7fffffff"));  // width and height of the header
  CHECK_THROWS_AS(read_picture(folder.write("huge.png", huge)), InputError);
  huge.replace(16, 8, from_hex("0000400000004000"));  // 16384 x 16384: each side would do
  CHECK_THROWS_AS(read_picture(folder.write("huge.png", huge)), InputError);
  CHECK_THROWS_AS(read_picture(folder.path() / "missing.png"), InputError);
  CHECK_THROWS_AS(read_picture(folder.path()), InputError);
}

TEST_CASE("JPEGs with impossible tables are refused", "[image]") {
  const TemporaryFolder folder("image_jpeg");
  std::string codes = kJpeg;
  const size_t table = codes.find("\xff\xc4");
  REQUIRE(table != std::string::npos);
  for (size_t i = 5; i < 21; ++i) codes[table + i] = '\xff';  // 4080 codes
  // What follows the picture does not matter.
  CHECK(read_picture(folder.write("film.jpg", kJpeg + codes)).width == 8);
  std::string sizes = kJpeg;
  const size_t frame = sizes.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  sizes[frame + 11] = 0x31;  // one component 3 wide, the next 2
  sizes[frame + 14] = 0x21;
  for (const std::string& bytes : {codes, sizes}) {
    const std::filesystem::path path = folder.write("broken.jpg", bytes);
    CHECK(message_of<InputError>([&] {
            static_cast<void>(read_picture(path));
          }).find("broken.jpg: broken picture (") != std::string::npos);
  }
}

TEST_CASE("damaged pictures give an error or a picture", "[image]") {
  const TemporaryFolder folder("image_damaged");
  for (unsigned variant = 0; variant < 300; ++variant) {
    INFO("variant " << variant);
    const std::string& whole = variant % 4 == 0   ? kRgb
                               : variant % 4 == 1 ? kPalette
                               : variant % 4 == 2 ? kJpeg
                                                  : kBmp;
    int64_t pixels = 0;
    int64_t bytes = 0;
    try {
      const Image image = read_picture(folder.write("picture", damaged(whole, variant)));
      pixels = image.width * image.height;
      bytes = static_cast<int64_t>(image.rgb.size());
    } catch (const InputError&) {
    }
    CHECK(bytes == 3 * pixels);
  }
}

TEST_CASE("a folder's frames come in natural order", "[image]") {
  const TemporaryFolder folder("image_folder");
  CHECK_THROWS_AS(list_frame_folder(folder.path()), InputError);
  CHECK_THROWS_AS(list_frame_folder(folder.path() / "missing"), InputError);
  for (const char* name :
       {"frame10.png", "frame2.png", "frame1.PNG", "frame010.jpg", "frame007.png", "a.png"}) {
    folder.write(name, kRgba);
  }
  folder.write("notes.txt", "frame2 is blurred");
  std::vector<std::string> names;
  for (const auto& path : list_frame_folder(folder.path())) names.push_back(path.filename().string());
  CHECK(names == std::vector<std::string>{"a.png", "frame1.PNG", "frame2.png", "frame007.png", "frame010.jpg",
                                          "frame10.png"});
  FrameSampling sampling;
  sampling.frames = 2;
  std::vector<int64_t> indices;
  CHECK(load_clip(folder.path(), sampling, [&](int64_t i, Image&&) { indices.push_back(i); }) == 2);
  CHECK(indices == std::vector<int64_t>{0, 1});
  folder.write("frame2.png", kRgb.substr(0, 50));
  const std::string message =
      message_of<InputError>([&] { load_clip(folder.path(), {}, [](int64_t, Image&&) {}); });
  CHECK(message.find("frame2.png: ") != std::string::npos);
}

TEST_CASE("frames are ordered by their numbers, however many zeros stand before them", "[image]") {
  const TemporaryFolder folder("image_zeros");
  std::vector<std::string> expected;
  for (int i = 1; i <= 40; ++i) {
    const std::string number = std::to_string(i);
    const std::string name = "f" + std::string(static_cast<size_t>(i * 7 % 4), '0') + number + ".png";
    expected.push_back(name);
    folder.write(name, kRgba);
  }
  std::vector<std::string> names;
  for (const auto& path : list_frame_folder(folder.path())) names.push_back(path.filename().string());
  CHECK(names == expected);
}

TEST_CASE("a single picture is a clip of one frame", "[image]") {
  const TemporaryFolder folder("image_single");
  int64_t width = 0;
  const auto sink = [&](int64_t, Image&& image) { width = image.width; };
  CHECK(load_clip(folder.write("named.mp4", kRgb), {}, sink) == 1);  // content decides, not the name
  CHECK(width == 2);
  CHECK_THROWS_AS(load_clip(folder.path() / "missing", {}, sink), InputError);
}

TEST_CASE("SHA-256 agrees with FIPS 180-4's examples", "[image]") {
  const auto hash = [](const std::string& text) {
    Sha256 sha;
    sha.update(text);
    return sha.hex();
  };
  CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hash(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  Sha256 pieces;  // in pieces of all sizes
  std::string all;
  for (int i = 0; i < 200; ++i) {
    const std::string piece(static_cast<size_t>(i), static_cast<char>(i));
    pieces.update(piece);
    all += piece;
  }
  CHECK(pieces.hex() == hash(all));
  const TemporaryFolder folder("sha256");
  CHECK(sha256_of_file(folder.write("empty", "")) == hash(""));
  CHECK_THROWS_AS(sha256_of_file(folder.path() / "missing"), InputError);
}

TEST_CASE("features are cached by content, and damage is noticed", "[image]") {
  const TemporaryFolder folder("cache");
  ::setenv("CLIPCAP_CACHE", (folder.path() / "cache").c_str(), 1);
  const std::filesystem::path clip = folder.write("clip.mp4", "content");
  const std::string key = feature_cache_key(clip, "vit 40 middles");
  CHECK(key == feature_cache_key(folder.write("moved.mp4", "content"), "vit 40 middles"));
  CHECK(key != feature_cache_key(clip, "vit 20 middles"));
  CHECK(key != feature_cache_key(folder.write("other.mp4", "Content"), "vit 40 middles"));
  folder.write("frames/1.png", "a");
  const std::string of_folder = feature_cache_key(folder.path() / "frames", "vit");
  folder.write("frames/2.png", "b");
  CHECK(of_folder != feature_cache_key(folder.path() / "frames", "vit"));
  CHECK(!map_cached_features(key).defined());
  std::vector<float> values;
  for (int i = 0; i < 600; ++i) values.push_back(static_cast<float>(i) / 7);
  const Tensor features = Tensor::from(values, {20, 30});
  CHECK(store_cached_features(key, features));
  CHECK(map_cached_features(key).to_vector<float>() == values);
  CHECK(map_cached_features(key).shape() == Shape{20, 30});
  CHECK(!map_cached_features(key + "x").defined());
  std::vector<std::filesystem::path> entries;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path() / "cache")) {
    if (entry.is_regular_file()) entries.push_back(entry.path());
  }
  REQUIRE(entries.size() == 1);  // no temporary file is left
  const std::string whole = file_bytes(entries[0]);
  for (unsigned variant = 0; variant < 100; ++variant) {
    INFO("variant " << variant);
    const std::string bytes = damaged(whole, variant);
    std::ofstream(entries[0], std::ios::binary) << bytes;
    const Tensor found = map_cached_features(key);
    CHECK((!found.defined() || found.to_vector<float>() == values));
  }
  CHECK(store_cached_features(key, features));
  CHECK(map_cached_features(key).to_vector<float>() == values);
  ::setenv("CLIPCAP_CACHE", "/proc/nowhere", 1);  // cannot be written: no error
  CHECK(!store_cached_features(key, features));
  CHECK(!map_cached_features(key).defined());
  ::unsetenv("CLIPCAP_CACHE");
}

}  // namespace clipcap
