// What torch.save and torch.jit.save write, read without PyTorch:
//   zip          <top>/data.pkl describes the objects, <top>/data/N holds the storages (PyTorch 1.6 on)
//   TorchScript  the same with constants.pkl and code/: a module object whose attributes are the tensors
//   legacy       five pickles, then the storages one after the other (before PyTorch 1.6)
// Names are the path to a tensor through the nested containers, joined by dots: dictionary keys, attribute
// names, positions in lists. Everything that is no tensor is left out.
#pragma once

#include "tensor/io/tensor_file.h"

namespace clipcap {

[[nodiscard]] bool is_torch_file(std::span<const std::byte> bytes);

/// Tensors keep their strides and share storages as they did when they were saved. A file that is one bare
/// tensor gives it the name "tensor"; TorchScript's constants are called "constants.N". Throws InputError
/// naming the file and the place: a pickle that names anything but tensors and plain containers is refused by
/// that name.
[[nodiscard]] TensorFile read_torch_file(std::shared_ptr<const MappedFile> file, const std::string& name);

}  // namespace clipcap
