// NumPy's .npy files, versions 1 to 3, in C or Fortran order and either byte order. Format: NumPy's
// documentation of numpy.lib.format.
#pragma once

#include "tensor/io/tensor_file.h"

namespace clipcap {

[[nodiscard]] bool is_npy(std::span<const std::byte> bytes);

/// One tensor called "array"; a view into the mapped file where its bytes allow that (Fortran order: a
/// transposed view). Throws InputError naming the file when it is truncated, longer than its header says, or
/// holds another kind of element (Python objects among them).
[[nodiscard]] TensorFile read_npy(std::shared_ptr<const MappedFile> file, const std::string& name);
[[nodiscard]] Tensor read_npy(const std::filesystem::path& path);

}  // namespace clipcap
