// Annotations in MSR-VTT's and Video2Commonsense's layouts, merged into one list of captioned clips.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace clipcap {

struct Annotation {
  std::string text;                 // as written
  std::vector<std::string> tokens;  // words without <sos> and <eos>
};

struct Caption {
  Annotation caption;
  std::vector<Annotation> intention;
  std::vector<Annotation> effect;
  std::vector<Annotation> attribute;
};

struct ClipEntry {
  std::string video_id;
  std::filesystem::path file;  // video, frame folder or .npy; empty when none was found
  std::string split;           // train, validate or test; empty when the split file does not name the clip
  std::vector<Caption> captions;
};

struct Dataset {
  std::vector<ClipEntry> clips;  // in the order of the annotation files
};

struct DatasetOptions {
  bool find_media = true;   // look for each clip's file
  bool v2c_splits = false;  // splits from v2c_info.json (6,819 / 2,903 clips) instead of videodatainfo.json's
};

/// Reads the JSON files of a folder: *videodatainfo*.json (MSR-VTT) and *V2C*caption*.json, whose
/// captions carry intentions, effects and attributes; where both have a caption, V2C's tokens win. One of
/// the two kinds is enough: V2C's alone makes the clips itself, with the splits of v2c_info.json or
/// msrvtt_new_info.json beside it. Each clip's media is its "file", or video_id with a usual ending, in
/// the folder, in videos/, frames/ or features/. Everything malformed is an InputError naming the file
/// and the place.
[[nodiscard]] Dataset read_dataset(const std::filesystem::path& folder, const DatasetOptions& options);

/// Lower-cased words between white space, without hanging sentence marks, quotes and dashes. On
/// MSR-VTT's captions this is plain splitting: 23,666 different words in the training split, 13,626 of
/// them more than once.
[[nodiscard]] std::vector<std::string> split_words(const std::string& text);

}  // namespace clipcap
