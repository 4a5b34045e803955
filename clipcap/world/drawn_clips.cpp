#include "clipcap/world/drawn_clips.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "clipcap/data/annotations.h"
#include "clipcap/media/video_writer.h"
#include "clipcap/text/vocabulary.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"
#include "tensor/random.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr int kSide = 96;
constexpr int kFrames = 30;

struct Colour {
  const char* name;
  std::array<uint8_t, 3> rgb;
};
constexpr std::array<Colour, 5> kColours{{{"red", {220, 50, 40}},
                                          {"green", {60, 180, 75}},
                                          {"blue", {60, 90, 220}},
                                          {"yellow", {240, 210, 50}},
                                          {"purple", {150, 60, 180}}}};
constexpr std::array<Colour, 3> kGrounds{
    {{"white", {235, 235, 235}}, {"black", {20, 20, 20}}, {"grey", {128, 128, 128}}}};
constexpr std::array<const char*, 3> kShapes{"ball", "square", "diamond"};

struct Motion {
  const char* verb;  // "the red ball …"
  const char* intention;
  const char* effect;
  const char* attribute;
};
constexpr std::array<Motion, 6> kMotions{
    {{"moves to the right", "to reach the right side", "arrives on the right", "steady"},
     {"moves to the left", "to reach the left side", "arrives on the left", "calm"},
     {"grows bigger", "to fill the picture", "becomes large", "ambitious"},
     {"shrinks", "to hide from view", "becomes small", "shy"},
     {"goes around in a circle", "to look at every corner", "comes back again", "dizzy"},
     {"blinks on and off", "to send a signal", "gets noticed", "nervous"}}};

struct Scene {
  size_t colour;
  size_t ground;
  size_t shape;
  size_t motion;
};

Image draw(const Scene& scene, int frame) {
  const double t = static_cast<double>(frame) / (kFrames - 1);
  double x = 0.5;
  double y = 0.5;
  double radius = 0.16;
  bool visible = true;
  switch (scene.motion) {
    case 0:
      x = 0.15 + 0.7 * t;
      break;
    case 1:
      x = 0.85 - 0.7 * t;
      break;
    case 2:
      radius = 0.06 + 0.34 * t;
      break;
    case 3:
      radius = 0.40 - 0.34 * t;
      break;
    case 4:
      x = 0.5 + 0.28 * std::cos(12.566 * t);
      y = 0.5 + 0.28 * std::sin(12.566 * t);
      break;
    default:
      visible = frame / 5 % 2 == 0;
  }
  Image image{kSide, kSide, std::vector<uint8_t>(static_cast<size_t>(kSide) * kSide * 3)};
  for (int row = 0; row < kSide; ++row) {
    for (int column = 0; column < kSide; ++column) {
      const double dx = std::abs((column + 0.5) / kSide - x);
      const double dy = std::abs((row + 0.5) / kSide - y);
      const double reach = scene.shape == 0   ? std::hypot(dx, dy)
                           : scene.shape == 1 ? std::max(dx, dy) * 1.1
                                              : (dx + dy) * 0.8;
      const auto& rgb = visible && reach < radius ? kColours[scene.colour].rgb : kGrounds[scene.ground].rgb;
      for (size_t c = 0; c < 3; ++c)
        image.rgb[(static_cast<size_t>(row) * kSide + static_cast<size_t>(column)) * 3 + c] = rgb[c];
    }
  }
  return image;
}

json tokens(const std::string& text) {
  json list = json::array({"<sos>"});
  for (const std::string& word : split_words(text)) list.push_back(word);
  list.push_back("<eos>");
  return list;
}

json pair_of(const std::string& text) { return json::array({json::array({text, tokens(text)})}); }

}  // namespace

void write_drawn_clips(const std::filesystem::path& folder, int clips, uint64_t seed) {
  CHECK_INPUT(clips > 0, "drawn-clips: ", clips, " clips");
  std::filesystem::create_directories(folder / "videos");
  Generator generator(seed);
  json info{{"info", {{"description", "clips drawn by clipcap"}}},
            {"videos", json::array()},
            {"sentences", json::array()}};
  json commonsense = json::object();
  json numbers = json::array();
  std::vector<std::vector<std::string>> sentences;  // of the commonsense lines
  for (int i = 0; i < clips; ++i) {
    // Shapes and motions take turns, so that a small set has them all; colours are drawn.
    const Scene scene{static_cast<size_t>(generator.index(kColours.size())),
                      static_cast<size_t>(generator.index(kGrounds.size())),
                      static_cast<size_t>(i) / kMotions.size() % kShapes.size(),
                      static_cast<size_t>(i) % kMotions.size()};
    std::vector<Image> frames;
    for (int frame = 0; frame < kFrames; ++frame) frames.push_back(draw(scene, frame));
    const std::string id = "video" + std::to_string(i);
    write_video(folder / "videos" / (id + ".mp4"), frames, {});
    info["videos"].push_back({{"id", i},
                              {"video_id", id},
                              {"file", id + ".mp4"},
                              {"category", 0},
                              {"url", ""},
                              {"split", "train"},
                              {"start time", 0.0},
                              {"end time", 0.0}});
    numbers.push_back(i);
    const Motion& motion = kMotions[scene.motion];
    for (const char* line : {motion.intention, motion.effect, motion.attribute})
      sentences.push_back(split_words(line));
    const std::string subject = std::string(kColours[scene.colour].name) + " " + kShapes[scene.shape];
    const std::string ground = kGrounds[scene.ground].name;
    const std::array<std::string, 4> captions{
        "a " + subject + " " + motion.verb,
        "a " + subject + " " + motion.verb + " on a " + ground + " ground",
        "there is a " + subject + " that " + motion.verb,
        "on a " + ground + " ground a " + subject + " " + motion.verb};
    for (const std::string& caption : captions) {
      info["sentences"].push_back(
          {{"sen_id", info["sentences"].size()}, {"video_id", id}, {"caption", caption}});
      commonsense[id].push_back({{"caption", caption},
                                 {"final_caption", tokens(caption)},
                                 {"intention", pair_of(motion.intention)},
                                 {"effect", pair_of(motion.effect)},
                                 {"attribute", pair_of(motion.attribute)}});
    }
  }
  write_text_file(folder / "videodatainfo.json", info.dump(1));
  write_text_file(folder / "V2C_caption.json", commonsense.dump(1));
  const Vocabulary vocabulary = Vocabulary::build(sentences, 0);
  json v2c{{"ix_to_word", json::object()}, {"word_to_ix", json::object()}};
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    v2c["ix_to_word"][std::to_string(id)] = vocabulary.word(id);
    v2c["word_to_ix"][vocabulary.word(id)] = std::to_string(id);  // strings, as in V2C's own files
  }
  v2c["videos"] = {{"train", numbers}, {"val", json::array()}, {"test", json::array()}};
  write_text_file(folder / "v2c_info.json", v2c.dump(1));
}

}  // namespace clipcap
