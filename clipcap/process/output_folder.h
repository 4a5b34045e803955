// A folder that one process writes: made, locked against others, and tried out before any work is done for it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace clipcap {

class OutputFolder {
 public:
  /// Makes `path` and the folders above it where they are missing, locks it (flock of the folder itself, so
  /// that no file is left behind and a killed process frees it), writes and removes a file in it, and removes
  /// what killed processes left there and in its subfolders: the temporary files of replace_file. InputError
  /// naming the path when something else is in the way, nothing can be written, or another process holds it.
  explicit OutputFolder(std::filesystem::path path);
  /// Unlocks it; folders that the constructor made go if they are empty still.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void make();
  void lock();
  void probe() const;
  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // outermost first
  int fd_ = -1;
};

/// Removes temporary files of replace_file in a folder and its subfolders, those of other folders below
/// symbolic links not. Only who holds the folder may: nobody else writes there then.
void remove_leftovers(const std::filesystem::path& folder);

/// The same where others may be writing: only those of processes that this machine no longer has (a temporary
/// file is named after its process), and, with `target`, only those of that file. For the cache, and for a
/// file that is written into somebody's folder.
void remove_dead_leftovers(const std::filesystem::path& folder, const std::string& target = "");

}  // namespace clipcap
