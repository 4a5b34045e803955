// What a directory with a run in it allows: whether a new run may begin there, and what a run that goes on may
// change.
#pragma once

#include <string>
#include <vector>

#include "clipcap/model_directory.h"

namespace clipcap {

/// InputError when `directory` holds a run (a model or a checkpoint) and neither `resume` nor `overwrite` is
/// given, when both are, or when there is a model to resume without a checkpoint.
void check_may_run(const std::filesystem::path& directory, bool resume, bool overwrite);

/// Removes a run's files, and nothing else; the model first, so that what is left never passes for a model.
void remove_run(const std::filesystem::path& directory);

/// InputError naming every key of `now` that changes what the run computes. Otherwise a line for each key
/// that differs.
[[nodiscard]] std::vector<std::string> check_resumable(const std::filesystem::path& directory,
                                                       const Config& before, const Config& now);

}  // namespace clipcap
