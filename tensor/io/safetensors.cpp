#include "tensor/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace clipcap {
namespace {

using nlohmann::json;
static_assert(std::endian::native == std::endian::little,
              "safetensors are mapped as they lie: little-endian hosts only");

// Parsed, a header takes several times its bytes. The largest in use have some ten thousand tensors.
constexpr uint64_t kMaxHeaderBytes = 8'000'000;
constexpr size_t kMaxHeaderValues = 300'000;

struct NamedDType {
  const char* name;
  DType dtype;
};
constexpr NamedDType kDTypes[] = {{"F32", DType::f32},     {"BF16", DType::bf16}, {"F16", DType::f16},
                                  {"F64", DType::f64},     {"I64", DType::i64},   {"I32", DType::i32},
                                  {"I16", DType::i16},     {"I8", DType::i8},     {"U8", DType::u8},
                                  {"BOOL", DType::boolean}};

struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  uint64_t begin;
  uint64_t end;
};

Entry parse_entry(const std::string& file, const std::string& name, const json& value) {
  const std::string where = file + ": tensor \"" + name + "\"";
  CHECK_INPUT(value.is_object() && value.contains("dtype") && value.contains("shape") &&
                  value.contains("data_offsets"),
              where, ": expected an object with dtype, shape and data_offsets");
  const json& dtype = value["dtype"];
  CHECK_INPUT(dtype.is_string(), where, ": dtype is not a string");
  const auto known = std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](const NamedDType& d) {
    return dtype.get_ref<const std::string&>() == d.name;
  });
  CHECK_INPUT(known != std::end(kDTypes), where, ": dtype ", dtype.get_ref<const std::string&>(),
              " is not supported (F32 BF16 F16 F64 I64 I32 I16 I8 U8 BOOL are)");
  Entry entry{name, known->dtype, {}, 0, 0};
  const json& shape = value["shape"];
  CHECK_INPUT(shape.is_array() && shape.size() <= kMaxRank, where, ": shape is not a list of at most ",
              kMaxRank, " sizes");
  for (const json& size : shape) {
    CHECK_INPUT(size.is_number_unsigned() && size.get<uint64_t>() <= (1ULL << 62), where,
                ": bad size in shape");
    entry.shape.append(static_cast<int64_t>(size.get<uint64_t>()));
  }
  const uint64_t bytes = detail::bytes_of(where, entry.shape, entry.dtype);
  const json& offsets = value["data_offsets"];
  CHECK_INPUT(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
                  offsets[1].is_number_unsigned(),
              where, ": data_offsets is not [begin, end]");
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  CHECK_INPUT(entry.begin <= entry.end && entry.end - entry.begin == bytes, where, ": data_offsets [",
              entry.begin, ", ", entry.end, "] hold ", entry.end - entry.begin, " bytes, ", entry.dtype, ' ',
              shape.dump(), " needs ", bytes);
  return entry;
}

// nlohmann keeps the last of two equal keys; the format forbids them.
json parse_header(const std::string& file, const char* begin, const char* end) {
  std::vector<std::set<std::string>> keys;
  size_t values = 0;
  const json::parser_callback_t guard = [&](int depth, json::parse_event_t event, json& parsed) {
    CHECK_INPUT(depth <= 8 && ++values <= kMaxHeaderValues, file,
                ": the header nests deeper than a list of tensors, or has over ", kMaxHeaderValues,
                " values");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.empty()) {
      const auto& key = parsed.get_ref<const std::string&>();
      CHECK_INPUT(keys.back().insert(key).second, file, ": \"", key, "\" appears twice in the header");
    }
    return true;
  };
  json header = json::parse(begin, end, guard, false);
  CHECK_INPUT(!header.is_discarded() && header.is_object(), file, ": the header is not a JSON object");
  return header;
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  return read_safetensors(MappedFile::open(path), path.string());
}

TensorFile read_safetensors(std::shared_ptr<const MappedFile> mapped, const std::string& file) {
  TensorFile result;
  result.format = "safetensors";
  result.file = std::move(mapped);
  const auto bytes = result.file->bytes();
  CHECK_INPUT(bytes.size() >= 8, file, ": ", bytes.size(), " bytes are too few for a safetensors file");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  CHECK_INPUT(header_bytes <= kMaxHeaderBytes && header_bytes <= bytes.size() - 8, file,
              ": the header claims ", header_bytes, " bytes of a file of ", bytes.size());
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  CHECK_INPUT(header_bytes > 0 && text[0] == '{', file,
              ": not a safetensors file (the header does not begin with '{')");
  const json header = parse_header(file, text, text + header_bytes);
  const uint64_t data_bytes = bytes.size() - 8 - header_bytes;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      CHECK_INPUT(value.is_object(), file, ": __metadata__ is not an object");
      for (const auto& [key, text_value] : value.items()) {
        CHECK_INPUT(text_value.is_string(), file, ": __metadata__.", key, " is not a string");
        result.metadata[key] = text_value.get<std::string>();
      }
      continue;
    }
    entries.push_back(parse_entry(file, name, value));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t covered = 0;
  const auto storage =
      std::make_shared<Storage>(const_cast<std::byte*>(bytes.data()), bytes.size(), result.file);
  for (const Entry& entry : entries) {
    CHECK_INPUT(entry.begin == covered, file, ": tensor \"", entry.name, "\" begins at ", entry.begin,
                ", expected ", covered, " (holes and overlaps are not allowed)");
    covered = entry.end;
    CHECK_INPUT(covered <= data_bytes, file, ": tensor \"", entry.name, "\" ends at ", covered,
                ", the file has ", data_bytes, " bytes of data");
    const uint64_t at = 8 + header_bytes + entry.begin;
    const auto element = static_cast<uint64_t>(size_of(entry.dtype));
    Tensor tensor;
    if (at % element == 0) {
      tensor = Tensor::view(storage, entry.shape, contiguous_strides(entry.shape),
                            static_cast<int64_t>(at / element), entry.dtype);
    } else {  // legal, and written by some tools: a view would be misaligned
      tensor = Tensor::empty(entry.shape, entry.dtype);
      if (entry.end > entry.begin) std::memcpy(tensor.raw(), bytes.data() + at, entry.end - entry.begin);
    }
    detail::add_named_tensor(result, file, entry.name, tensor);
  }
  CHECK_INPUT(covered == data_bytes, file, ": ", data_bytes - covered, " bytes after the last tensor");
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  // Wide elements first, as other writers do: every tensor is then aligned to its elements.
  std::vector<std::pair<std::string, Tensor>> ordered(tensors.begin(), tensors.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return size_of(a.second.dtype()) > size_of(b.second.dtype());
  });
  uint64_t offset = 0;
  for (const auto& [name, tensor] : ordered) {
    const auto bytes = static_cast<uint64_t>(tensor.bytes());
    json shape = json::array();
    for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
    const auto* known =
        std::find_if(std::begin(kDTypes), std::end(kDTypes),
                     [dtype = tensor.dtype()](const NamedDType& d) { return d.dtype == dtype; });
    header[name] = {{"dtype", known->name}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream out(temporary, std::ios::binary);
    const uint64_t header_bytes = text.size();
    out.write(reinterpret_cast<const char*>(&header_bytes), 8);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto& [name, tensor] : ordered) {
      const Tensor host = tensor.to(kCpu).contiguous();
      if (host.bytes() > 0)
        out.write(reinterpret_cast<const char*>(host.raw()), static_cast<std::streamsize>(host.bytes()));
    }
    out.close();
    CHECK(!out.fail(), temporary.string(), ": cannot write (disk full?)");
  });
}

}  // namespace clipcap
