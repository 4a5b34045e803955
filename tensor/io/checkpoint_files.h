// Which files on the disk a checkpoint is: one file, the parts of a sharded one, or whatever a folder holds.
//   DIR                                 model.safetensors, pytorch_model.bin, open_clip_model.safetensors, … in it, or
//                                       the only file of weights there
//   NAME.safetensors.index.json         {"weight_map": {tensor: file}} as Hugging Face shards have it, also .bin
//   NAME-00001-of-00003.safetensors     one of the parts: all of them, if all lie side by side
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace clipcap {

struct CheckpointFiles {
  std::vector<std::filesystem::path> files;  // at least one
  std::filesystem::path index;               // that names them; empty without
  std::string said;  // for people: what was taken; empty where it is plainly the file given
};

/// Throws InputError for a folder without weights or with several that could be meant, for an index that is broken
/// or names absent parts, and for a part whose others are not there. What is no folder, index or part is the
/// file itself, there or not.
[[nodiscard]] CheckpointFiles find_checkpoint_files(const std::filesystem::path& path);

/// The file that `path` stands for where others are sought beside it (config.json): the first of its files.
[[nodiscard]] std::filesystem::path main_checkpoint_file(const std::filesystem::path& path);

}  // namespace clipcap
