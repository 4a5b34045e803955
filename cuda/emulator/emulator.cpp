#include "cuda/emulator/emulator.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tensor/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define CLIPCAP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CLIPCAP_ASAN 1
#endif
#endif
#if defined(CLIPCAP_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

namespace clipcap::emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;  // touched pages only count
constexpr size_t kGuardBytes = 16 * 1024;   // below the stack, not accessible: an overflow faults at once
constexpr size_t kCanaryBytes = 256;
constexpr unsigned char kCanary = 0xA5;

class Stack {
 public:
  Stack() {
    void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED, "emulator: no memory for the stack of a thread");
    base_ = static_cast<std::byte*>(memory);
    mprotect(base_, kGuardBytes, PROT_NONE);
  }
  ~Stack() { munmap(base_, kGuardBytes + kStackBytes); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  [[nodiscard]] std::byte* bottom() const { return base_ + kGuardBytes; }

 private:
  std::byte* base_ = nullptr;
};

enum class Status { ready, at_barrier, in_warp_operation, done };

struct Fiber {
  Stack stack;
  ucontext_t context{};
  ThreadState state;
  Status status = Status::done;
  Place place;
  WarpOperation operation = WarpOperation::sync;
  uint64_t bits = 0;
  int argument = 0;
  void* sanitizer_stack = nullptr;
};

// The threads that can run: one bit each, so that the lowest and the highest are found in a few instructions.
class ReadySet {
 public:
  void insert(int thread) { words_[word(thread)] |= uint64_t{1} << (thread % 64); }
  void erase(int thread) { words_[word(thread)] &= ~(uint64_t{1} << (thread % 64)); }
  void clear() { words_.fill(0); }

  /// -1 when empty.
  [[nodiscard]] int lowest() const {
    for (size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] != 0) return static_cast<int>(i * 64) + std::countr_zero(words_[i]);
    }
    return -1;
  }
  [[nodiscard]] int highest() const {
    for (size_t i = words_.size(); i-- > 0;) {
      if (words_[i] != 0) return static_cast<int>(i * 64) + 63 - std::countl_zero(words_[i]);
    }
    return -1;
  }
  /// The first one at `start` or after, going round.
  [[nodiscard]] int next(int start) const {
    const size_t first = word(start);
    const uint64_t above = words_[first] & (~uint64_t{0} << (start % 64));
    if (above != 0) return static_cast<int>(first * 64) + std::countr_zero(above);
    for (size_t i = first + 1; i < words_.size(); ++i) {
      if (words_[i] != 0) return static_cast<int>(i * 64) + std::countr_zero(words_[i]);
    }
    return lowest();
  }

 private:
  static size_t word(int thread) { return static_cast<size_t>(thread) / 64; }
  std::array<uint64_t, kThreadsLimit / 64> words_{};
};

class Machine {
 public:
  static Machine& instance() {
    static auto* machine = new Machine;  // its fibers' stacks may be in use until the very end
    return *machine;
  }

  void set_schedule(Schedule schedule, uint64_t seed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    schedule_ = schedule;
    random_ = seed * 0x9E3779B97F4A7C15ULL + 1;
  }

  Statistics statistics() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return statistics_;
  }

  void launch(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
              const std::function<void()>& body) {
    CHECK(running_ != this, "emulator: ", kernel, " is launched from within a kernel");
    const std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
    CHECK(threads >= 1 && threads <= kThreadsLimit, "emulator: ", kernel, ": ", threads,
          " threads in a block");
    CHECK(blocks >= 1 && grid.x <= 0x7FFFFFFFU && grid.y <= 65535 && grid.z <= 65535, "emulator: ", kernel,
          ": grid ", grid.x, "x", grid.y, "x", grid.z);
    CHECK(shared_bytes <= kSharedBytesLimit, "emulator: ", kernel, ": ", shared_bytes,
          " bytes of shared memory");
    kernel_ = kernel;
    body_ = &body;
    threads_ = static_cast<int>(threads);
    while (fibers_.size() < threads) fibers_.push_back(std::make_unique<Fiber>());
    ++statistics_.launches;
    struct Running {
      explicit Running(Machine* machine) { running_ = machine; }
      ~Running() { running_ = nullptr; }
    } const running(this);
    const uint64_t start = schedule_ == Schedule::random ? next_random() % blocks : 0;
    for (uint64_t i = 0; i < blocks; ++i) {
      const uint64_t index = schedule_ == Schedule::reverse ? blocks - 1 - i : (start + i) % blocks;
      block_ = Dim3(static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
                    static_cast<unsigned>(index / grid.x / grid.y));
      run_block(grid, block, shared_bytes);
    }
  }

  static Machine& running() {
    CHECK(running_ != nullptr, "emulator: device code is called from outside of a kernel");
    return *running_;
  }

  [[nodiscard]] const ThreadState& thread() const { return fibers_[current()]->state; }

  void barrier(Place place) {
    Fiber& me = *fibers_[current()];
    me.status = Status::at_barrier;
    me.place = place;
    ready_.erase(current_);
    if (++at_barrier_ == threads_) {
      for (int i = 0; i < threads_; ++i) {
        if (!(fibers_[static_cast<size_t>(i)]->place == place))
          return give_up("threads wait at different barriers");
      }
      at_barrier_ = 0;
      ++statistics_.barriers;
      for (int i = 0; i < threads_; ++i) wake(i);
    }
    suspend();
  }

  uint64_t warp_exchange(WarpOperation operation, uint64_t bits, int argument, Place place) {
    Fiber& me = *fibers_[current()];
    const int first = current_ / kWarpSize * kWarpSize;
    me.status = Status::in_warp_operation;
    me.place = place;
    me.operation = operation;
    me.bits = bits;
    me.argument = argument;
    ready_.erase(current_);
    if (first + kWarpSize > threads_) {
      give_up("a warp operation in a warp of fewer than 32 threads");
      return 0;
    }
    if (operation == WarpOperation::unsupported) {
      give_up("a warp operation with less than the full mask, which is not emulated");
      return 0;
    }
    int& arrived = in_warp_operation_[static_cast<size_t>(first / kWarpSize)];
    if (++arrived == kWarpSize) {
      arrived = 0;
      ++statistics_.warp_operations;
      exchange(first, operation, place);
    }
    suspend();
    return me.bits;
  }

 private:
  // The last lane to arrive works out what every lane gets.
  void exchange(int first, WarpOperation operation, Place place) {
    std::array<uint64_t, kWarpSize> offered{};
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const Fiber& fiber = *fibers_[static_cast<size_t>(first + lane)];
      if (fiber.operation != operation || !(fiber.place == place)) {
        return give_up("lanes of one warp are in different warp operations");
      }
      offered[static_cast<size_t>(lane)] = fiber.bits;
    }
    for (int lane = 0; lane < kWarpSize; ++lane) {
      Fiber& fiber = *fibers_[static_cast<size_t>(first + lane)];
      int source = lane;
      if (operation == WarpOperation::shuffle) source = fiber.argument & (kWarpSize - 1);
      if (operation == WarpOperation::shuffle_xor) source = lane ^ fiber.argument;
      if (operation == WarpOperation::shuffle_down) source = lane + fiber.argument;
      if (source < 0 || source >= kWarpSize) source = lane;  // as the hardware: its own value
      fiber.bits = offered[static_cast<size_t>(source)];
      wake(first + lane);
    }
  }

  void wake(int thread) {
    fibers_[static_cast<size_t>(thread)]->status = Status::ready;
    ready_.insert(thread);
  }

  void run_block(Dim3 grid, Dim3 block, size_t shared_bytes) {
    ++statistics_.blocks;
    shared_.assign((shared_bytes + kCanaryBytes) / 8 + 33,
                   ~uint64_t{0});  // all bits set: NaN in every format
    auto* shared = reinterpret_cast<std::byte*>(shared_.data());
    shared += (256 - reinterpret_cast<uintptr_t>(shared) % 256) % 256;
    std::memset(shared + shared_bytes, kCanary, kCanaryBytes);
    at_barrier_ = 0;
    in_warp_operation_.fill(0);
    ready_.clear();
    for (int i = 0; i < threads_; ++i) {
      Fiber& fiber = *fibers_[static_cast<size_t>(i)];
      const auto index = static_cast<unsigned>(i);
      fiber.state.thread_index = Dim3(index % block.x, index / block.x % block.y, index / block.x / block.y);
      fiber.state.block_index = block_;
      fiber.state.block_size = block;
      fiber.state.grid_size = grid;
      fiber.state.shared = shared;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.bottom();
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, &Machine::fiber_main, 0);
      wake(i);
    }
    int done = 0;
    while (done < threads_) {
      current_ = pick();
      if (current_ < 0) {
        problem_ = "not all threads came to the same barrier or warp operation";
        break;
      }
      ++statistics_.switches;
      resume(*fibers_[current()]);
      if (!problem_.empty() || exception_) break;
      if (fibers_[current()]->status == Status::done) ++done;
    }
    if (exception_) {
      problem_.clear();
      std::rethrow_exception(std::exchange(exception_, nullptr));
    }
    if (!problem_.empty()) fail(place_of_block(), ": ", std::exchange(problem_, {}), describe());
    for (size_t i = 0; i < kCanaryBytes; ++i) {
      CHECK(static_cast<unsigned char>(shared[shared_bytes + i]) == kCanary, place_of_block(),
            ": wrote behind its shared memory of ", shared_bytes, " bytes, at byte ", shared_bytes + i);
    }
  }

  int pick() {
    switch (schedule_) {
      case Schedule::forward:
        return ready_.lowest();
      case Schedule::reverse:
        return ready_.highest();
      case Schedule::random:
        return ready_.next(static_cast<int>(next_random() % static_cast<uint64_t>(threads_)));
    }
    return -1;
  }

  uint64_t next_random() {  // xorshift64
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return random_;
  }

  std::string place_of_block() const {
    return concat_text("emulator: kernel ", kernel_, ", block (", block_.x, ",", block_.y, ",", block_.z,
                       ")");
  }

  // How many threads are where.
  std::string describe() const {
    std::map<std::string, int> counts;
    for (int i = 0; i < threads_; ++i) {
      const Fiber& fiber = *fibers_[static_cast<size_t>(i)];
      const std::string file = std::string(fiber.place.file);
      const std::string place = concat_text(" at ", file.substr(file.rfind('/') + 1), ":", fiber.place.line);
      switch (fiber.status) {
        case Status::ready:
          ++counts["still running"];
          break;
        case Status::at_barrier:
          ++counts["in __syncthreads" + place];
          break;
        case Status::in_warp_operation:
          ++counts["in a warp operation" + place];
          break;
        case Status::done:
          ++counts["at the kernel's end"];
          break;
      }
    }
    std::string text;
    for (const auto& [place, count] : counts) text += concat_text("; ", count, " ", place);
    return text;
  }

  // From within a fiber: back to the scheduler, which throws. The fiber never continues.
  void give_up(const char* problem) {
    problem_ = problem;
    suspend();
  }

  static void fiber_main() {
    Machine& machine = *running_;
#if defined(CLIPCAP_ASAN)
    __sanitizer_finish_switch_fiber(nullptr, &machine.main_stack_, &machine.main_stack_bytes_);
#endif
    try {
      (*machine.body_)();
    } catch (...) {
      machine.exception_ = std::current_exception();
    }
    machine.fibers_[machine.current()]->status = Status::done;
    machine.ready_.erase(machine.current_);
    machine.suspend();
  }

  void resume(Fiber& fiber) {
#if defined(CLIPCAP_ASAN)
    void* mine = nullptr;
    __sanitizer_start_switch_fiber(&mine, fiber.stack.bottom(), kStackBytes);
#endif
    swapcontext(&main_, &fiber.context);
#if defined(CLIPCAP_ASAN)
    __sanitizer_finish_switch_fiber(mine, nullptr, nullptr);
#endif
  }

  void suspend() {
    Fiber& me = *fibers_[current()];
#if defined(CLIPCAP_ASAN)
    __sanitizer_start_switch_fiber(me.status == Status::done ? nullptr : &me.sanitizer_stack, main_stack_,
                                   main_stack_bytes_);
#endif
    swapcontext(&me.context, &main_);
#if defined(CLIPCAP_ASAN)
    __sanitizer_finish_switch_fiber(me.sanitizer_stack, &main_stack_, &main_stack_bytes_);
#endif
  }

  [[nodiscard]] size_t current() const { return static_cast<size_t>(current_); }

  static thread_local Machine* running_;

  std::mutex mutex_;
  Schedule schedule_ = Schedule::forward;
  uint64_t random_ = 1;
  Statistics statistics_;

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<uint64_t> shared_;
  ReadySet ready_;
  ucontext_t main_{};
#if defined(CLIPCAP_ASAN)
  const void* main_stack_ = nullptr;
  size_t main_stack_bytes_ = 0;
#endif

  const char* kernel_ = "";
  const std::function<void()>* body_ = nullptr;
  Dim3 block_;
  int threads_ = 0;
  int current_ = 0;
  int at_barrier_ = 0;
  std::array<int, kThreadsLimit / kWarpSize> in_warp_operation_{};
  std::string problem_;
  std::exception_ptr exception_;
};

thread_local Machine* Machine::running_ = nullptr;

}  // namespace

void set_schedule(Schedule schedule, uint64_t seed) { Machine::instance().set_schedule(schedule, seed); }
void launch(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
            const std::function<void()>& body) {
  Machine::instance().launch(kernel, grid, block, shared_bytes, body);
}
const ThreadState& thread() { return Machine::running().thread(); }
void barrier(Place place) { Machine::running().barrier(place); }
uint64_t warp_exchange(WarpOperation operation, uint64_t bits, int argument, Place place) {
  return Machine::running().warp_exchange(operation, bits, argument, place);
}
Statistics statistics() { return Machine::instance().statistics(); }

}  // namespace clipcap::emulator
