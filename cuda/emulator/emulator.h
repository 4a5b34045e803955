// Runs CUDA kernels on the host: the kernel sources are compiled by the C++ compiler, every CUDA thread is a
// fiber (a stack of its own, switched by hand), and a block is a set of fibers that meet at barriers and in
// warp operations.
//
// What it finds, without a GPU: wrong results; barriers that not all threads of a block reach; shuffles that
// not all lanes reach; reads of shared memory nobody wrote (it starts as NaN); missing barriers, because the
// three schedules let the threads run in very different orders between two barriers and a right kernel's
// result may not depend on it. What it cannot find: slowness, bank conflicts, uncoalesced access, effects of
// real memory ordering.
//
// Blocks run one after another, in an order that the schedule decides as well.
// Launches from several host threads wait for each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace clipcap::emulator {

/// Which of the threads that can run goes next: the lowest index (so warp 0 runs up to its barrier before
/// warp 1 begins), the highest, or any.
enum class Schedule { forward, reverse, random };

/// For the launches that follow, from any thread.
void set_schedule(Schedule schedule, uint64_t seed = 1);

struct Dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
  constexpr Dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1)  // implicit, as CUDA's dim3
      : x(x_size), y(y_size), z(z_size) {}
};

/// Most bytes of shared memory that a block may ask for, the limit of every GPU without opting in to more.
inline constexpr size_t kSharedBytesLimit = 48 * 1024;
inline constexpr int kWarpSize = 32;
inline constexpr int kThreadsLimit = 1024;

/// Calls `body` once for every thread of every block. Throws Error, naming kernel, block and source line, on
/// divergent barriers or shuffles, on writes behind the shared memory, and on sizes that a GPU would refuse.
/// What the body throws comes out here.
void launch(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
            const std::function<void()>& body);

/// What a kernel sees. `thread()` fails outside of a launch.
struct ThreadState {
  Dim3 thread_index;
  Dim3 block_index;
  Dim3 block_size;
  Dim3 grid_size;
  std::byte* shared = nullptr;
};
[[nodiscard]] const ThreadState& thread();

/// A place in a kernel's source.
struct Place {
  const char* file = "";
  int line = 0;
  bool operator==(const Place& other) const { return line == other.line && file == other.file; }
};

/// __syncthreads: all threads of the block have to come to the same one.
void barrier(Place place);

enum class WarpOperation { sync, shuffle, shuffle_xor, shuffle_down, unsupported };

/// All 32 lanes meet, each with 64 bits and an argument (source lane, lane mask, distance); each leaves with
/// the bits of the lane that its argument names.
[[nodiscard]] uint64_t warp_exchange(WarpOperation operation, uint64_t bits, int argument, Place place);

/// Counts since the program began.
struct Statistics {
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t switches = 0;  // times that a fiber got to run
  uint64_t barriers = 0;  // per block, not per thread
  uint64_t warp_operations = 0;
};
[[nodiscard]] Statistics statistics();

}  // namespace clipcap::emulator
