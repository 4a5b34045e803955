// safetensors: a u64 header length, a JSON header {name: {dtype, shape, data_offsets}}, raw little-endian
// data. Read memory-mapped: tensors are views into the file. Format: huggingface/safetensors README.
#pragma once

#include "tensor/io/tensor_file.h"

namespace clipcap {

/// Every claim of the header is checked against the file before anything is read: lengths, dtypes, overflow,
/// holes and overlaps, duplicate names. Throws InputError naming the file and the tensor.
[[nodiscard]] TensorFile read_safetensors(std::shared_ptr<const MappedFile> file, const std::string& name);
[[nodiscard]] TensorFile read_safetensors(const std::filesystem::path& path);

/// Wide elements before narrow ones, then names in alphabetical order, data 64-byte aligned through the
/// header's padding; the file appears complete or not at all. The same tensors give the same bytes.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace clipcap
