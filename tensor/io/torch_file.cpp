#include "tensor/io/torch_file.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "tensor/io/pickle.h"
#include "tensor/io/zip_archive.h"

namespace clipcap {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kZipMagic = "PK\x03\x04";
// Protocol 2 and the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

struct NamedDType {
  std::string_view name;        // of the class "torch.<name>Storage"
  std::string_view short_name;  // "torch.<short_name>"
  DType dtype;
};
constexpr NamedDType kDTypes[] = {{"Float", "float32", DType::f32},      {"Half", "float16", DType::f16},
                                  {"BFloat16", "bfloat16", DType::bf16}, {"Double", "float64", DType::f64},
                                  {"Long", "int64", DType::i64},         {"Int", "int32", DType::i32},
                                  {"Short", "int16", DType::i16},        {"Char", "int8", DType::i8},
                                  {"Byte", "uint8", DType::u8},          {"Bool", "bool", DType::boolean}};

// Classes of storage whose tensors are skipped: "torch.<name>Storage", and the bytes of an element, by which a legacy
// file's storages follow each other.
struct UnreadStorage {
  std::string_view name;
  std::string_view kind;  // for people
  size_t bytes;
};
constexpr UnreadStorage kUnreadStorages[] = {
    {"ComplexFloat", "complex64", 8},       {"ComplexDouble", "complex128", 16},
    {"QInt8", "quantized (qint8)", 1},      {"QUInt8", "quantized (quint8)", 1},
    {"QInt32", "quantized (qint32)", 4},    {"QUInt4x2", "quantized (quint4x2)", 1},
    {"QUInt2x4", "quantized (quint2x4)", 1}};

const UnreadStorage* unread_storage(std::string_view name) {
  for (const UnreadStorage& known : kUnreadStorages) {
    if (name.starts_with(known.name) && name.substr(known.name.size()) == "Storage") return &known;
  }
  return nullptr;
}

// "torch.<name>" that is a dtype, though not one that is read: "complex32", "uint16", "float8_e4m3fn", "bits8", …
bool is_unread_dtype(std::string_view name) {
  if (name == "chalf" || name == "cfloat" || name == "cdouble") return true;
  for (const std::string_view start : {"complex", "uint", "int", "float", "quint", "qint", "bits"}) {
    if (name.starts_with(start) && name.size() > start.size() && name[start.size()] >= '0' &&
        name[start.size()] <= '9')
      return true;
  }
  return false;
}

// Kinds of tensor that other functions of torch._utils make; nothing of theirs is read.
struct UnreadTensor {
  std::string_view function;
  std::string_view kind;
};
constexpr UnreadTensor kUnreadTensors[] = {{"_rebuild_qtensor", "quantized"},
                                           {"_rebuild_sparse_tensor", "sparse"},
                                           {"_rebuild_sparse_csr_tensor", "sparse"},
                                           {"_rebuild_nested_tensor", "nested"},
                                           {"_rebuild_meta_tensor_no_storage", "without data (meta)"},
                                           {"_rebuild_wrapper_subclass", "a tensor subclass"},
                                           {"_rebuild_device_tensor_from_numpy", "of another device"},
                                           {"_rebuild_device_tensor_from_cpu_tensor", "of another device"}};

const UnreadTensor* unread_tensor(std::string_view function) {
  for (const UnreadTensor& known : kUnreadTensors) {
    if (function == known.function) return &known;
  }
  return nullptr;
}

std::optional<DType> storage_dtype(std::string_view name) {
  for (const NamedDType& known : kDTypes) {
    if (name.starts_with(known.name) && name.substr(known.name.size()) == "Storage") return known.dtype;
  }
  if (name == "UntypedStorage") return DType::u8;
  return std::nullopt;
}

std::optional<DType> dtype_called(std::string_view name) {
  for (const NamedDType& known : kDTypes) {
    if (name == known.short_name) return known.dtype;
  }
  return std::nullopt;
}

// The list of Python globals that a checkpoint may name. None is ever called.
bool is_allowed(std::string_view module, std::string_view name) {
  if (module.starts_with("__torch__")) return true;  // classes of a TorchScript archive: attribute lists here
  if (module == "torch") {
    constexpr std::string_view kPlain[] = {"Size",
                                           "device",
                                           "Tensor",
                                           "contiguous_format",
                                           "preserve_format",
                                           "channels_last",
                                           "strided",
                                           "sparse_coo",
                                           "sparse_csr",
                                           "per_tensor_affine",
                                           "per_channel_affine",
                                           "per_tensor_symmetric",
                                           "per_channel_symmetric",
                                           "per_channel_affine_float_qparams"};
    return storage_dtype(name) || dtype_called(name) || unread_storage(name) != nullptr ||
           is_unread_dtype(name) || std::find(std::begin(kPlain), std::end(kPlain), name) != std::end(kPlain);
  }
  if (module == "torch._utils" && unread_tensor(name) != nullptr) return true;
  constexpr std::pair<std::string_view, std::string_view> kAllowed[] = {
      {"collections", "OrderedDict"},
      {"collections", "defaultdict"},
      {"collections", "Counter"},
      {"builtins", "set"},
      {"__builtin__", "set"},
      {"builtins", "dict"},
      {"builtins", "list"},
      {"builtins", "tuple"},
      {"builtins", "frozenset"},
      {"builtins", "bytearray"},
      {"builtins", "complex"},
      {"builtins", "slice"},
      {"builtins", "range"},
      // What trainers keep beside the weights; read as data like everything else.
      {"argparse", "Namespace"},
      {"types", "SimpleNamespace"},
      {"pathlib", "PosixPath"},
      {"pathlib", "PurePosixPath"},
      {"pathlib", "WindowsPath"},
      {"pathlib._local", "PosixPath"},
      {"pathlib._local", "WindowsPath"},
      {"datetime", "datetime"},
      {"datetime", "timedelta"},
      {"numpy", "dtype"},
      {"numpy", "ndarray"},
      {"numpy.core.multiarray", "scalar"},
      {"numpy._core.multiarray", "scalar"},
      {"numpy.core.multiarray", "_reconstruct"},
      {"numpy._core.multiarray", "_reconstruct"},
      {"pytorch_lightning.utilities.parsing", "AttributeDict"},
      {"lightning_fabric.utilities.data", "AttributeDict"},
      {"lightning.fabric.utilities.data", "AttributeDict"},
      {"lightning.pytorch.utilities.parsing", "AttributeDict"},
      {"torch.torch_version", "TorchVersion"},
      {"torch.serialization", "_get_layout"},
      {"_codecs", "encode"},
      {"torch._utils", "_rebuild_tensor"},
      {"torch._utils", "_rebuild_tensor_v2"},
      {"torch._utils", "_rebuild_tensor_v3"},
      {"torch._utils", "_rebuild_parameter"},
      {"torch._utils", "_rebuild_parameter_with_state"},
      {"torch._tensor", "_rebuild_from_type_v2"},
      {"torch.nn.parameter", "Parameter"},
      {"torch.nn.parameter", "Buffer"},
      {"torch.storage", "UntypedStorage"},
      {"torch.storage", "TypedStorage"},
      {"torch.jit._pickle", "build_intlist"},
      {"torch.jit._pickle", "build_tensorlist"},
      {"torch.jit._pickle", "build_doublelist"},
      {"torch.jit._pickle", "build_boollist"},
      {"torch.jit._pickle", "restore_type_tag"},
  };
  return std::find(std::begin(kAllowed), std::end(kAllowed), std::pair(module, name)) != std::end(kAllowed);
}

// The bytes that a storage's key stands for, ready to be viewed: in this machine's byte order, aligned.
class StorageSource {
 public:
  virtual ~StorageSource() = default;
  virtual std::shared_ptr<Storage> find(std::string_view key, size_t element, const std::string& where) = 0;

 protected:
  struct Known {
    std::shared_ptr<Storage> storage;
    size_t element;  // bytes, of those who asked first
  };
  static bool is_aligned(const Storage& storage, size_t element) {
    return reinterpret_cast<uintptr_t>(storage.data()) % element == 0;
  }
  // A view into the file where that is possible.
  static std::shared_ptr<Storage> make(std::span<const std::byte> data, size_t element, bool swapped,
                                       const std::shared_ptr<const MappedFile>& file) {
    const bool aligned = reinterpret_cast<uintptr_t>(data.data()) % element == 0;
    if (aligned && !swapped) {
      return std::make_shared<Storage>(data.data(), data.size(), file);
    }
    auto storage = std::make_shared<Storage>(data.size(), kCpu);
    if (!data.empty()) std::memcpy(storage->data(), data.data(), data.size());
    if (swapped) detail::swap_bytes(storage->data(), data.size(), element);
    return storage;
  }
};

// Follows a pickle's values to its tensors.
class TensorCollector {
 public:
  TensorCollector(const Pickle& pickle, StorageSource& storages, std::string where, TensorFile& result,
                  std::string name = {})
      : pickle_(pickle),
        storages_(storages),
        where_(std::move(where)),
        result_(result),
        name_(std::move(name)) {
    // Shared storages and repeated (stride 0) tensors are legal; a file of a few bytes that stands for
    // terabytes is not.
    bytes_left_ = 4 * result.file->bytes().size() + (size_t{64} << 20);
  }

  void collect(PickleRef ref, int depth = 0) {
    const std::string& name = name_;
    constexpr int kDeepest = 64;
    constexpr size_t kMostVisits = 200'000;
    constexpr size_t kMostNameBytes = 8'000'000;
    CHECK_INPUT(depth <= kDeepest, where_, ": containers nest deeper than ", kDeepest,
                " (or contain themselves) at \"", name.substr(0, 100), '"');
    CHECK_INPUT(++visits_ <= kMostVisits, where_, ": more than ", kMostVisits,
                " values below its containers");
    const PickleValue& value = pickle_.at(ref);
    look_at(value.elements.size());
    switch (value.kind) {
      case Kind::tuple:
      case Kind::list:
      case Kind::set:
        return collect_elements(value.elements, depth);
      case Kind::dict:
        return collect_items(value, depth);
      case Kind::call:
        break;
      default:
        return;  // numbers, texts, None, storages on their own
    }
    const PickleValue& callable = pickle_.at(value.callable);
    const std::vector<PickleRef>& arguments = pickle_.at(value.arguments).elements;
    if (callable.name.starts_with("_rebuild_tensor") || callable.name == "_rebuild_from_type_v2" ||
        unread_tensor(callable.name) != nullptr) {
      if (const std::string kind = unread_kind(value, depth); !kind.empty()) {
        name_bytes_ += name.size();
        CHECK_INPUT(name_bytes_ <= kMostNameBytes, where_, ": the tensors' names are too long");
        return detail::add_skipped_tensor(result_, where_, name.empty() ? "tensor" : name, kind);
      }
      Tensor tensor = rebuild(value, name, depth);
      const auto bytes = static_cast<size_t>(tensor.bytes());
      CHECK_INPUT(bytes <= bytes_left_, where_,
                  ": the tensors stand for far more bytes than the file has (\"", name.substr(0, 100), "\")");
      bytes_left_ -= bytes;
      name_bytes_ += name.size();
      CHECK_INPUT(name_bytes_ <= kMostNameBytes, where_, ": the tensors' names are too long");
      return detail::add_named_tensor(result_, where_, name.empty() ? "tensor" : name, std::move(tensor));
    }
    if (callable.name.starts_with("_rebuild_parameter") || callable.name == "Parameter" ||
        callable.name == "Buffer" || callable.name == "build_tensorlist" ||
        callable.name == "restore_type_tag") {
      if (!arguments.empty()) collect(arguments[0], depth + 1);
      return;
    }
    if (callable.text == "collections") {
      // Python 2 hands an OrderedDict its items as a list of pairs.
      if (callable.name == "OrderedDict" && arguments.size() == 1) collect_pairs(arguments[0], depth);
      return collect_items(value, depth);
    }
    if (callable.text.starts_with("__torch__")) return collect(value.state, depth + 1);
    if (!arguments.empty() &&
        (callable.name == "set" || callable.name == "list" || callable.name == "dict")) {
      collect(arguments[0], depth + 1);
    }
    if (value.keyed) return collect_items(value, depth);
    return collect_elements(value.elements, depth);
  }

 private:
  // Numbers and texts cost little, yet a container of very many may be met very often.
  void look_at(size_t elements) {
    constexpr size_t kMostElements = 4'000'000;
    elements_ += elements;
    CHECK_INPUT(elements_ <= kMostElements, where_, ": more than ", kMostElements,
                " elements in its containers");
  }
  [[nodiscard]] bool may_hold_tensors(PickleRef ref) const {
    const Kind kind = pickle_.at(ref).kind;
    return kind == Kind::tuple || kind == Kind::list || kind == Kind::set || kind == Kind::dict ||
           kind == Kind::call;
  }
  // What lies below `key`: name_ grows for that long.
  void collect_below(std::string_view key, PickleRef item, int depth) {
    const size_t before = name_.size();
    if (before > 0) name_ += '.';
    name_ += key;
    collect(item, depth + 1);
    name_.resize(before);
  }
  void collect_elements(const std::vector<PickleRef>& elements, int depth) {
    for (size_t i = 0; i < elements.size(); ++i) {
      if (may_hold_tensors(elements[i])) collect_below(std::to_string(i), elements[i], depth);
    }
  }
  void collect_items(const PickleValue& value, int depth) {
    if (!value.keyed && value.kind != Kind::dict) return;
    for (size_t i = 0; i + 1 < value.elements.size(); i += 2) {
      collect_item(value.elements[i], value.elements[i + 1], depth);
    }
  }
  void collect_pairs(PickleRef list, int depth) {
    look_at(pickle_.at(list).elements.size());
    for (const PickleRef pair : pickle_.at(list).elements) {
      const std::vector<PickleRef>& item = pickle_.at(pair).elements;
      if (item.size() == 2) collect_item(item[0], item[1], depth);
    }
  }
  void collect_item(PickleRef key_ref, PickleRef item, int depth) {
    const PickleValue& key = pickle_.at(key_ref);
    if (!may_hold_tensors(item)) return;
    if (key.kind == Kind::text) {
      CHECK_INPUT(key.text.size() <= 1024, where_, ": a key of ", key.text.size(), " bytes below \"",
                  name_.substr(0, 100), '"');
      return collect_below(key.text, item, depth);
    }
    // Optimizers number their parameters; other keys cannot be part of a name.
    if (key.kind == Kind::integer) collect_below(std::to_string(key.integer), item, depth);
  }

  template <class... Parts>
  [[noreturn]] void broken(const std::string& name, const Parts&... parts) const {
    fail_input(where_, ": tensor \"", name.substr(0, 100), "\": ", parts...);
  }

  [[nodiscard]] int64_t integer(PickleRef ref, const std::string& name, const char* what) const {
    const PickleValue& value = pickle_.at(ref);
    if (value.kind != Kind::integer || !value.text.empty()) broken(name, "its ", what, " is no integer");
    if (value.integer < 0) broken(name, "its ", what, " is ", value.integer);
    return value.integer;
  }

  // What kind of tensor a call makes, if none that is read; empty otherwise, and for what rebuild() will refuse.
  [[nodiscard]] std::string unread_kind(const PickleValue& call, int depth) const {
    const std::string_view function = pickle_.at(call.callable).name;
    if (const UnreadTensor* known = unread_tensor(function)) return std::string(known->kind);
    const std::vector<PickleRef>& arguments = pickle_.at(call.arguments).elements;
    if (function == "_rebuild_from_type_v2") {
      if (arguments.size() < 3 || depth > 60) return {};
      PickleValue inner;
      inner.kind = Kind::call;
      inner.callable = arguments[0];
      inner.arguments = arguments[2];
      return unread_kind(inner, depth + 1);
    }
    if (function == "_rebuild_tensor_v3") {
      if (arguments.size() <= 6) return {};
      const std::string_view dtype = pickle_.at(arguments[6]).name;
      return dtype_called(dtype) || !is_unread_dtype(dtype) ? std::string() : std::string(dtype);
    }
    if (arguments.empty() || pickle_.at(arguments[0]).kind != Kind::persistent) return {};
    const std::vector<PickleRef>& id = pickle_.at(pickle_.at(arguments[0]).arguments).elements;
    if (id.size() < 2) return {};
    const UnreadStorage* storage = unread_storage(pickle_.at(id[1]).name);
    return storage != nullptr ? std::string(storage->kind) : std::string();
  }

  Tensor rebuild(const PickleValue& call, const std::string& name, int depth) {
    const PickleValue& callable = pickle_.at(call.callable);
    const std::vector<PickleRef>& arguments = pickle_.at(call.arguments).elements;
    if (callable.name == "_rebuild_from_type_v2") {  // (function, class, its arguments, state)
      if (arguments.size() < 3 || depth > 60 || pickle_.at(arguments[2]).kind != Kind::tuple)
        broken(name, "malformed");
      PickleValue inner;
      inner.kind = Kind::call;
      inner.callable = arguments[0];
      inner.arguments = arguments[2];
      const std::string_view inner_name = pickle_.at(inner.callable).name;
      if (!inner_name.starts_with("_rebuild_tensor")) broken(name, "malformed");
      return rebuild(inner, name, depth + 1);
    }
    // (storage, offset, sizes, strides, requires_grad, hooks…); _v3 has the dtype seventh.
    if (arguments.size() < 4) broken(name, "too few arguments");
    const PickleValue& sizes = pickle_.at(arguments[2]);
    const PickleValue& steps = pickle_.at(arguments[3]);
    const auto elements_of = [&](const PickleValue& value) -> const std::vector<PickleRef>& {
      if (value.kind == Kind::call && pickle_.at(value.callable).name == "Size") {
        const auto& inner = pickle_.at(value.arguments).elements;
        if (inner.size() == 1) return pickle_.at(inner[0]).elements;
      }
      return value.elements;
    };
    const std::vector<PickleRef>& size_refs = elements_of(sizes);
    const std::vector<PickleRef>& step_refs = elements_of(steps);
    if (size_refs.size() != step_refs.size() || size_refs.size() > kMaxRank) {
      broken(name, size_refs.size(), " sizes and ", step_refs.size(), " strides; at most ", kMaxRank,
             " dimensions are read");
    }
    const StorageView storage = resolve(arguments[0], name);
    DType dtype = storage.dtype;
    if (callable.name == "_rebuild_tensor_v3") {
      const std::optional<DType> named =
          arguments.size() > 6 ? dtype_called(pickle_.at(arguments[6]).name) : std::nullopt;
      if (!named) broken(name, "of a dtype that is not read");
      dtype = *named;
    }
    Shape shape;
    Strides strides{};
    for (size_t i = 0; i < size_refs.size(); ++i) {
      shape.append(integer(size_refs[i], name, "size"));
      strides[i] = integer(step_refs[i], name, "stride");
    }
    const std::string where = where_ + ": tensor \"" + name.substr(0, 100) + '"';
    const auto element = static_cast<uint64_t>(size_of(dtype));
    const uint64_t numel = detail::bytes_of(where, shape, dtype) / element;
    const int64_t offset = integer(arguments[1], name, "offset");
    int64_t last = offset;  // the element that lies furthest back
    int64_t start = 0;
    bool fits = !__builtin_add_overflow(offset, storage.offset, &start);
    fits = fits && !__builtin_add_overflow(last, storage.offset, &last);
    for (int i = 0; i < shape.rank() && numel > 0; ++i) {
      int64_t reach = 0;
      fits = fits && !__builtin_mul_overflow(shape[i] - 1, strides[static_cast<size_t>(i)], &reach) &&
             !__builtin_add_overflow(last, reach, &last);
    }
    const std::shared_ptr<Storage> data = storages_.find(storage.key, element, where);
    const auto available = static_cast<int64_t>(data->bytes() / element);
    if (numel == 0) start = 0;
    if (!fits || (numel > 0 && last >= available)) {
      broken(name, shape, " from element ", offset, " on does not fit its storage of ", available,
             " elements");
    }
    if (numel == 0) strides = contiguous_strides(shape);
    return Tensor::view(data, shape, strides, start, dtype);
  }

  struct StorageView {
    std::string_view key;
    DType dtype = DType::f32;
    int64_t offset = 0;  // elements
  };

  // ('storage', class, key, location, size[, (view key, offset, size)])
  StorageView resolve(PickleRef ref, const std::string& name) const {
    const PickleValue& value = pickle_.at(ref);
    if (value.kind != Kind::persistent) broken(name, "has no storage");
    const std::vector<PickleRef>& id = pickle_.at(value.arguments).elements;
    if (pickle_.at(value.arguments).kind != Kind::tuple || id.size() < 5 ||
        pickle_.at(id[2]).kind != Kind::text)
      broken(name, "its storage is not described as torch.save does");
    const std::optional<DType> dtype = storage_dtype(pickle_.at(id[1]).name);
    if (!dtype) broken(name, "storage class ", pickle_.at(id[1]).name.substr(0, 60), " is not read");
    StorageView view{pickle_.at(id[2]).text, *dtype, 0};
    if (id.size() > 5 && pickle_.at(id[5]).kind == Kind::tuple) {
      const std::vector<PickleRef>& window = pickle_.at(id[5]).elements;
      if (window.size() != 3) broken(name, "its storage is not described as torch.save does");
      view.offset = integer(window[1], name, "storage's offset");
    }
    return view;
  }

  const Pickle& pickle_;
  StorageSource& storages_;
  std::string where_;
  TensorFile& result_;
  std::string name_;  // of the value being looked at
  size_t visits_ = 0;
  size_t elements_ = 0;
  size_t name_bytes_ = 0;
  size_t bytes_left_ = 0;
};

// ---- zip

class ZipStorages : public StorageSource {
 public:
  ZipStorages(const ZipArchive& archive, std::vector<std::string> folders, bool swapped,
              std::shared_ptr<const MappedFile> file)
      : archive_(archive), folders_(std::move(folders)), swapped_(swapped), file_(std::move(file)) {}

  std::shared_ptr<Storage> find(std::string_view key, size_t element, const std::string& where) override {
    const auto known = storages_.find(key);
    if (known != storages_.end()) {
      CHECK_INPUT(known->second.element == element || !swapped_, where,
                  ": its storage is shared with another dtype");
      if (is_aligned(*known->second.storage, element)) return known->second.storage;
    }
    CHECK_INPUT(key.size() <= 200, where, ": its storage's key has ", key.size(), " bytes");
    for (const std::string& folder : folders_) {
      const ZipArchive::Entry* entry = archive_.find(folder + std::string(key));
      if (entry == nullptr) continue;
      const auto storage = make(entry->data, element, swapped_, file_);
      storages_[std::string(key)] = {storage, element};
      return storage;
    }
    fail_input(where, ": its storage \"", folders_.front(), key.substr(0, 100), "\" is not in the archive");
  }

 private:
  const ZipArchive& archive_;
  std::vector<std::string> folders_;
  bool swapped_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Known, std::less<>> storages_;
};

TensorFile read_zip(std::shared_ptr<const MappedFile> file, const std::string& name) {
  const ZipArchive archive(*file, name);
  constexpr std::string_view kDescription = "/data.pkl";
  std::string top;
  for (const ZipArchive::Entry& entry : archive.entries()) {
    if (!entry.name.ends_with(kDescription)) continue;
    const std::string_view folder = entry.name.substr(0, entry.name.size() - kDescription.size());
    if (top.empty() || folder.size() < top.size()) top = folder;
  }
  if (top.empty()) {
    const auto has = [&](std::string_view ending) {
      return std::any_of(archive.entries().begin(), archive.entries().end(),
                         [&](const ZipArchive::Entry& entry) { return entry.name.ends_with(ending); });
    };
    const char* what = has(".npy")                  ? " (NumPy's .npz)"
                       : has("model.weights.h5")    ? " (Keras)"
                       : has("[Content_Types].xml") ? " (an Office document)"
                                                    : "";
    fail_input(name, ": a ZIP archive without data.pkl", what, ": not a PyTorch checkpoint");
  }
  bool swapped = false;
  if (const ZipArchive::Entry* order = archive.find(top + "/byteorder")) {
    const std::string_view text(reinterpret_cast<const char*>(order->data.data()), order->data.size());
    CHECK_INPUT(text == "little" || text == "big", name, ": byte order \"", text.substr(0, 20),
                "\"; expected little or big");
    swapped = text == "big";
  }
  const ZipArchive::Entry* constants = archive.find(top + "/constants.pkl");
  TensorFile result;
  result.format = constants != nullptr ? "TorchScript" : "PyTorch zip";
  result.file = file;
  const auto collect = [&](const ZipArchive::Entry& entry, const char* prefix,
                           std::vector<std::string> folders) {
    const std::string where = name + ": " + std::string(entry.name.substr(0, 100));
    const Pickle pickle = read_pickle(entry.data, where, is_allowed);
    ZipStorages storages(archive, std::move(folders), swapped, file);
    TensorCollector(pickle, storages, where, result, prefix).collect(pickle.root);
  };
  // Archives before PyTorch 1.4 kept TorchScript's storages in tensors/.
  collect(*archive.find(top + std::string(kDescription)), "", {top + "/data/", top + "/tensors/"});
  if (constants != nullptr)
    collect(*constants, "constants", {top + "/constants/", top + "/data/", top + "/tensors/"});
  return result;
}

// ---- legacy

class LegacyStorages : public StorageSource {
 public:
  explicit LegacyStorages(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}

  // Finds each storage's bytes: `keys` in the order of the file, from byte `at` on.
  void locate(const Pickle& objects, const Pickle& keys, size_t at, bool swapped, const std::string& name) {
    swapped_ = swapped;
    std::map<std::string_view, size_t> elements;
    for (const PickleValue& value : objects.values) {
      if (value.kind != Kind::persistent) continue;
      const std::vector<PickleRef>& id = objects.at(value.arguments).elements;
      if (id.size() < 5) continue;
      const std::string_view storage_class = objects.at(id[1]).name;
      const std::optional<DType> dtype = storage_dtype(storage_class);
      const UnreadStorage* unread = unread_storage(storage_class);
      if (dtype) elements[objects.at(id[2]).text] = static_cast<size_t>(size_of(*dtype));
      if (unread != nullptr) elements[objects.at(id[2]).text] = unread->bytes;
    }
    const auto bytes = file_->bytes();
    for (const PickleRef ref : keys.at(keys.root).elements) {
      const std::string_view key = keys.at(ref).text;
      const auto element = elements.find(key);
      const std::string where = name + ": storage \"" + std::string(key.substr(0, 100)) + '"';
      CHECK_INPUT(element != elements.end(), where, ": no tensor describes it");
      CHECK_INPUT(bytes.size() - at >= 8, where, ": the file is truncated");
      uint64_t count = 0;
      std::memcpy(&count, bytes.data() + at, 8);
      if (swapped) count = __builtin_bswap64(count);
      at += 8;
      CHECK_INPUT(count <= (bytes.size() - at) / element->second, where, ": ", count, " elements of ",
                  element->second, " bytes do not fit the file (truncated?)");
      const size_t length = static_cast<size_t>(count) * element->second;
      data_[std::string(key)] = bytes.subspan(at, length);
      at += length;
    }
  }

  std::shared_ptr<Storage> find(std::string_view key, size_t element, const std::string& where) override {
    const auto known = storages_.find(key);
    if (known != storages_.end()) {
      CHECK_INPUT(known->second.element == element || !swapped_, where,
                  ": its storage is shared with another dtype");
      if (is_aligned(*known->second.storage, element)) return known->second.storage;
    }
    const auto found = data_.find(key);
    CHECK_INPUT(found != data_.end(), where, ": its storage \"", key.substr(0, 100), "\" is not in the file");
    const auto storage = make(found->second, element, swapped_, file_);
    storages_[std::string(key)] = {storage, element};
    return storage;
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  bool swapped_ = false;
  std::map<std::string, std::span<const std::byte>, std::less<>> data_;
  std::map<std::string, Known, std::less<>> storages_;
};

TensorFile read_legacy(std::shared_ptr<const MappedFile> file, const std::string& name) {
  const auto bytes = file->bytes();
  size_t at = 0;
  const auto next = [&](const char* what) {
    Pickle pickle = read_pickle(bytes.subspan(at), name + ": " + what, is_allowed);
    at += pickle.bytes;
    return pickle;
  };
  // A hostile pickle is large: each is gone before the next is read.
  static_cast<void>(next("magic number"));
  {
    const Pickle version = next("protocol version");
    CHECK_INPUT(version.at(version.root).kind == Kind::integer && version.at(version.root).integer == 1001,
                name, ": a legacy checkpoint of an unknown protocol; 1001 is read");
  }
  bool swapped = false;
  {
    const Pickle system = next("system information");
    const std::vector<PickleRef>& items = system.at(system.root).elements;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (system.at(items[i]).text == "little_endian") swapped = system.at(items[i + 1]).integer == 0;
    }
  }
  const Pickle objects = next("objects");
  const Pickle keys = next("storage keys");
  CHECK_INPUT(keys.at(keys.root).kind == Kind::list, name, ": the list of storages is missing");
  TensorFile result;
  result.format = "PyTorch legacy";
  result.file = file;
  LegacyStorages storages(file);
  storages.locate(objects, keys, at, swapped, name);
  TensorCollector(objects, storages, name, result).collect(objects.root);
  return result;
}

}  // namespace

bool is_torch_file(std::span<const std::byte> bytes) {
  return begins_with(bytes, kZipMagic) || begins_with(bytes, kLegacyMagic);
}

TensorFile read_torch_file(std::shared_ptr<const MappedFile> file, const std::string& name) {
  if (begins_with(file->bytes(), kLegacyMagic)) return read_legacy(std::move(file), name);
  CHECK_INPUT(begins_with(file->bytes(), kZipMagic), name, ": not a PyTorch checkpoint");
  return read_zip(std::move(file), name);
}

}  // namespace clipcap
