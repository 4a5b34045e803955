// What a file is that is not what it was taken for: a pointer of Git LFS, a web page, an archive, a picture.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace clipcap {

/// Told by the content, for people, to stand behind "FILE: ": "a Git LFS pointer, …", "a web page (HTML), …". Empty
/// for what is not recognised; a checkpoint of safetensors, PyTorch or NumPy never is.
[[nodiscard]] std::string foreign_content(std::span<const std::byte> bytes);

}  // namespace clipcap
