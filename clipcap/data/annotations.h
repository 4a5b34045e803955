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
  std::string split;           // train, validate or test
  std::vector<Caption> captions;
};

struct Dataset {
  std::vector<ClipEntry> clips;  // in the order of the annotation files
};

struct DatasetOptions {
  bool find_media = true;  // look for each clip's file
};

/// Reads the JSON files of a folder: every *videodatainfo*.json (MSR-VTT; at least one), and V2C's *V2C*caption*.json,
/// whose captions carry intentions, effects and attributes; where both have a caption, V2C's tokens win. Each clip's
/// media is its "file", or video_id with a usual ending, in the folder, in videos/, frames/ or features/.
/// Everything malformed is an InputError naming the file and the place.
[[nodiscard]] Dataset read_dataset(const std::filesystem::path& folder, const DatasetOptions& options);

/// Lower-cased words between white space, without the punctuation that the COCO caption evaluation drops.
[[nodiscard]] std::vector<std::string> split_words(const std::string& text);

}  // namespace clipcap
