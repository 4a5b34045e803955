// The generated world as a data set: video files with MSR-VTT's and Video2Commonsense's annotations, so that it goes
// through exactly the path that real data goes through, and the truth about every clip beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "clipcap/world/sentences.h"

namespace clipcap::world {

struct WorldOptions {
  int clips = 920;
  uint64_t seed = 1;
  int captions = 20;    // a clip
  int commonsense = 3;  // intentions, effects and attributes a caption
};

/// Frames a second of the clips; most last four to five seconds.
inline constexpr int kFramesPerSecond = 12;

/// Worlds of fewer clips than this are all training: there is nothing to hold back.
inline constexpr int kSmallestSplitWorld = 2 * kEvents;

struct Clip {
  std::string id;     // "video12"
  std::string split;  // "train", "validate" or "test"
  Scene scene;
  bool mirrored = false;
};

/// The clips of a world, in order. Events take turns; three clips in ten are held back (one to validate, two to test).
/// A kind of actor (colour and shape) that meets an event in one of the splits never meets it in another.
[[nodiscard]] std::vector<Clip> plan_world(const WorldOptions& options);

/// The frames of a clip of that world.
[[nodiscard]] std::vector<Image> frames_of(const Clip& clip, const WorldOptions& options);

/// Writes videos/videoN.mp4, videodatainfo.json, V2C_caption.json, v2c_info.json and world.json (the truth) into
/// `folder`. One seed, one data set. `progress` is told how many clips are written; it may throw to stop.
void write_world(const std::filesystem::path& folder, const WorldOptions& options,
                 const std::function<void(int done)>& progress = {});

/// What world.json says of each clip, by video_id. InputError naming the file.
[[nodiscard]] std::map<std::string, Scene> read_truth(const std::filesystem::path& folder);

/// Every event (its first clip), `columns` moments of it side by side; two events a row, in their order.
[[nodiscard]] Image contact_sheet(const WorldOptions& options, int columns);

}  // namespace clipcap::world
