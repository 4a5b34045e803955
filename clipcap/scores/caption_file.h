// Files of captions to score and of references: COCO's annotations and results, MSR-VTT's videodatainfo.json and
// the plain layouts that people write.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "clipcap/scores/segment.h"

namespace clipcap {

struct CaptionedId {
  std::string id;             // numbers as decimal text: 7010 and "7010" are the same clip
  bool id_is_number = false;  // as the file has it
  std::string split;          // MSR-VTT's train, validate or test; empty in other layouts
  std::vector<std::string> captions;
};

struct CaptionFile {
  std::string name;                  // of the file, for messages
  std::vector<CaptionedId> entries;  // in the order of the file, each id once
};

/// Reads, by what the file holds:
///   [{"image_id": 7010, "caption": "..."}, ...]             COCO results; also "video_id", "id", or "input" of
///                                                           `clipcap caption --json` (its name without ending)
///   {"annotations": [{"image_id", "caption"}, ...]}         COCO annotations
///   {"videos": [...], "sentences": [{"video_id", "caption"}, ...]}   MSR-VTT
///   {"video7010": "...", "video7011": ["...", "..."]}       one or several captions by id
/// and one object a line where the name ends in .jsonl. Line breaks in a caption become spaces. Everything
/// malformed is an InputError naming file and place; so is a caption of more than 20,000 bytes.
[[nodiscard]] CaptionFile read_caption_file(const std::filesystem::path& path);

struct PairOptions {
  std::string split;    // only these references; empty: all
  bool subset = false;  // leave out references without a hypothesis instead of refusing them
};

struct ScoredClips {
  std::vector<std::string> ids;
  std::vector<bool> id_is_number;
  std::vector<Segment> segments;  // not tokenised yet; in the order of the references
  size_t left_out = 0;            // references without hypothesis, where `subset` allows that
};

/// Gives every hypothesis its references. Where MSR-VTT's references are named video7010, the number 7010 means
/// the same clip. InputError that names the ids for hypotheses without references, several hypotheses for one
/// clip, and references without a hypothesis.
[[nodiscard]] ScoredClips pair_captions(const CaptionFile& references, const CaptionFile& hypotheses,
                                        const PairOptions& options);

/// "7, 8, 9 and 12 more": the first five of `names`.
[[nodiscard]] std::string first_few(const std::vector<std::string>& names);
/// 2990 as "2,990".
[[nodiscard]] std::string with_thousands(size_t number);

}  // namespace clipcap
