// stdout, where results go: what could not be written there is an error, never a silence.
#pragma once

#include <string_view>

namespace clipcap::tools {

/// Called first in main. A closed stdin, stdout or stderr would give its number to the first file that is
/// opened, and results or messages would be written into that file.
void guard_standard_streams();

/// Writes to stdout; with `flush`, it is out when the call returns. Throws Error when stdout is full, closed
/// or no longer read.
void print(std::string_view text, bool flush = false);
/// What a command has printed is out. Throws as print().
void finish_output();

}  // namespace clipcap::tools
