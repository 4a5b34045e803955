#include "tensor/io/pickle.h"

#include <bit>
#include <cstring>

#include "tensor/check.h"

namespace clipcap {
namespace {

using Kind = PickleValue::Kind;

// A ViT-L/14 training checkpoint with its optimizer has some 50,000 values.
constexpr size_t kMostValues = 250'000;
constexpr size_t kMostPushes = 1'000'000;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& where, GlobalFilter allowed)
      : bytes_(bytes), where_(where), allowed_(allowed) {
    result_.values.emplace_back();  // None
  }

  Pickle run() {
    while (true) {
      opcode_at_ = at_;
      const auto opcode = static_cast<uint8_t>(number(1));
      if (opcode == '.') break;
      step(opcode);
    }
    result_.root = pop();
    result_.bytes = at_;
    return std::move(result_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void broken(const Parts&... parts) const {
    fail_input(where_, ": byte ", opcode_at_, ": ", parts...);
  }

  // ---- the bytes
  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) broken("the pickle is truncated");
    const std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + at_, count);
    at_ += count;
    return taken;
  }
  uint64_t number(size_t width) {
    const std::string_view raw = take(width);
    uint64_t value = 0;
    std::memcpy(&value, raw.data(), width);
    return value;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) broken("the pickle is truncated");
    at_ += end + 1;
    return rest.substr(0, end);
  }

  // ---- the stack
  PickleRef add(PickleValue value) {
    if (result_.values.size() >= kMostValues) broken("more than ", kMostValues, " values");
    result_.values.push_back(std::move(value));
    return static_cast<PickleRef>(result_.values.size() - 1);
  }
  void push(PickleRef ref) {
    if (++pushes_ > kMostPushes) broken("more than ", kMostPushes, " steps");
    stack_.push_back(ref);
  }
  PickleValue& create(Kind kind) {
    push(add({}));
    PickleValue& value = result_.values.back();
    value.kind = kind;
    return value;
  }
  [[nodiscard]] size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleRef pop() {
    if (stack_.size() <= floor()) broken("nothing on the stack");
    const PickleRef ref = stack_.back();
    stack_.pop_back();
    return ref;
  }
  PickleRef top() {
    if (stack_.size() <= floor()) broken("nothing on the stack");
    return stack_.back();
  }
  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) broken("no mark on the stack");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> taken(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return taken;
  }
  std::vector<PickleRef> pop_many(size_t count) {
    std::vector<PickleRef> taken(count);
    while (count-- > 0) taken[count] = pop();
    return taken;
  }

  // ---- what opcodes do
  void push_text(Kind kind, uint64_t length) {
    const std::string_view text = take(length);
    create(kind).text = text;
  }
  void push_integer(int64_t value) { create(Kind::integer).integer = value; }
  void push_long(uint64_t length) {
    const std::string_view raw = take(length);
    PickleValue& value = create(Kind::integer);
    if (length > 8) {
      value.text = raw;
      return;
    }
    uint64_t bits = 0;
    std::memcpy(&bits, raw.data(), length);
    if (length > 0 && length < 8 && (bits >> (8 * length - 1)) != 0) bits |= ~uint64_t{0} << (8 * length);
    value.integer = static_cast<int64_t>(bits);
  }
  void push_global(std::string_view module, std::string_view name) {
    if (!allowed_(module, name)) {
      fail_input(where_, ": refuses the Python object \"", module.substr(0, 100), '.', name.substr(0, 100),
                 "\": only tensors in plain containers are read (save the model's state_dict() instead)");
    }
    PickleValue& value = create(Kind::global);
    value.text = module;
    value.name = name;
  }
  void push_call() {
    const PickleRef arguments = pop();
    const PickleRef callable = pop();
    if (result_.at(arguments).kind != Kind::tuple) broken("a call whose arguments are no tuple");
    PickleValue& value = create(Kind::call);
    value.callable = callable;
    value.arguments = arguments;
  }
  void fill(const std::vector<PickleRef>& items, bool keyed) {
    PickleValue& target = result_.values[top()];
    const bool fits = target.kind == Kind::call || (target.kind == Kind::dict) == keyed;
    const bool container = target.kind == Kind::call || target.kind == Kind::dict ||
                           target.kind == Kind::list || target.kind == Kind::set;
    if (!container || !fits || (keyed && items.size() % 2 != 0))
      broken("items for what is no such container");
    target.keyed = keyed;
    target.elements.insert(target.elements.end(), items.begin(), items.end());
  }
  void remember(uint64_t index) {
    if (index >= kMostPushes) broken("memo number ", index);
    if (index >= memo_.size()) memo_.resize(static_cast<size_t>(index) + 1, kForgotten);
    memo_[static_cast<size_t>(index)] = top();
    ++remembered_;
  }
  void recall(uint64_t index) {
    if (index >= memo_.size() || memo_[static_cast<size_t>(index)] == kForgotten)
      broken("memo number ", index, " was never set");
    push(memo_[static_cast<size_t>(index)]);
  }
  void tuple_of(std::vector<PickleRef> elements) { create(Kind::tuple).elements = std::move(elements); }

  void step(uint8_t opcode);

  static constexpr PickleRef kForgotten = ~PickleRef{0};
  std::span<const std::byte> bytes_;
  const std::string& where_;
  GlobalFilter allowed_;
  Pickle result_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  std::vector<PickleRef> memo_;
  uint64_t remembered_ = 0;
  size_t at_ = 0;
  size_t opcode_at_ = 0;
  size_t pushes_ = 0;
};

void Machine::step(uint8_t opcode) {
  switch (opcode) {
    // Framing.
    case 0x80: {  // PROTO
      const uint64_t protocol = number(1);
      if (protocol > 5) broken("pickle protocol ", protocol, "; 2 to 5 are read");
      return;
    }
    case 0x95:  // FRAME
      static_cast<void>(take(8));
      return;
    // The stack.
    case '(':  // MARK
      if (marks_.size() >= kMostPushes) broken("too many marks");
      marks_.push_back(stack_.size());
      return;
    case '0':  // POP
      static_cast<void>(pop());
      return;
    case '1':  // POP_MARK
      static_cast<void>(pop_to_mark());
      return;
    case '2':  // DUP
      return push(top());
    case 'q':  // BINPUT
      return remember(number(1));
    case 'r':  // LONG_BINPUT
      return remember(number(4));
    case 0x94:  // MEMOIZE
      return remember(remembered_);
    case 'h':  // BINGET
      return recall(number(1));
    case 'j':  // LONG_BINGET
      return recall(number(4));
    // Plain values.
    case 'N':  // NONE
      return push(0);
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      create(Kind::boolean).integer = opcode == 0x88 ? 1 : 0;
      return;
    case 'J':  // BININT
      return push_integer(static_cast<int32_t>(number(4)));
    case 'K':  // BININT1
      return push_integer(static_cast<int64_t>(number(1)));
    case 'M':  // BININT2
      return push_integer(static_cast<int64_t>(number(2)));
    case 0x8a:  // LONG1
      return push_long(number(1));
    case 0x8b:  // LONG4
      return push_long(number(4));
    case 'G': {  // BINFLOAT, big-endian
      const double real = std::bit_cast<double>(__builtin_bswap64(number(8)));
      create(Kind::real).real = real;
      return;
    }
    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING
      return push_text(Kind::text, number(4));
    case 0x8c:  // SHORT_BINUNICODE
    case 'U':   // SHORT_BINSTRING
      return push_text(Kind::text, number(1));
    case 0x8d:  // BINUNICODE8
      return push_text(Kind::text, number(8));
    case 'C':  // SHORT_BINBYTES
      return push_text(Kind::bytes, number(1));
    case 'B':  // BINBYTES
      return push_text(Kind::bytes, number(4));
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      return push_text(Kind::bytes, number(8));
    // Containers.
    case ')':  // EMPTY_TUPLE
      return tuple_of({});
    case 't':  // TUPLE
      return tuple_of(pop_to_mark());
    case 0x85:  // TUPLE1
    case 0x86:  // TUPLE2
    case 0x87:  // TUPLE3
      return tuple_of(pop_many(static_cast<size_t>(opcode - 0x84)));
    case ']':  // EMPTY_LIST
      create(Kind::list);
      return;
    case 'a': {  // APPEND
      const PickleRef item = pop();
      return fill({item}, false);
    }
    case 'e':     // APPENDS
    case 0x90: {  // ADDITEMS
      const std::vector<PickleRef> items = pop_to_mark();
      return fill(items, false);
    }
    case '}':  // EMPTY_DICT
      create(Kind::dict);
      return;
    case 's':  // SETITEM
      return fill(pop_many(2), true);
    case 'u': {  // SETITEMS
      const std::vector<PickleRef> items = pop_to_mark();
      return fill(items, true);
    }
    case 0x8f:  // EMPTY_SET
      create(Kind::set);
      return;
    case 0x91: {  // FROZENSET
      std::vector<PickleRef> items = pop_to_mark();
      create(Kind::set).elements = std::move(items);
      return;
    }
    // Python's objects.
    case 'c': {  // GLOBAL
      const std::string_view module = line();
      return push_global(module, line());
    }
    case 0x93: {  // STACK_GLOBAL
      const PickleValue& name = result_.at(pop());
      const PickleValue& module = result_.at(pop());
      if (name.kind != Kind::text || module.kind != Kind::text) broken("a global without a name");
      return push_global(module.text, name.text);
    }
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      return push_call();
    case 0x92:  // NEWOBJ_EX
      static_cast<void>(pop());
      return push_call();
    case 'b': {  // BUILD
      const PickleRef state = pop();
      result_.values[top()].state = state;
      return;
    }
    case 'Q': {  // BINPERSID
      const PickleRef id = pop();
      create(Kind::persistent).arguments = id;
      return;
    }
    default:
      broken("opcode ", static_cast<int>(opcode), " is not one that checkpoints use");
  }
}

}  // namespace

Pickle read_pickle(std::span<const std::byte> bytes, const std::string& where, GlobalFilter allowed) {
  return Machine(bytes, where, allowed).run();
}

}  // namespace clipcap
