// Named tensors from any file that people keep weights in, told apart by their content, never by their name:
//   safetensors            read_safetensors   tensor/io/safetensors.h
//   PyTorch zip, legacy    read_torch_file    tensor/io/torch_file.h (TorchScript archives too)
//   .npy                   read_npy           tensor/io/npy.h
// Files are mapped and tensors are views into the mapping, so that opening one costs no more than the list of
// its names. A checkpoint of several files, or the folder of one, is read as if it were one file
// (tensor/io/checkpoint_files.h).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tensor/io/mapped_file.h"
#include "tensor/tensor.h"

namespace clipcap {

struct TensorFile {
  std::string format;                           // for people: "safetensors", "PyTorch zip", …
  std::map<std::string, Tensor> tensors;        // read-only, of any strides
  std::map<std::string, std::string> metadata;  // safetensors' "__metadata__"
  /// Tensors of kinds that are not read, by name: "complex64", "quantized", "sparse", "float8_e4m3fn", …
  std::map<std::string, std::string> skipped;
  std::shared_ptr<const MappedFile> file;
  std::vector<std::shared_ptr<const MappedFile>> more;  // the further files of a checkpoint in several
  std::string said;  // which files were taken, where that is not plain from the path; for people
};

/// A file is hostile until parsed: every claim in it is checked against its bytes, nothing in it is executed,
/// and reading takes no more memory than the file's size and some tens of megabytes. Throws InputError naming
/// the file and the place, or what the file is instead (a Git LFS pointer, a web page).
[[nodiscard]] TensorFile read_tensor_file(const std::filesystem::path& path);

/// A training checkpoint keeps the weights under one of the keys "state_dict", "model_state_dict", "model",
/// beside an optimizer's tensors and averaged copies: moves those weights to the top, drops the rest, and returns
/// the key. Empty and nothing changed when the file is not such a checkpoint.
std::string unwrap_state_dict(std::map<std::string, Tensor>& tensors);

/// Removes `prefix` when every name begins with it (DataParallel's "module."). True if it did.
bool strip_prefix(std::map<std::string, Tensor>& tensors, const std::string& prefix);

namespace detail {

/// Adds a tensor whose name comes from a file: well-formed UTF-8, at most 1024 bytes, not there yet.
void add_named_tensor(TensorFile& file, const std::string& where, const std::string& name, Tensor tensor);
/// The same for a tensor of a kind that is not read.
void add_skipped_tensor(TensorFile& file, const std::string& where, const std::string& name,
                        std::string kind);

/// Bytes of a contiguous tensor of a shape that a file claims. InputError beginning with `where` when sizes
/// and strides would not fit 63 bits (zero sizes count as one: strides skip over them).
[[nodiscard]] uint64_t bytes_of(const std::string& where, const Shape& shape, DType dtype);

/// Reverses the bytes of every element: files of the other byte order.
void swap_bytes(std::byte* data, size_t bytes, size_t element);

}  // namespace detail
}  // namespace clipcap
