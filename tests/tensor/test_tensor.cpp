// Tensor: views, copies, broadcasting, conversions, the cache of memory, safetensors.
#include <filesystem>
#include <fstream>

#include "tensor/io/safetensors.h"
#include "tensor/kernels/isa.h"
#include "tensor/ops.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

Tensor counting(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i);
  return x;
}

std::filesystem::path temporary(const std::string& name) {
  const auto folder = std::filesystem::temp_directory_path() / "clipcap-tests";
  std::filesystem::create_directories(folder);
  return folder / name;
}

}  // namespace

TEST_CASE("views share storage and know their strides", "[tensor]") {
  const Tensor x = counting({2, 3, 4});
  const Tensor t = x.transpose(0, 2);
  CHECK(t.shape() == Shape({4, 3, 2}));
  CHECK_FALSE(t.is_contiguous());
  CHECK(t.to_vector<float>()[1] == 12.0F);
  CHECK(x.slice(1, 1, 2).to_vector<float>() ==
        std::vector<float>{4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23});
  CHECK(x.permute({1, 0, 2}).slice(0, 2, 1).reshape({-1}).to_vector<float>() ==
        std::vector<float>{8, 9, 10, 11, 20, 21, 22, 23});
  x.slice(0, 1, 1).fill_zero();
  CHECK(x.to_vector<float>()[12] == 0.0F);
  CHECK(x.to_vector<float>()[11] == 11.0F);
  const Tensor wide = counting({3, 1}).expand({2, 3, 2});
  CHECK(wide.to_vector<float>() == std::vector<float>{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2});
}

TEST_CASE("empty and one-element tensors", "[tensor]") {
  const Tensor none = Tensor::empty({3, 0, 2});
  CHECK(none.is_contiguous());
  CHECK(none.clone().numel() == 0);
  CHECK(ops::sum(none, 1).to_vector<float>() == std::vector<float>(6, 0.0F));
  CHECK(ops::matmul(Tensor::empty({2, 0}), Tensor::empty({0, 3})).to_vector<float>() ==
        std::vector<float>(6, 0.0F));
  CHECK(Tensor::full({}, 2.5).item() == 2.5);
  CHECK(ops::sum_all(Tensor::empty({0})).item() == 0.0);
}

TEST_CASE("errors name both shapes", "[tensor]") {
  const Tensor a = counting({2, 3});
  const Tensor b = counting({4, 3});
  try {
    (void)ops::add(a, b);
    FAIL("no error");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.find("[2, 3]") != std::string::npos);
    CHECK(text.find("[4, 3]") != std::string::npos);
  }
  CHECK_THROWS_AS(ops::matmul(a, b), Error);
  CHECK_THROWS_AS(a.reshape({4, 2}), Error);
  CHECK_THROWS_AS(a.slice(0, 1, 2), Error);
  CHECK_THROWS_AS(a.data<double>(), Error);
}

TEST_CASE("elementwise ops broadcast like the oracle on every instruction set", "[tensor]") {
  const Isa before = active_isa();
  for (const Isa isa : {before, Isa::avx2}) {
    if (isa != before && before != Isa::avx512) continue;
    set_active_isa(isa);
    const std::pair<Shape, Shape> pairs[] = {
        {{5, 33}, {33}}, {{7, 1, 3}, {4, 1}}, {{1}, {2, 31}}, {{3, 17}, {3, 17}}, {{2, 0}, {1, 1}}};
    for (const auto& [a_shape, b_shape] : pairs) {
      const Tensor a = Tensor::from(testing::random_values<float>(a_shape.numel(), 1), a_shape);
      const Tensor b = Tensor::from(testing::random_values<float>(b_shape.numel(), 2, 2.0, 0.2), b_shape);
      for (const BinaryKind kind : {BinaryKind::add, BinaryKind::sub, BinaryKind::mul, BinaryKind::div}) {
        const Tensor fast = ops::binary(kind, a, b);
        const Tensor oracle = ops::binary(kind, a.to(DType::f64), b.to(DType::f64));
        CHECK(testing::max_error(fast.to_vector<float>(), oracle.to_vector<double>()) < 1e-6);
      }
    }
    const Tensor x = Tensor::from(testing::random_values<float>(5 * 67 * 19, 3), {5, 67, 19});
    for (int dim = 0; dim < 3; ++dim) {
      CHECK(testing::max_error(ops::sum(x, dim).to_vector<float>(),
                               ops::sum(x.to(DType::f64), dim).to_vector<double>()) < 1e-4);
    }
    const Tensor strided = x.transpose(0, 2);
    CHECK(testing::max_error(ops::mul(strided, strided).to_vector<float>(),
                             ops::mul(strided.to(DType::f64), strided.to(DType::f64)).to_vector<double>()) <
          1e-5);
  }
  set_active_isa(before);
}

TEST_CASE("half and bfloat16 convert exactly", "[tensor]") {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float16 half;
    half.bits = static_cast<uint16_t>(bits);
    const auto wide = static_cast<float>(half);
    if (wide != wide) continue;
    CHECK(float16(wide).bits == half.bits);
    bfloat16 brain;
    brain.bits = static_cast<uint16_t>(bits);
    if (static_cast<float>(brain) == static_cast<float>(brain))
      CHECK(bfloat16(static_cast<float>(brain)).bits == brain.bits);
  }
  CHECK(static_cast<float>(float16(65519.0F)) == 65504.0F);
  CHECK(std::isinf(static_cast<float>(float16(65520.0F))));
  CHECK(static_cast<float>(float16(0x1p-25F)) == 0.0F);  // halfway to the least subnormal: to even
  CHECK(static_cast<float>(float16(0x1.8p-25F)) == 0x1p-24F);
}

TEST_CASE("freed memory is used again", "[tensor]") {
  { const Tensor warm = Tensor::empty({1000, 77}); }
  const int64_t before = host_memory_statistics().system_allocations;
  for (int i = 0; i < 10; ++i) {
    const Tensor again = Tensor::empty({1000, 77});
    const Tensor near = again.slice(0, 0, 3);
  }
  CHECK(host_memory_statistics().system_allocations == before);
}

TEST_CASE("safetensors: what is written is read, byte for byte", "[tensor]") {
  const auto path = temporary("round.safetensors");
  std::map<std::string, Tensor> tensors{{"a.weight", counting({3, 5})},
                                        {"empty", Tensor::empty({0, 4})},
                                        {"scalar", Tensor::full({}, 3.25, DType::f64)},
                                        {"half", counting({7}).to(DType::f16)},
                                        {"brain", counting({2, 2}).to(DType::bf16)},
                                        {"ids", counting({3}).to(DType::i32)},
                                        {"strided", counting({3, 4}).transpose(0, 1)}};
  write_safetensors(path, tensors, {{"step", "12"}});
  const TensorFile file = read_safetensors(path);
  CHECK(file.metadata.at("step") == "12");
  REQUIRE(file.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    CHECK(file.tensors.at(name).dtype() == tensor.dtype());
    CHECK(file.tensors.at(name).shape() == tensor.shape());
    CHECK(file.tensors.at(name).to(DType::f64).to_vector<double>() ==
          tensor.to(DType::f64).to_vector<double>());
  }
}

TEST_CASE("safetensors: hostile files end in one InputError", "[tensor]") {
  const auto path = temporary("good.safetensors");
  write_safetensors(path, {{"a", counting({3, 5})}, {"b", counting({4})}}, {{"k", "v"}});
  std::ifstream in(path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  const auto bad = temporary("bad.safetensors");
  const auto read = [&](const std::string& bytes) {
    std::ofstream(bad, std::ios::binary) << bytes;
    try {
      (void)read_safetensors(bad);
    } catch (const InputError&) {
      return false;
    }
    return true;
  };
  for (size_t length = 0; length < good.size(); ++length) CHECK_FALSE(read(good.substr(0, length)));
  CHECK_FALSE(read(good + "x"));
  Generator generator(4);
  for (int i = 0; i < 1000; ++i) {
    std::string flipped = good;
    for (int64_t n = generator.index(3); n >= 0; --n) {
      flipped[static_cast<size_t>(generator.index(static_cast<int64_t>(good.size())))] =
          static_cast<char>(generator.index(256));
    }
    (void)read(flipped);  // an error or a file that reads, never a crash
  }
  const auto with_header = [](const std::string& header, const std::string& data) {
    std::string bytes(8, '\0');
    const uint64_t size = header.size();
    std::memcpy(bytes.data(), &size, 8);
    return bytes + header + data;
  };
  CHECK(read(with_header(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "xy")));
  // A kind of number that is not read is left out by name, and the file is none the worse for it.
  CHECK(read(with_header(R"({"a":{"dtype":"F9","shape":[2],"data_offsets":[0,2]}})", "xy")));
  const char* wrong[] = {
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
      R"({"a":{"dtype":"U8","shape":[4611686018427387904,8],"data_offsets":[0,0]}})",
      R"({"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}})",
      R"({"a":{"dtype":9,"shape":[2],"data_offsets":[0,2]}})",
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
      R"({"a":[[[[[[[[[[[[[]]]]]]]]]]]]]})",
      "{",
      "[]"};
  for (const char* header : wrong) CHECK_FALSE(read(with_header(header, "xy")));
}

TEST_CASE("borrowed memory is not written to", "[tensor]") {
  static const float numbers[4] = {1, 2, 3, 4};
  const auto owner = std::make_shared<int>(0);
  const Tensor x =
      Tensor::view(std::make_shared<Storage>(numbers, sizeof numbers, owner), {4}, {1}, 0, DType::f32);
  const Tensor y = Tensor::full({4}, 5.0);
  CHECK_THROWS_WITH(
      x.copy_from(y),
      "copy_from: tensor [4] is read-only (borrowed memory, such as a mapped file); clone() it first");
  CHECK_THROWS_WITH(
      x.fill_zero(),
      "fill_zero: tensor [4] is read-only (borrowed memory, such as a mapped file); clone() it first");
  CHECK_THROWS_WITH(
      ops::add_in_place(x, y),
      "add_in_place: tensor [4] is read-only (borrowed memory, such as a mapped file); clone() it first");
  CHECK_THROWS_WITH(
      x.slice(0, 1, 2).copy_from(y.slice(0, 0, 2)),
      "copy_from: tensor [2] is read-only (borrowed memory, such as a mapped file); clone() it first");
  y.copy_from(x);
  CHECK(y.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
  x.clone().fill_zero();
}
