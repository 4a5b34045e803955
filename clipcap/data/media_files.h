// Where the clips of a data set lie: videos, frame folders and .npy files in a folder and in those below it
// that people keep them in.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "clipcap/data/dataset.h"

namespace clipcap {

/// ".mp4", ".JPG", ".npy" …: endings of videos, pictures and arrays. Subtitles, descriptions and half-loaded
/// files share a clip's name, so others do not count.
[[nodiscard]] bool is_media_ending(std::string_view ending);

/// Fills every clip's file and folder. A clip's media is the file that `names` has for its id, or else one of
/// its id with a usual ending, letter case aside, or a folder of its id, in this order of places: `folder`
/// itself, videos/, frames/, features/, TrainValVideo/, TestVideo/, videos/all/, and at last every other
/// folder down to three levels, where pictures do not count (they may be thumbnails). Returns those looked
/// at, for a message. InputError when a name leads out of the folder.
std::string find_media(const std::filesystem::path& folder, Dataset& dataset,
                       const std::unordered_map<std::string, std::string>& names);

}  // namespace clipcap
