#include "tensor/io/tensor_file.h"

#include <algorithm>
#include <string_view>

#include "tensor/io/checkpoint_files.h"
#include "tensor/io/foreign_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/torch_file.h"

namespace clipcap {
namespace {

// Length of the well-formed UTF-8 sequence at `at` (Unicode table 3-7); 0 when there is none.
size_t utf8_sequence(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0U; };
  const auto tail = [&](size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xBF; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : 0xBF;  // no surrogates
    return byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_sequence(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

TensorFile read_one_file(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (is_torch_file(bytes)) return read_torch_file(file, path.string());
  if (is_npy(bytes)) return read_npy(file, path.string());
  if (bytes.size() <= 8 || bytes[8] != std::byte{'{'}) {
    const std::string what = foreign_content(bytes);
    CHECK_INPUT(what.empty(), path.string(), ": ", what, "; a file of weights was expected");
    fail_input(path.string(),
               ": not a file of tensors that is read here (safetensors, PyTorch's .pt .pth .bin, "
               "TorchScript and .npy are)");
  }
  return read_safetensors(file, path.string());
}

// What lies beside the weights of a training checkpoint: optimizers and their like, and averages of the weights.
bool is_beside_weights(std::string_view key) {
  for (const char* start :
       {"optim", "opt_", "sched", "lr_sched", "scaler", "grad_scaler", "amp", "ema", "average", "swa",
        "shadow", "rng", "loss", "callbacks", "loops", "hparams", "hyper_parameters"}) {
    if (key.starts_with(start)) return true;
  }
  return key.ends_with("_ema") || key.ends_with("_optimizer") || key.ends_with("_scheduler") ||
         key.ends_with("_averaged");
}

}  // namespace

TensorFile read_tensor_file(const std::filesystem::path& path) {
  const CheckpointFiles found = find_checkpoint_files(path);
  TensorFile result = read_one_file(found.files.front());
  for (size_t i = 1; i < found.files.size(); ++i) {
    TensorFile part = read_one_file(found.files[i]);
    for (auto& [name, tensor] : part.tensors) {
      CHECK_INPUT(result.tensors.emplace(name, std::move(tensor)).second, found.files[i].string(),
                  ": its tensor \"", name, "\" is in another part too");
    }
    result.skipped.merge(part.skipped);
    result.metadata.merge(part.metadata);
    result.more.push_back(std::move(part.file));
  }
  if (found.files.size() > 1) result.format += concat_text(" in ", found.files.size(), " files");
  result.said = found.said;
  return result;
}

std::string unwrap_state_dict(std::map<std::string, Tensor>& tensors) {
  for (const char* key : {"state_dict", "model_state_dict", "model"}) {
    const std::string prefix = std::string(key) + ".";
    std::map<std::string, Tensor> inside;
    bool weights_outside = false;
    for (const auto& [name, tensor] : tensors) {
      if (name.starts_with(prefix)) {
        inside.emplace(name.substr(prefix.size()), tensor);
      } else {
        // A network may well have a layer called "model": then its other layers lie beside it.
        weights_outside = weights_outside || ((name.ends_with(".weight") || name.ends_with(".bias")) &&
                                              !is_beside_weights(name.substr(0, name.find('.'))));
      }
    }
    if (inside.empty() || weights_outside) continue;
    tensors = std::move(inside);
    return key;
  }
  return {};
}

bool strip_prefix(std::map<std::string, Tensor>& tensors, const std::string& prefix) {
  if (tensors.empty() || !std::all_of(tensors.begin(), tensors.end(),
                                      [&](const auto& entry) { return entry.first.starts_with(prefix); })) {
    return false;
  }
  std::map<std::string, Tensor> stripped;
  for (auto& [name, tensor] : tensors) stripped.emplace(name.substr(prefix.size()), std::move(tensor));
  tensors = std::move(stripped);
  return true;
}

namespace detail {

void add_named_tensor(TensorFile& file, const std::string& where, const std::string& name, Tensor tensor) {
  constexpr size_t kLongestName = 1024;
  CHECK_INPUT(name.size() <= kLongestName, where, ": the tensor \"", name.substr(0, 60), "…\" has a name of ",
              name.size(), " bytes; at most ", kLongestName, " are read");
  CHECK_INPUT(is_utf8(name), where, ": a tensor's name is not UTF-8");
  CHECK_INPUT(file.tensors.emplace(name, std::move(tensor)).second, where, ": two tensors are called \"",
              name, "\"");
}

void add_skipped_tensor(TensorFile& file, const std::string& where, const std::string& name,
                        std::string kind) {
  constexpr size_t kMostSkipped = 50'000;
  CHECK_INPUT(name.size() <= 1024 && is_utf8(name), where, ": a tensor's name is too long or not UTF-8");
  CHECK_INPUT(file.skipped.size() < kMostSkipped, where, ": more than ", kMostSkipped,
              " tensors that are not read");
  file.skipped.emplace(name, std::move(kind));
}

uint64_t bytes_of(const std::string& where, const Shape& shape, DType dtype) {
  int64_t bytes = size_of(dtype);
  bool empty = false;
  for (int i = 0; i < shape.rank(); ++i) {
    empty = empty || shape[i] == 0;
    CHECK_INPUT(!__builtin_mul_overflow(bytes, std::max<int64_t>(1, shape[i]), &bytes), where,
                ": a shape of ", shape, " has too many elements");
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

void swap_bytes(std::byte* data, size_t bytes, size_t element) {
  if (element < 2) return;
  for (size_t at = 0; at + element <= bytes; at += element) std::reverse(data + at, data + at + element);
}

}  // namespace detail
}  // namespace clipcap
