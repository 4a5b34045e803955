// What a run learns from, as a few hashes that its checkpoints keep: a resumed run says what has changed.
#pragma once

#include <map>
#include <string>

#include "clipcap/training/training_set.h"

namespace clipcap {

/// By part: "captions" (ids, texts and annotations of the training split, in their order), "evaluation" (the
/// same of the evaluation split) and "features" (shape and first row of every training clip's features; left
/// out when the encoder is trained, or before they are loaded).
[[nodiscard]] std::map<std::string, std::string> data_digest(const TrainingSet& set);

/// The parts that are in both and differ, in words: "the captions, the features"; empty when none.
[[nodiscard]] std::string changed_parts(const std::map<std::string, std::string>& before,
                                        const std::map<std::string, std::string>& now);

}  // namespace clipcap
