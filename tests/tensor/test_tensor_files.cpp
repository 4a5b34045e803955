// Readers of checkpoint files: what PyTorch wrote is read (tools/fixtures/make_torch_files.py), and nothing
// that a file says can do harm.
#include <cstring>

#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/torch_file.h"
#include "tensor/io/zip_archive.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/fuzz/zip_writer.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

std::filesystem::path golden(const std::string& name) { return testing::golden_path("torch_files") / name; }

void check_same(const std::map<std::string, Tensor>& tensors, const std::map<std::string, Tensor>& expected) {
  for (const auto& [name, tensor] : expected) {
    INFO(name);
    REQUIRE(tensors.contains(name));
    const Tensor& found = tensors.at(name);
    CHECK(found.dtype() == tensor.dtype());
    REQUIRE(found.shape() == tensor.shape());
    const Tensor compact = found.contiguous();
    CHECK((tensor.bytes() == 0 ||
           std::memcmp(compact.raw(), tensor.raw(), static_cast<size_t>(tensor.bytes())) == 0));
  }
}

std::string npy(const std::string& header, const std::string& data, char version = 1) {
  std::string bytes = std::string("\x93NUMPY", 6) + version + '\0';
  bytes += static_cast<char>(header.size() & 255U);
  bytes += static_cast<char>(header.size() >> 8U);
  if (version > 1) bytes += std::string(2, '\0');
  return bytes + header + data;
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

TEST_CASE("PyTorch's zip and legacy files: every dtype, shared storages, strides, nested containers",
          "[tensor_files]") {
  const auto expected = read_safetensors(golden("expected.safetensors")).tensors;
  REQUIRE(expected.size() == 24);
  for (const char* name : {"zip.pt", "protocol4.pt", "unaligned.pt", "legacy.pt"}) {
    INFO(name);
    const TensorFile file = read_tensor_file(golden(name));
    CHECK(file.tensors.size() == expected.size());
    check_same(file.tensors, expected);
    // The views of one tensor still share their numbers.
    CHECK(file.tensors.at("shared.whole").storage() == file.tensors.at("shared.transposed").storage());
    CHECK(file.tensors.at("shared.row").storage() == file.tensors.at("shared.columns").storage());
    CHECK_FALSE(file.tensors.at("shared.transposed").is_contiguous());
    CHECK(file.tensors.at("expanded").stride(1) == 0);
    CHECK(file.format == (std::string(name) == "legacy.pt" ? "PyTorch legacy" : "PyTorch zip"));
  }
}

TEST_CASE("PyTorch's zip files of the other byte order", "[tensor_files]") {
  check_same(read_tensor_file(golden("big_endian.pt")).tensors,
             read_safetensors(golden("expected_big_endian.safetensors")).tensors);
}

TEST_CASE("TorchScript: the attributes of a module and its constants", "[tensor_files]") {
  const TensorFile file = read_tensor_file(golden("script.pt"));
  CHECK(file.format == "TorchScript");
  check_same(file.tensors, read_safetensors(golden("expected_script.safetensors")).tensors);
  CHECK(read_tensor_file(golden("traced.pt")).tensors.at("constants.0").to_vector<float>() ==
        std::vector<float>{1, 2});
  CHECK(file.tensors.at("blocks.0.weight").dtype() == DType::f16);
}

TEST_CASE("a training checkpoint's weights are found under their key", "[tensor_files]") {
  TensorFile file = read_tensor_file(golden("wrapped.pt"));
  CHECK(file.tensors.contains("optimizer.state.0.exp_avg"));
  CHECK(unwrap_state_dict(file.tensors) == "state_dict");
  REQUIRE(file.tensors.size() == 2);
  CHECK(strip_prefix(file.tensors, "module."));
  CHECK(file.tensors.contains("weight"));
  CHECK_FALSE(strip_prefix(file.tensors, "module."));
  CHECK(unwrap_state_dict(file.tensors).empty());
  // A layer that happens to be called "model" is no wrapper.
  std::map<std::string, Tensor> network{{"model.weight", Tensor::zeros({1})},
                                        {"head.weight", Tensor::zeros({1})}};
  CHECK(unwrap_state_dict(network).empty());
  CHECK(network.size() == 2);
}

TEST_CASE("names are UTF-8, short and met once", "[tensor_files]") {
  TensorFile file;
  const auto add = [&](const std::string& name) {
    return message_of<InputError>([&] { detail::add_named_tensor(file, "x.pt", name, Tensor::zeros({1})); });
  };
  for (const char* good : {"a", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", ""})
    CHECK(add(good).empty());
  CHECK(file.tensors.size() == 8);
  // Cut, overlong, surrogates, beyond U+10FFFF, stray bytes.
  for (const char* bad : {"\xc3", "\xe2\x82", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\x80", "a\xff"})
    CHECK(add(bad) == "x.pt: a tensor's name is not UTF-8");
  CHECK(add("a") == "x.pt: two tensors are called \"a\"");
  CHECK(add(std::string(1024, 'n')).empty());
  CHECK(add(std::string(1025, 'n')).find("1025 bytes") != std::string::npos);
}

TEST_CASE("a prefix goes only where every name has it", "[tensor_files]") {
  std::map<std::string, Tensor> all{{"module.a", Tensor::zeros({1})}, {"module.b.c", Tensor::zeros({2})}};
  CHECK(strip_prefix(all, "module."));
  CHECK(all.at("a").numel() == 1);
  CHECK(all.at("b.c").numel() == 2);
  CHECK_FALSE(strip_prefix(all, "module."));
  std::map<std::string, Tensor> some{{"module.a", Tensor::zeros({1})}, {"head", Tensor::zeros({2})}};
  CHECK_FALSE(strip_prefix(some, "module."));
  CHECK(some.at("module.a").numel() == 1);
  CHECK(some.at("head").numel() == 2);
  std::map<std::string, Tensor> none;
  CHECK_FALSE(strip_prefix(none, "module."));
}

TEST_CASE("a file is replaced as a whole or not at all", "[tensor_files]") {
  const TemporaryFolder folder("replace_file");
  const std::filesystem::path path = folder.write("file", "old");
  const auto files = [&] {
    return std::distance(std::filesystem::directory_iterator(folder.path()),
                         std::filesystem::directory_iterator());
  };
  replace_file(path, [&](const std::filesystem::path& temporary) {
    std::ofstream(temporary) << "half";
    CHECK(file_bytes(path) == "old");  // what a kill here would leave
    CHECK(temporary.parent_path() == path.parent_path());
    std::ofstream(temporary) << "new";
  });
  CHECK(file_bytes(path) == "new");
  CHECK_THROWS_AS(replace_file(path,
                               [&](const std::filesystem::path& temporary) {
                                 std::ofstream(temporary) << "broken";
                                 throw Error("no room");
                               }),
                  Error);
  CHECK(file_bytes(path) == "new");
  CHECK(files() == 1);  // nothing is left beside it
  CHECK(read_text_file(path, 3) == "new");
  CHECK(message_of<InputError>([&] { (void)read_text_file(path, 2); }).find("3 bytes; at most 2") !=
        std::string::npos);
  CHECK_THROWS_AS(write_text_file(folder.path() / "nowhere" / "file", "x"), InputError);
  CHECK_THROWS_AS(write_text_file(folder.path(), "x"), InputError);
}

TEST_CASE("real checkpoint files", "[tensor_files][needs_shared]") {
  const std::filesystem::path folder = shared_data() / "pt_samples";
  if (!std::filesystem::exists(folder)) SKIP_TEST("../shared/pt_samples is not there");
  // One network, trained twice.
  const TensorFile pickled = read_tensor_file(folder / "mnist.pt");
  for (const auto& [name, tensor] : read_tensor_file(folder / "mnist.safetensors").tensors) {
    INFO(name);
    REQUIRE(pickled.tensors.contains(name));
    CHECK(pickled.tensors.at(name).shape() == tensor.shape());
    CHECK(pickled.tensors.at(name).dtype() == tensor.dtype());
  }
  int read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".pt" || entry.path().filename() == "broken.pt") continue;
    INFO(entry.path().string());
    CHECK_FALSE(read_tensor_file(entry.path()).tensors.empty());
    ++read;
  }
  CHECK(read >= 30);
  CHECK_THROWS_AS(read_tensor_file(folder / "broken.pt"), InputError);
}

TEST_CASE("hostile pickles are refused by what they do", "[tensor_files]") {
  const std::pair<const char*, const char*> cases[] = {
      {"refused_system.pt", "refuses the Python object \"posix.system\""},
      {"refused_module.pt", "refuses the Python object \"torch.nn.modules.linear.Linear\""},
      {"refused_cyclic.pt", "contain themselves"},
      {"refused_deep.pt", "nest deeper"},
      {"refused_doubling.pt", "more than 200000 values"},
      {"refused_numel.pt", "does not fit its storage of 2 elements"},
      {"refused_stride.pt", "does not fit its storage of 2 elements"},
      {"refused_repeated.pt", "more bytes than the file has"},
      {"refused_compressed.pt", "is compressed or encrypted"}};
  for (const auto& [name, reason] : cases) {
    const std::string message =
        message_of<InputError>([&] { static_cast<void>(read_tensor_file(golden(name))); });
    INFO(name << ": " << message);
    CHECK(message.find(reason) != std::string::npos);
    CHECK(message.find(name) != std::string::npos);
  }
}

TEST_CASE("torch files cut at every length and with damaged bytes end in an InputError or are read",
          "[tensor_files]") {
  const TemporaryFolder folder("torch_damage");
  for (const char* name : {"zip.pt", "legacy.pt", "script.pt", "wrapped.pt"}) {
    INFO(name);
    const std::string whole = file_bytes(golden(name));
    const auto reads = [&](const std::string& bytes) {
      try {
        for (const auto& [key, tensor] : read_tensor_file(folder.write("x.pt", bytes)).tensors) {
          static_cast<void>(tensor.to(DType::f64).contiguous());  // every byte that is claimed can be read
        }
      } catch (const InputError& error) {
        REQUIRE(std::string(error.what()).find("x.pt: ") != std::string::npos);
        return false;
      }
      return true;
    };
    REQUIRE(reads(whole));
    for (size_t length = 0; length < whole.size(); ++length) {
      INFO(length);
      CHECK_FALSE(reads(whole.substr(0, length)));
    }
    for (unsigned variant = 0; variant < 1500; ++variant) static_cast<void>(reads(damaged(whole, variant)));
  }
}

TEST_CASE("a legacy file's storage that two dtypes share is aligned for both", "[tensor_files]") {
  using namespace std::string_literals;
  const TemporaryFolder folder("legacy_shared");
  const auto tensor = [](const std::string& type, char size) {
    return "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n"s + type +
           "Storage\nU\x01"s
           "0U\x03"s
           "cpuK\x08tQK\x00K"s +
           size + "\x85K\x01\x85\x89}tR"s;
  };
  for (size_t padding = 0; padding < 4; ++padding) {  // the storage begins at any byte
    const std::string bytes =
        "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."s +
        "\x80\x02](" + std::string(padding, 'N') + tensor("Byte", '\x08') + tensor("Float", '\x02') + "e." +
        "\x80\x02]U\x01"s
        "0a."s +
        raw<uint64_t>({2}) + raw<float>({1.5F, -2});
    const auto tensors = read_tensor_file(folder.write("x.pt", bytes)).tensors;
    REQUIRE(tensors.size() == 2);
    const Tensor& floats = tensors.at(std::to_string(padding + 1));
    CHECK(reinterpret_cast<uintptr_t>(floats.raw()) % 4 == 0);
    CHECK(floats.to_vector<float>() == std::vector<float>{1.5F, -2});
  }
}

TEST_CASE("a long list of nothing that is met very often is refused", "[tensor_files]") {
  const TemporaryFolder folder("pickle_often");
  std::string pickle("\x80\x02](](" + std::string(400'000, 'N') + "eq");
  pickle += '\0';
  for (int i = 0; i < 150'000; ++i) pickle += std::string("h\0", 2);
  const auto path = folder.write("x.pt", fuzz::stored_zip({{"a/data.pkl", pickle + "e."}}));
  CHECK(message_of<InputError>([&] {
          static_cast<void>(read_tensor_file(path));
        }).find("elements in its containers") != std::string::npos);
}

TEST_CASE(".npy files: dtypes, versions, orders, shapes", "[tensor_files]") {
  const TemporaryFolder folder("npy");
  const auto read = [&](const std::string& bytes) { return read_npy(folder.write("x.npy", bytes)); };
  const auto values = [](const Tensor& tensor) { return tensor.to(DType::f64).to_vector<double>(); };
  const std::string shape = "'fortran_order': False, 'shape': (2, 3), }\n";
  const std::vector<double> expected{1, 2, 3, 4, 5, -6.5};
  const Tensor array = read(npy("{'descr': '<f4', " + shape, raw<float>({1, 2, 3, 4, 5, -6.5F})));
  CHECK(array.shape() == Shape({2, 3}));
  CHECK(array.dtype() == DType::f32);
  CHECK(values(array) == expected);
  CHECK(values(read(npy("{'descr': '<f8', " + shape, raw<double>({1, 2, 3, 4, 5, -6.5}), 2))) == expected);
  CHECK(values(read(npy("{'descr': '<f2', " + shape,
                        raw<uint16_t>({0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0xc680}), 3))) == expected);
  CHECK(values(read(npy("{'shape': (2,), 'fortran_order': False, \"descr\": '|i1'}", "\x7f\x80"))) ==
        std::vector<double>{127, -128});
  CHECK(values(read(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}",
                        std::string("\1\0\1", 3)))) == std::vector<double>{1, 0, 1});
  CHECK(values(read(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1L,)}", raw<int64_t>({-7})))) ==
        std::vector<double>{-7});
  // Fortran order: the first index runs fastest in the file.
  CHECK(values(read(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
                        raw<float>({1, 4, 2, 5, 3, -6.5F})))) == expected);
  CHECK(values(read(npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }",
                        std::string("\x01\x02\xff\xfe", 4)))) == std::vector<double>{258, -2});
  CHECK(
      read(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", raw<float>({1, 2, 3}))).shape() ==
      Shape({3}));
  CHECK(values(read(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", raw<float>({7})))) ==
        std::vector<double>{7});
  CHECK(read(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5), }", "")).numel() == 0);
  const std::string data = raw<float>({1, 2, 3, 4, 5, 6});
  for (const std::string& bytes :
       {std::string(), std::string("hello world, no array"), npy("{'descr': '<f4', " + shape, data.substr(1)),
        npy("{'descr': '<f4', " + shape, data + "x"), npy("{'descr': '<u4', " + shape, data),
        npy("{'descr': [('a', '<f4')], " + shape, data),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", data),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4, 1), }", data),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 3), }", data),
        npy("{'descr': '|O', " + shape, data), npy("{}", data), npy("{'descr': '<f4', " + shape, data, 9),
        npy(std::string(70, ' '), "").substr(0, 30)}) {
    const std::string message = message_of<InputError>([&] { static_cast<void>(read(bytes)); });
    INFO(message);
    CHECK(message.find("x.npy: ") != std::string::npos);
  }
  const std::string whole = npy("{'descr': '<f4', " + shape, data);
  for (unsigned variant = 0; variant < 300; ++variant) {
    int64_t numbers = 0;
    try {
      numbers = read(damaged(whole, variant)).numel();
    } catch (const InputError&) {
    }
    CHECK(numbers <= 24);
  }
}

TEST_CASE("V2C's real feature file", "[tensor_files][needs_shared]") {
  const std::filesystem::path path = shared_data() / "v2c/video00.npy";
  if (!std::filesystem::exists(path)) SKIP_TEST("../shared/v2c is not there");
  const Tensor array = read_npy(path);
  CHECK(array.shape() == Shape({40, 2048}));
  for (const float value : array.to_vector<float>())
    REQUIRE((value >= 0 && value < 100));  // ReLU, then an average
}

TEST_CASE("ZIP: entries that overlap are refused", "[tensor_files]") {
  const TemporaryFolder folder("zip_overlap");
  const std::string whole = fuzz::stored_zip({{"a", "0123456789"}, {"b", "abcdefghij"}});
  const auto error_with = [&](const std::string& bytes) {
    const auto file = MappedFile::open(folder.write("x.zip", bytes));
    return message_of<InputError>([&] {
      const ZipArchive archive(*file, "x.zip");
      CHECK(archive.find("a")->data.size() == 10);
      CHECK(archive.find("b")->data.size() == 10);
      CHECK(archive.find("c") == nullptr);
    });
  };
  CHECK(error_with(whole).empty());
  // The directory's record of "a" claims a byte more: that is the first of "b"'s header.
  std::string overlapping = whole;
  const size_t record = whole.find("PK\x01\x02");
  overlapping[record + 20] = 11;
  overlapping[record + 24] = 11;
  CHECK(error_with(overlapping).find("\"a\" and \"b\" overlap") != std::string::npos);
  // Both records stand for one entry.
  std::string twice = whole;
  const size_t second = whole.find("PK\x01\x02", record + 1);
  twice[second + 42] = twice[record + 42];
  CHECK_FALSE(error_with(twice).empty());
}

TEST_CASE("safetensors: tensors lie side by side, without holes, overlaps or a rest", "[tensor_files]") {
  const TemporaryFolder folder("safetensors_holes");
  const auto with = [&](int first_end, int second_begin, int second_end, size_t data) {
    const std::string header =
        concat_text(R"({"a":{"dtype":"U8","shape":[)", first_end, R"(],"data_offsets":[0,)", first_end,
                    R"(]},"b":{"dtype":"U8","shape":[)", second_end - second_begin, R"(],"data_offsets":[)",
                    second_begin, ",", second_end, "]}}");
    std::string bytes(8, '\0');
    const uint64_t size = header.size();
    std::memcpy(bytes.data(), &size, 8);
    const auto path = folder.write("x.safetensors", bytes + header + std::string(data, 'x'));
    return message_of<InputError>([&] { static_cast<void>(read_safetensors(path)); });
  };
  CHECK(with(4, 4, 7, 7).empty());
  CHECK(with(4, 5, 8, 8).find("holes and overlaps") != std::string::npos);
  CHECK(with(4, 3, 6, 6).find("holes and overlaps") != std::string::npos);
  CHECK(with(4, 4, 7, 6).find("the file has 6 bytes") != std::string::npos);
  CHECK(with(4, 4, 7, 9).find("2 bytes after the last tensor") != std::string::npos);
}

TEST_CASE("safetensors with a hostile header cost neither memory nor time", "[tensor_files]") {
  const TemporaryFolder folder("safetensors_bomb");
  const auto with_header = [&](const std::string& header) {
    std::string bytes(8, '\0');
    const uint64_t size = header.size();
    std::memcpy(bytes.data(), &size, 8);
    return folder.write("x.safetensors", bytes + header);
  };
  std::string many = "{";
  for (int i = 0; i < 400'000; ++i) many += "\"" + std::to_string(i) + "\":0,";
  CHECK_THROWS_AS(read_safetensors(with_header(many + "\"x\":0}")), InputError);
  CHECK_THROWS_AS(read_safetensors(with_header(std::string(3'000'000, '['))), InputError);
  // So many well-formed entries once took a minute: the work must not grow with their square.
  many = "{\"-\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
  for (int i = 0; i < 120'000; ++i)
    many += ",\"" + std::to_string(i) + "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
  CHECK(message_of<InputError>([&] {
          static_cast<void>(read_safetensors(with_header(many + "}")));
        }).find("more than 50000 tensors") != std::string::npos);
  many = "{\"__metadata__\":{\"-\":\"\"";
  for (int i = 0; i < 20'000; ++i) many += ",\"" + std::to_string(i) + "\":\"\"";
  CHECK(message_of<InputError>([&] {
          static_cast<void>(read_safetensors(with_header(many + "}}")));
        }).find("entries of metadata") != std::string::npos);
  CHECK_THROWS_AS(read_safetensors(with_header("{" + std::string(9'000'000, ' ') + "}")), InputError);
  CHECK_THROWS_AS(read_safetensors(with_header(
                      R"({"a":{"dtype":"U8","shape":[0,4611686018427387904,8],"data_offsets":[0,0]}})")),
                  InputError);
  CHECK_THROWS_AS(
      read_safetensors(with_header("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}")),
      InputError);
}

}  // namespace clipcap
