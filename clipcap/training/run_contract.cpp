#include "clipcap/training/run_contract.h"

#include "clipcap/config/config_difference.h"

namespace clipcap {
namespace fs = std::filesystem;

void check_may_run(const fs::path& directory, bool resume, bool overwrite) {
  CHECK_INPUT(!resume || !overwrite, "train: --resume and --overwrite exclude each other");
  std::error_code error;
  const fs::path checkpoint = checkpoint_path(directory);
  const fs::path model = directory / "model.safetensors";
  const bool run = fs::exists(checkpoint, error);
  const bool trained = fs::exists(model, error);
  CHECK_INPUT(resume || overwrite || (!run && !trained), directory.string(), ": holds a ",
              run ? "training run" : "model",
              " already: go on with --resume, replace it with --overwrite, or choose another --out");
  CHECK_INPUT(!resume || run || !trained, directory.string(),
              ": nothing to resume: there is a model, but no ", checkpoint.string(),
              " to go on from; --overwrite begins anew");
}

void remove_run(const fs::path& directory) {
  for (const fs::path& folder : {directory / "best", directory}) {
    for (const char* name : {"model.safetensors", "config.json", "vocab.json"}) fs::remove(folder / name);
  }
  fs::remove(directory / "metrics.jsonl");
  fs::remove(checkpoint_path(directory));
  std::error_code not_empty;  // other people's files stay
  for (const char* name : {"best", "last"}) fs::remove(directory / name, not_empty);
}

std::vector<std::string> check_resumable(const fs::path& directory, const Config& before, const Config& now) {
  constexpr size_t kMostNames = 10;
  std::vector<std::string> lines;
  std::string refused;
  size_t count = 0;
  for (const ChangedKey& changed : changed_keys(before, now)) {
    const std::string line =
        concat_text(changed.key, ": ", changed.before, " until now, ", changed.now, " from here on");
    if (changed.may_change) {
      lines.push_back(line + (changed.key == "train.min_count" || changed.key.ends_with("_vocabulary")
                                  ? " (of no effect: the run keeps its vocabulary)"
                                  : ""));
    } else if (++count <= kMostNames) {
      const std::string name = changed.key == "encoder.sha256" ? "encoder.weights (SHA-256)" : changed.key;
      refused +=
          concat_text(refused.empty() ? "" : ", ", name, " = ", changed.before, " (now ", changed.now, ")");
    }
  }
  if (count > kMostNames) refused += concat_text(" and ", count - kMostNames, " more");
  CHECK_INPUT(refused.empty(), checkpoint_path(directory).string(), ": the run was begun with ", refused,
              "; these cannot change on the way");
  return lines;
}

}  // namespace clipcap
