// The generated world: one seed one world, held-back combinations, what the words say, what the frames show.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "clipcap/data/annotations.h"
#include "clipcap/media/video.h"
#include "clipcap/world/world.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap::world {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string bytes_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

Scene scene_of(Event event, uint64_t seed) {
  Generator generator(seed);
  Scene scene;
  scene.event = event;
  scene.setting.actor = {static_cast<Shape>(generator.index(kShapes)),
                         static_cast<Paint>(generator.index(kPaints)), generator.index(2) == 1};
  scene.setting.other = {scene.setting.actor.shape == Shape::ball ? Shape::star : Shape::ball,
                         scene.setting.actor.paint == Paint::red ? Paint::blue : Paint::red, false};
  scene.setting.place = static_cast<Place>(generator.index(kPlaces));
  scene.setting.hour = static_cast<Hour>(generator.index(kHours));
  return scene;
}

// Moments of a play at a fixed step, without the actors' exact places: what is where, rounded.
std::multiset<std::string> moments(Event event, uint64_t seed) {
  Generator generator(seed);
  const Play play(event, false, generator);
  std::multiset<std::string> result;
  for (double t = 0; t < play.seconds(); t += 0.1) {
    const Moment moment = play.at(t);
    const auto tenth = [](double x) { return std::to_string(std::lround(10 * x)); };
    result.insert(tenth(moment.actor.x) + " " + tenth(moment.actor.y) + " " +
                  (moment.box ? tenth(*moment.box) : "-") + (moment.lamp_lit ? "lit" : "dark") +
                  std::to_string(static_cast<int>(moment.apple)));
  }
  return result;
}

// Share of moments that both have.
double overlap(const std::multiset<std::string>& a, const std::multiset<std::string>& b) {
  std::vector<std::string> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return static_cast<double>(both.size()) / static_cast<double>(std::max(a.size(), b.size()));
}

}  // namespace

TEST_CASE("world: captions name their own event and actors, and no other", "[world]") {
  for (int event = 0; event < kEvents; ++event) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      const Scene scene = scene_of(static_cast<Event>(event), seed);
      Generator generator(seed, 1000);
      const std::vector<std::string> texts = captions(scene, 60, generator);
      CHECK(std::set<std::string>(texts.begin(), texts.end()).size() == 60);
      for (const std::string& text : texts) {
        INFO(text);
        CHECK(named_event(text) == event);
        const Judgement judgement = judge(text, scene);
        CHECK(judgement.actors);
        CHECK(judgement.event);
        Scene other = scene;
        other.setting.actor.paint = scene.setting.actor.paint == Paint::green ? Paint::orange : Paint::green;
        CHECK_FALSE(judge(text, other).actors);
        other = scene;
        other.event = static_cast<Event>((event + 1) % kEvents);
        CHECK_FALSE(judge(text, other).event);
      }
    }
  }
  CHECK(named_event("a red ball") == -1);
  CHECK(named_event("") == -1);
  CHECK(named_event("a red ball pulls the box and puts an apple into the basket") ==
        static_cast<int>(Event::put_in));
  CHECK(named_event("a red ball puts an apple into the basket and pulls the box") ==
        static_cast<int>(Event::put_in));
  Scene scene = scene_of(Event::give, 1);
  scene.setting.actor = {Shape::ball, Paint::red, false};
  scene.setting.other = {Shape::star, Paint::blue, false};
  CHECK(judge("a red ball gives an apple to a blue star", scene).actors);
  CHECK_FALSE(judge("a red ball gives an apple to a star", scene).actors);
  CHECK_FALSE(judge("a red ballgives an apple to a blue star", scene).actors);
}

TEST_CASE("world: commonsense lines follow from the event alone and belong to no other", "[world]") {
  std::map<std::string, int> owner;
  for (int event = 0; event < kEvents; ++event) {
    Generator generator(3);
    const Commonsense all = commonsense(scene_of(static_cast<Event>(event), 1), 100, generator);
    CHECK(all.intentions.size() >= 3);
    CHECK(all.effects.size() >= 3);
    CHECK(all.attributes.size() >= 3);
    for (const auto* lines : {&all.intentions, &all.effects, &all.attributes}) {
      for (const std::string& line : *lines) {
        INFO(line);
        CHECK(owner.emplace(line, event).second);
      }
    }
    for (const std::string& line : all.intentions) CHECK(line.starts_with("to "));
    for (const std::string& line : all.attributes) CHECK(line.find(' ') == std::string::npos);
  }
}

TEST_CASE("world: pairs of events show the same moments in another order", "[world]") {
  for (const auto& [first, second] : {std::pair{Event::put_in, Event::take_out},
                                      {Event::climb_up, Event::climb_down},
                                      {Event::switch_on, Event::switch_off},
                                      {Event::push, Event::pull},
                                      {Event::give, Event::take}}) {
    INFO(name(first) << ", " << name(second));
    CHECK(overlap(moments(first, 7), moments(second, 7)) > 0.9);
  }
  CHECK(overlap(moments(Event::put_in, 7), moments(Event::push, 7)) < 0.5);
  int timed = 0;
  for (int event = 0; event < kEvents; ++event)
    timed += needs(static_cast<Event>(event)) == Needs::order ? 1 : 0;
  CHECK(timed >= kEvents / 2);
}

TEST_CASE("world: what happens, happens in its order", "[world]") {
  for (const bool mirrored : {false, true}) {
    for (uint64_t seed = 1; seed < 6; ++seed) {
      const auto play = [&](Event event) {
        Generator generator(seed);
        return Play(event, mirrored, generator);
      };
      const auto ends = [](const Play& p) { return std::pair{p.at(0), p.at(p.seconds())}; };
      CHECK(ends(play(Event::put_in)).first.apple == AppleAt::actor);
      CHECK(ends(play(Event::put_in)).second.apple == AppleAt::basket);
      CHECK(ends(play(Event::take)).first.apple == AppleAt::other);
      CHECK(ends(play(Event::take)).second.apple == AppleAt::actor);
      CHECK_FALSE(ends(play(Event::switch_on)).first.lamp_lit);
      CHECK(ends(play(Event::switch_on)).second.lamp_lit);
      CHECK(ends(play(Event::climb_up)).second.actor.y == Approx(kBoxHeight));
      CHECK(ends(play(Event::climb_down)).second.actor.y == Approx(0).margin(1e-9));
      // The box goes away from the actor's side when it is pushed and comes along when it is pulled.
      const double side = mirrored ? -1 : 1;
      const auto [push_begin, push_end] = ends(play(Event::push));
      CHECK(side * (*push_end.box - *push_begin.box) > 0.2);
      const auto [pull_begin, pull_end] = ends(play(Event::pull));
      CHECK(side * (*pull_end.box - *pull_begin.box) < -0.2);
      for (const Moment& moment : {push_begin, push_end, pull_begin, pull_end})
        CHECK(side * (*moment.box - moment.actor.x) == Approx(0.24));
      const auto [race_begin, race_end] = ends(play(Event::overtake));
      CHECK(side * (race_begin.other->x - race_begin.actor.x) > 0.1);
      CHECK(side * (race_end.other->x - race_end.actor.x) < 0);
      // Nobody leaves the picture.
      for (int event = 0; event < kEvents; ++event) {
        const Play p = play(static_cast<Event>(event));
        CHECK(p.seconds() > 2.5);
        CHECK(p.seconds() < 8);
        for (double t = 0; t <= p.seconds(); t += 0.05) {
          const Moment m = p.at(t);
          CHECK(m.actor.x > 0.05);
          CHECK(m.actor.x < 0.95);
          if (m.other) CHECK((m.other->x > 0.05 && m.other->x < 0.95));
        }
      }
    }
  }
}

TEST_CASE("world: a combination of one split is in no other", "[world]") {
  WorldOptions options;
  options.clips = 690;
  const std::vector<Clip> clips = plan_world(options);
  std::map<std::string, std::string> split_of;
  std::map<std::string, int> count;
  std::map<Event, std::set<std::string>> splits;
  for (const Clip& clip : clips) {
    const Looks& looks = clip.scene.setting.actor;
    const std::string key = std::string(word(looks.paint)) + word(looks.shape) + name(clip.scene.event);
    INFO(key);
    CHECK(split_of.emplace(key, clip.split).first->second == clip.split);
    ++count[clip.split];
    splits[clip.scene.event].insert(clip.split);
  }
  CHECK(count["train"] == 483);
  CHECK(count["validate"] == 69);
  CHECK(count["test"] == 138);
  for (const auto& [event, names] : splits) CHECK(names.size() == 3);
  // The first clips of a world are those of a larger one.
  options.clips = 100;
  const std::vector<Clip> fewer = plan_world(options);
  for (size_t i = 0; i < fewer.size(); ++i)
    CHECK(fewer[i].scene.setting.actor.paint == clips[i].scene.setting.actor.paint);
  options.clips = 12;
  for (const Clip& clip : plan_world(options)) CHECK(clip.split == "train");
}

TEST_CASE("world: written as files, read as any data set, one seed one world", "[world]") {
  const TemporaryFolder folder("world");
  WorldOptions options;
  options.clips = 5;
  options.captions = 4;
  int told = 0;
  write_world(folder.path() / "a", options, [&](int) { ++told; });
  CHECK(told == 5);
  write_world(folder.path() / "b", options);
  for (const char* file :
       {"videodatainfo.json", "V2C_caption.json", "v2c_info.json", "world.json", "videos/video3.mp4"})
    CHECK((bytes_of(folder.path() / "a" / file) == bytes_of(folder.path() / "b" / file)));
  options.seed = 2;
  write_world(folder.path() / "c", options);
  CHECK((bytes_of(folder.path() / "a" / "world.json") != bytes_of(folder.path() / "c" / "world.json")));

  options.seed = 1;
  const std::vector<Clip> clips = plan_world(options);
  const auto truth = read_truth(folder.path() / "a");
  REQUIRE(truth.size() == 5);
  for (const Clip& clip : clips) {
    const Scene& scene = truth.at(clip.id);
    CHECK(scene.event == clip.scene.event);
    CHECK(scene.setting.actor.paint == clip.scene.setting.actor.paint);
    CHECK(scene.setting.actor.shape == clip.scene.setting.actor.shape);
  }
  const json commonsense = json::parse(bytes_of(folder.path() / "a" / "V2C_caption.json"));
  CHECK(commonsense["video0"].size() == 4);
  CHECK(commonsense["video0"][0]["intention"].size() == 3);
  // The file shows the frames that were drawn, as far as the codec goes.
  const std::vector<Image> drawn = frames_of(clips[0], options);
  std::vector<Image> read;
  read_video(folder.path() / "a" / "videos" / "video0.mp4", {.frames = static_cast<int64_t>(drawn.size())},
             [&](int64_t, Image&& image) { read.push_back(std::move(image)); });
  REQUIRE(read.size() == drawn.size());
  double difference = 0;
  for (size_t i = 0; i < drawn[20].rgb.size(); ++i)
    difference += std::abs(int{drawn[20].rgb[i]} - int{read[20].rgb[i]});
  CHECK(difference / static_cast<double>(drawn[20].rgb.size()) < 6);
}

TEST_CASE("world: a truth file that is none", "[world]") {
  const TemporaryFolder folder("world-truth");
  const auto refused = [&](const std::string& text) {
    folder.write("world.json", text);
    return message_of([&] { (void)read_truth(folder.path()); });
  };
  check_contains(refused("{}"), "world.json");
  check_contains(refused("[]"), "world.json");
  check_contains(refused(R"({"clips":{"video0":{"event":"fly"}}})"), "video0");
  check_contains(refused(R"({"clips":{"video0":{"event":"give","actors":[{}]}}})"), "2 actors");
  check_contains(
      refused(R"({"clips":{"video0":{"event":"push","actors":[{"colour":"pink","shape":"ball"}]}}})"),
      "colour");
}

}  // namespace clipcap::world
