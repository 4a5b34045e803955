// Annotations in MSR-VTT's and Video2Commonsense's layouts, merged into one list of captioned clips.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "clipcap/data/dataset.h"

namespace clipcap {

struct DatasetOptions {
  bool find_media = true;       // look for each clip's file
  std::string splits = "auto";  // where the splits are from (splits.h)
};

/// Reads the JSON files of a folder: *videodatainfo*.json or MSRVTT_data.json (MSR-VTT) and
/// *V2C*caption*.json, whose captions carry intentions, effects and attributes; where both have a caption,
/// V2C's tokens win. One of the two kinds is enough: V2C's alone makes the clips itself. Ids are compared as
/// plain_id has them where no clip has the very same. Captions and annotations without words are left out and
/// counted. Clips that have no file keep none; `places`, when given, receives the folders looked at.
/// Everything malformed is an InputError naming the file and the place.
[[nodiscard]] Dataset read_dataset(const std::filesystem::path& folder, const DatasetOptions& options,
                                   std::string* places = nullptr);

/// Lower-cased words between white space, without hanging sentence marks, quotes and dashes. On
/// MSR-VTT's captions this is plain splitting: 23,666 different words in the training split, 13,626 of
/// them more than once.
[[nodiscard]] std::vector<std::string> split_words(const std::string& text);

}  // namespace clipcap
