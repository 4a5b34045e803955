// Keys that a configuration leaves without effect: a value that is written down and then not used is a mistake of
// whoever wrote it.
#pragma once

#include <string>
#include <string_view>

#include "clipcap/config/config.h"

namespace clipcap {

/// Why a key has no effect in `config`, as in "model.encoder is vit-b-16, whose geometry is fixed"; "" where it
/// has one.
[[nodiscard]] std::string why_without_effect(const Config& config, std::string_view key);

}  // namespace clipcap
