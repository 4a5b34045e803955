// Dispatch by itself: which slots there are, that a call reaches the one of its device and element type, what
// an empty slot says, and what the hook sees.
#include "tensor/op.h"

#include <set>
#include <stdexcept>
#include <vector>

#include "tensor/cost_counter.h"
#include "tensor/kernels/copy.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/kernels/matmul.h"
#include "tensor/ops.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {

// An op of our own, whose kernels write down that they ran. In clipcap, so that cost() is found.
template <class T>
struct TestParams {
  std::string* ran;
  bool fails = false;
};
template <class T>
Cost cost(const TestParams<T>&) {
  return {1.0 * sizeof(T), 2.0, 3.0};
}

struct TestBytes {
  std::string* ran;
  DType element = DType::u8;
  [[nodiscard]] DType dtype() const { return element; }
};
inline Cost cost(const TestBytes&) { return {0, 7, 8}; }

namespace {

template <class T>
void plain(const TestParams<T>& p) {
  *p.ran += concat_text("plain ", dtype_of<T>, ";");
  if (p.fails) throw std::runtime_error("kernel failed");
}
void fast(const TestParams<float>& p) {
  *p.ran += "fast;";
  if (p.fails) throw std::runtime_error("kernel failed");
}
void emulated(const TestParams<bfloat16>& p) { *p.ran += "emulated;"; }

Op<TestParams> make_op() { return {"test_op", fast, plain<float>, plain<double>, plain<bfloat16>}; }

constexpr Device kCuda{DeviceType::cuda, 1};
constexpr Device kEmulated{DeviceType::emulated, 0};

// What the hook saw, in order; the hook is taken off at the end.
struct Seen {
  OpCall call;
  bool begin;
};
std::vector<Seen> seen;

class Listening {
 public:
  Listening() {
    seen.clear();
    op_hook = [](const OpCall& call, bool begin) { seen.push_back({call, begin}); };
  }
  ~Listening() { op_hook = nullptr; }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
};

}  // namespace

TEST_CASE("op: every op of the engine runs on the CPU for every compute type, under a name of its own",
          "[op]") {
  std::set<std::string> names;
  for (const OpInfo* op : all_ops()) {
    INFO(op->name);
    CHECK(names.insert(op->name).second);
    for (const DType dtype : kComputeDTypes) CHECK(op->has(DeviceType::cpu, dtype));
    for (const DType dtype : {DType::i32, DType::u8, DType::f16})
      CHECK_FALSE(op->has(DeviceType::cpu, dtype));
    CHECK(op->slots().find("cpu f32, cpu f64, cpu bf16") == 0);
  }
  CHECK(names.size() >= 25);
}

TEST_CASE("op: a call reaches the slot of its device and element type", "[op]") {
  Op<TestParams> op = make_op();
  std::string ran;
  op(kCpu, TestParams<float>{&ran});
  op(kCpu, TestParams<double>{&ran});
  op(kCpu, TestParams<bfloat16>{&ran});
  op(kCpu, {&ran});  // a braced list means floats
  CHECK(ran == "fast;plain f64;plain bf16;fast;");
  ran.clear();
  op.set<bfloat16>(DeviceType::emulated, emulated);
  op(kEmulated, TestParams<bfloat16>{&ran});
  op(kCpu, TestParams<bfloat16>{&ran});
  CHECK(ran == "emulated;plain bf16;");
  CHECK(op.has(DeviceType::emulated, DType::bf16));
  CHECK_FALSE(op.has(DeviceType::emulated, DType::f32));
  CHECK_FALSE(op.has(DeviceType::cuda, DType::bf16));
  CHECK(op.slots() == "cpu f32, cpu f64, cpu bf16, emulated bf16");
  ran.clear();
  op.reference(TestParams<float>{&ran});
  op.reference(TestParams<double>{&ran});
  CHECK(ran == "plain f32;plain f64;");
}

TEST_CASE("op: an empty slot throws, says what there is, and runs nothing", "[op]") {
  Op<TestParams> op{"lonely_op", fast, plain<float>, plain<double>, nullptr};
  op.set<float>(DeviceType::emulated, fast);
  std::string ran;
  for (const auto& [device, text] : {std::pair{kCuda, "cuda:1"}, std::pair{kEmulated, "emulated"}}) {
    const Device where = device;
    const std::string error = message_of<Error>([&] { op(where, TestParams<double>{&ran}); });
    INFO(error);
    for (const std::string& part : {std::string("lonely_op"), std::string("f64"), std::string(text),
                                    std::string("cpu f32, cpu f64, emulated f32")})
      CHECK(error.find(part) != std::string::npos);
  }
  CHECK_THROWS_AS(op(kCpu, TestParams<bfloat16>{&ran}), Error);
  CHECK_THROWS_AS(op.reference(TestParams<bfloat16>{&ran}), Error);
  CHECK(ran.empty());
  op.set<float>(DeviceType::emulated, nullptr);  // emptied again
  CHECK_THROWS_AS(op(kEmulated, TestParams<float>{&ran}), Error);
  CHECK(OpInfo{"nothing", {}}.slots() == "none");
}

TEST_CASE("op: an op on bytes has one kernel for all dtypes of a device", "[op]") {
  UntypedOp<TestBytes> op{"bytes_op", [](const TestBytes& p) { *p.ran += "bytes;"; }};
  std::string ran;
  op(kCpu, {&ran});
  CHECK(ran == "bytes;");
  const std::string error = message_of<Error>([&] { op(kEmulated, {&ran, DType::i64}); });
  CHECK(error.find("bytes_op: no kernel for i64 on emulated") == 0);
  op.set(DeviceType::emulated, [](const TestBytes& p) { *p.ran += "emulated bytes;"; });
  op(kEmulated, {&ran});
  CHECK(ran == "bytes;emulated bytes;");
}

TEST_CASE("op: the hook sees begin and end with op, device, type and cost, also when the kernel throws",
          "[op]") {
  Op<TestParams> op = make_op();
  op.set<bfloat16>(DeviceType::emulated, emulated);
  std::string ran;
  op(kCpu, TestParams<float>{&ran});
  {
    const Listening listening;
    op(kCpu, TestParams<double>{&ran});
    op(kEmulated, TestParams<bfloat16>{&ran});
    CHECK_THROWS_AS(op(kCpu, TestParams<float>{&ran, true}), std::runtime_error);
    CHECK_THROWS_AS(op(kEmulated, TestParams<float>{&ran}),
                    Error);  // no such slot: nothing ran, nothing is seen
  }
  op(kCpu, TestParams<float>{&ran});
  REQUIRE(seen.size() == 6);
  for (size_t i = 0; i < seen.size(); ++i) {
    INFO(i);
    CHECK(seen[i].begin == (i % 2 == 0));
    CHECK(std::string(seen[i].call.op) == "test_op");
    CHECK(seen[i].call.device == (i / 2 == 1 ? kEmulated : kCpu));
    CHECK(seen[i].call.dtype == std::array{DType::f64, DType::bf16, DType::f32}[i / 2]);
    CHECK(seen[i].call.cost.flops == std::array{8.0, 2.0, 4.0}[i / 2]);
    CHECK(seen[i].call.cost.bytes_read == 2.0);
    CHECK(seen[i].call.cost.bytes_written == 3.0);
  }
}

TEST_CASE("op: a scope inside another ends first; taken off in between, the hook still hears the end",
          "[op]") {
  const Listening listening;
  const auto call = [](const char* name) { return OpCall{name, kCpu, DType::f32, {}}; };
  {
    const OpScope outer([&] { return call("outer"); });
    const OpScope inner([&] { return call("inner"); });
    op_hook = nullptr;
    const OpScope unheard([&] { return call("unheard"); });
  }
  REQUIRE(seen.size() == 4);
  CHECK(std::string(seen[1].call.op) == "inner");
  CHECK(std::string(seen[2].call.op) == "inner");
  CHECK_FALSE(seen[2].begin);
  CHECK(std::string(seen[3].call.op) == "outer");
  CHECK_FALSE(seen[3].begin);
}

TEST_CASE("op: the engine's own calls are seen with their true cost", "[op]") {
  const Tensor a = Tensor::full({2, 3, 4}, 1.0);
  const Tensor b = Tensor::full({2, 4, 5}, 1.0, DType::f32);
  {
    const Listening listening;
    (void)ops::matmul(a, b);
    (void)a.transpose(0, 2).contiguous();
    (void)ops::softmax(a.to(DType::f64));
  }
  std::set<std::string> names;
  for (const Seen& one : seen) {
    names.insert(one.call.op);
    CHECK(one.call.device == kCpu);
    CHECK(one.call.cost.bytes_written > 0);
    if (std::string(one.call.op) == "matmul") {
      CHECK(one.call.dtype == DType::f32);
      CHECK(one.call.cost.flops == 2.0 * 2 * 3 * 4 * 5);
      CHECK(one.call.cost.bytes_read == 4.0 * 2 * (3 * 4 + 4 * 5));
      CHECK(one.call.cost.bytes_written == 4.0 * 2 * 3 * 5);
    }
    if (std::string(one.call.op) == "softmax_fwd") CHECK(one.call.dtype == DType::f64);
  }
  CHECK(seen.size() % 2 == 0);
  CHECK(names == std::set<std::string>{"convert", "matmul", "softmax_fwd", "strided_copy"});
}

TEST_CASE("op: a cost counter adds up what is called while it lives", "[op]") {
  const Tensor a = Tensor::full({3, 4}, 1.0);
  const Tensor b = Tensor::full({4, 5}, 1.0);
  seen.clear();
  op_hook = [](const OpCall& call, bool begin) { seen.push_back({call, begin}); };
  {
    const CostCounter counter;
    CHECK(counter.total().flops == 0);
    static_cast<void>(ops::matmul(a, b));
    static_cast<void>(ops::matmul(a, b));
    static_cast<void>(ops::add(a, a));
    CHECK(counter.of("matmul").flops == 2 * 2 * 3 * 4 * 5);
    CHECK(counter.of("binary").flops == 3 * 4);
    CHECK(counter.of("lstm_fwd").flops == 0);
    CHECK(counter.total().flops == 2 * 2 * 3 * 4 * 5 + 3 * 4);
    CHECK(counter.total().bytes_written == 4 * (2 * 3 * 5 + 3 * 4));
    CHECK_THROWS_AS(CostCounter(), Error);
  }
  CHECK(seen.empty());  // it stood in the hook's place, and has given it back
  static_cast<void>(ops::add(a, a));
  op_hook = nullptr;
  CHECK(seen.size() == 2);
}

}  // namespace clipcap
