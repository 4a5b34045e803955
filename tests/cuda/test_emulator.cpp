// The emulator itself: that right kernels run as on a GPU, and above all that wrong ones are found.
#include "cuda/emulator/emulator.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

#define CLIPCAP_CUDA_NAMESPACE cuda_emulated
#include "cuda/emulator/runtime.h"
//
#include "cuda/check.cuh"
#include "cuda/context.h"
#include "tensor/kernels/l1_distill.h"
#include "tensor/kernels/layer_norm.h"
#include "tests/compare.h"
#include "tests/cuda/cuda_kernels.h"

namespace clipcap {
namespace cuda_emulated {
void layer_norm_fwd_cuda(const LayerNormFwd<float>& p);
void layer_norm_bwd_cuda(const LayerNormBwd<float>& p);
void l1_distill_cuda(const L1Distill<float>& p);
}  // namespace cuda_emulated
namespace cuda_planted_1 {
void layer_norm_fwd_cuda(const LayerNormFwd<float>& p);
void layer_norm_bwd_cuda(const LayerNormBwd<float>& p);
void l1_distill_cuda(const L1Distill<float>& p);
}  // namespace cuda_planted_1
namespace cuda_planted_2 {
void layer_norm_fwd_cuda(const LayerNormFwd<float>& p);
void layer_norm_bwd_cuda(const LayerNormBwd<float>& p);
void l1_distill_cuda(const L1Distill<float>& p);
}  // namespace cuda_planted_2
}  // namespace clipcap

using namespace clipcap;           // NOLINT
using namespace clipcap::testing;  // NOLINT
using emulator::Schedule;

namespace {

constexpr std::array<Schedule, 3> kSchedules{Schedule::forward, Schedule::reverse, Schedule::random};
constexpr unsigned kFull = 0xFFFFFFFFU;

// The message of the Error that `run` throws; empty if it throws none.
std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

unsigned block_rank() { return blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z); }
unsigned thread_rank() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

}  // namespace

TEST_CASE("emulator: every thread of every block runs once, with its own indices", "[emulator]") {
  for (const Schedule schedule : kSchedules) {
    emulator::set_schedule(schedule, 3);
    std::vector<int> calls(2 * 3 * 2 * 5 * 7 * 2, 0);
    emulator::launch("indices", {2, 3, 2}, {5, 7, 2}, 0, [&] { ++calls[block_rank() * 70 + thread_rank()]; });
    CHECK(calls == std::vector<int>(calls.size(), 1));
  }
  emulator::set_schedule(Schedule::forward);
}

TEST_CASE("emulator: shuffles have the meaning of the hardware's", "[emulator]") {
  for (const Schedule schedule : kSchedules) {
    emulator::set_schedule(schedule, 5);
    std::vector<int> from_three(64);
    std::vector<float> exchanged(64);
    std::vector<double> down(64);
    emulator::launch("shuffles", 1, 64, 0, [&] {
      const unsigned t = threadIdx.x;
      from_three[t] = __shfl_sync(kFull, static_cast<int>(t), 3);
      exchanged[t] = __shfl_xor_sync(kFull, static_cast<float>(t) + 0.5F, 5);
      down[t] = __shfl_down_sync(kFull, static_cast<double>(t), 4);
      __syncwarp();
    });
    for (unsigned t = 0; t < 64; ++t) {
      INFO("thread " << t);
      CHECK(from_three[t] == static_cast<int>(t / 32 * 32 + 3));
      CHECK(exchanged[t] == static_cast<float>(t ^ 5U) + 0.5F);
      CHECK(down[t] == (t % 32 + 4 < 32 ? t + 4 : t));  // beyond the warp: its own value
    }
  }
  emulator::set_schedule(Schedule::forward);
}

TEST_CASE("emulator: a tree sum in shared memory is right with its barriers, and seen to be wrong without",
          "[emulator]") {
  const auto tree_sum = [](bool with_barrier) {
    float result = 0;
    emulator::launch("tree_sum", 1, 128, 128 * sizeof(float), [&] {
      auto* shared = reinterpret_cast<float*>(emulator::thread().shared);
      const unsigned t = threadIdx.x;
      shared[t] = static_cast<float>(t + 1);
      __syncthreads();
      for (unsigned half = 64; half > 0; half /= 2) {
        if (t < half) shared[t] += shared[t + half];
        if (with_barrier) __syncthreads();
      }
      if (t == 0) result = shared[0];
    });
    return result;
  };
  int wrong = 0;
  for (const Schedule schedule : kSchedules) {
    emulator::set_schedule(schedule, 11);
    CHECK(tree_sum(true) == 128 * 129 / 2);
    if (tree_sum(false) != 128 * 129 / 2) ++wrong;
  }
  CHECK(wrong > 0);
  emulator::set_schedule(Schedule::forward);
}

TEST_CASE("emulator: shared memory begins as NaN in every block", "[emulator]") {
  int numbers = 0;
  emulator::launch("uninitialised", 3, 32, 32 * sizeof(float), [&] {
    auto* shared = reinterpret_cast<float*>(emulator::thread().shared);
    if (!std::isnan(shared[threadIdx.x])) ++numbers;
    shared[threadIdx.x] = 1.0F;
  });
  CHECK(numbers == 0);
}

TEST_CASE("emulator: divergence is an error that names kernel, block and line", "[emulator]") {
  for (const Schedule schedule : kSchedules) {
    emulator::set_schedule(schedule, 13);
    const std::string left = error_of([] {
      emulator::launch("leaves_early", 2, 64, 0, [] {
        if (blockIdx.x == 1 && threadIdx.x == 40) return;
        __syncthreads();
      });
    });
    INFO(left);
    CHECK(contains(left, "kernel leaves_early, block (1,0,0)"));
    CHECK(contains(left, "63 in __syncthreads at test_emulator.cpp:"));
    CHECK(contains(left, "1 at the kernel's end"));

    const std::string two = error_of([] {
      emulator::launch("two_barriers", 1, 64, 0, [] {
        if (threadIdx.x < 32) {
          __syncthreads();
        } else {
          __syncthreads();
        }
      });
    });
    CHECK(contains(two, "kernel two_barriers, block (0,0,0): threads wait at different barriers"));

    const std::string lanes = error_of([] {
      emulator::launch("some_lanes", 1, 32, 0, [] {
        if (threadIdx.x < 16) static_cast<void>(__shfl_xor_sync(kFull, 1, 1));
      });
    });
    CHECK(contains(lanes, "16 in a warp operation at test_emulator.cpp:"));

    const std::string mixed = error_of([] {
      emulator::launch("mixed", 1, 32, 0, [] {
        if (threadIdx.x < 16) {
          static_cast<void>(__shfl_xor_sync(kFull, 1, 1));
        } else {
          __syncwarp();
        }
      });
    });
    CHECK(contains(mixed, "lanes of one warp are in different warp operations"));
  }
  emulator::set_schedule(Schedule::forward);
  // And the machine is fit for use afterwards.
  int threads = 0;
  emulator::launch("afterwards", 2, 64, 0, [&] {
    __syncthreads();
    ++threads;
  });
  CHECK(threads == 128);
}

TEST_CASE("emulator: what a GPU would refuse is refused", "[emulator]") {
  const auto nothing = [] {};
  CHECK_THROWS_AS(emulator::launch("k", 0, 32, 0, nothing), Error);
  CHECK_THROWS_AS(emulator::launch("k", 1, 1025, 0, nothing), Error);
  CHECK_THROWS_AS(emulator::launch("k", 1, 0, 0, nothing), Error);
  CHECK_THROWS_AS(emulator::launch("k", {1, 65536}, 32, 0, nothing), Error);
  CHECK_THROWS_AS(emulator::launch("k", 1, 32, 48 * 1024 + 1, nothing), Error);
  CHECK_THROWS_AS(emulator::launch("outer", 1, 1, 0, [&] { emulator::launch("inner", 1, 1, 0, nothing); }),
                  Error);
  CHECK_THROWS_AS(emulator::thread(), Error);
  CHECK_THROWS_AS(emulator::launch("throws", 1, 32, 0, [] { fail("from a thread"); }), Error);
  CHECK(contains(error_of([] {
                   emulator::launch("half_warp", 1, 16, 0,
                                    [] { static_cast<void>(__shfl_xor_sync(kFull, 1, 1)); });
                 }),
                 "a warp of fewer than 32 threads"));
  CHECK(contains(error_of([] {
                   emulator::launch("masked", 1, 32, 0, [] { static_cast<void>(__shfl_xor_sync(1U, 1, 1)); });
                 }),
                 "less than the full mask"));
  CHECK(contains(error_of([] {
                   emulator::launch("overrun", 1, 32, 128, [] {
                     if (threadIdx.x == 31) emulator::thread().shared[128] = std::byte{0};
                   });
                 }),
                 "kernel overrun, block (0,0,0): wrote behind its shared memory of 128 bytes, at byte 128"));
}

TEST_CASE("emulator: atomics", "[emulator]") {
  for (const Schedule schedule : kSchedules) {
    emulator::set_schedule(schedule, 17);
    unsigned sum = 0;
    unsigned wrapped = 0;
    emulator::launch("atomics", 3, 32, 0, [&] {
      emulator::atomicAdd(&sum, 2);
      emulator::atomicInc(&wrapped, 3 * 32 - 1);
    });
    CHECK(sum == 192);
    CHECK(wrapped == 0);
  }
  emulator::set_schedule(Schedule::forward);
}

// The planted kernels are layer_norm.cu and l1_distill.cu compiled with one barrier of block_sum taken out: 1
// the one before the warps' sums are written, 2 the one before they are read.
TEST_CASE("emulator: a missing barrier in a real kernel is caught", "[emulator]") {
  const int64_t rows = 2;
  const int64_t dim = 1100;  // one block a row: block_sum is in use
  const auto x = random_values<float>(rows * dim, 1, 3.0);
  const auto gamma = random_values<float>(dim, 2);
  const auto beta = random_values<float>(dim, 3);

  const auto forward = [&](void (*kernel)(const LayerNormFwd<float>&)) {
    std::vector<float> y(x.size());
    kernel({x.data(), nullptr, gamma.data(), beta.data(), nullptr, y.data(), nullptr, nullptr, rows, dim,
            1e-5F});
    return y;
  };
  const auto backward = [&](void (*kernel)(const LayerNormBwd<float>&)) {
    const std::vector<float> mean(rows, 3.0F);
    const std::vector<float> rstd(rows, 1.0F);
    std::vector<float> ds(x.size());
    std::vector<float> dgamma(gamma.size());
    std::vector<float> dbeta(gamma.size());
    kernel({x.data(), x.data(), gamma.data(), mean.data(), rstd.data(), nullptr, ds.data(), dgamma.data(),
            dbeta.data(), rows, dim});
    return ds;
  };
  const auto distill = [&](void (*kernel)(const L1Distill<float>&)) {
    const std::vector<uint8_t> valid(6, 1);
    std::vector<float> loss(1);
    kernel({x.data(), gamma.data(), valid.data(), loss.data(), nullptr, 1, 6, 128, 0});
    return loss;
  };
  // How many of the three schedules give something else than the right kernel does.
  const auto differing = [](const auto& run, auto right, auto planted) {
    int count = 0;
    for (const Schedule schedule : kSchedules) {
      emulator::set_schedule(schedule, 19);
      const auto expected = run(right);
      if (!same_bits(run(planted), expected)) ++count;
    }
    emulator::set_schedule(Schedule::forward);
    return count;
  };
  CHECK(differing(forward, cuda_emulated::layer_norm_fwd_cuda, cuda_emulated::layer_norm_fwd_cuda) == 0);
  CHECK(differing(forward, cuda_emulated::layer_norm_fwd_cuda, cuda_planted_1::layer_norm_fwd_cuda) > 0);
  CHECK(differing(forward, cuda_emulated::layer_norm_fwd_cuda, cuda_planted_2::layer_norm_fwd_cuda) > 0);
  CHECK(differing(backward, cuda_emulated::layer_norm_bwd_cuda, cuda_planted_1::layer_norm_bwd_cuda) > 0);
  CHECK(differing(backward, cuda_emulated::layer_norm_bwd_cuda, cuda_planted_2::layer_norm_bwd_cuda) > 0);
  CHECK(differing(distill, cuda_emulated::l1_distill_cuda, cuda_emulated::l1_distill_cuda) == 0);
  CHECK(differing(distill, cuda_emulated::l1_distill_cuda, cuda_planted_1::l1_distill_cuda) > 0);
  CHECK(differing(distill, cuda_emulated::l1_distill_cuda, cuda_planted_2::l1_distill_cuda) > 0);
}

TEST_CASE("emulator: the device's caching allocator", "[emulator]") {
  using namespace cuda_emulated;  // NOLINT
  release_cached_memory(0);
  const AllocatorStatistics before = allocator_statistics(0);
  void* a = allocate(5000, 0);
  CHECK(reinterpret_cast<uintptr_t>(a) % 256 == 0);
  CHECK(allocator_statistics(0).system_allocations == before.system_allocations + 1);
  CHECK(allocator_statistics(0).bytes_in_use == before.bytes_in_use + 5120);
  release(a, 5000, 0);
  CHECK(allocator_statistics(0).bytes_in_use == before.bytes_in_use);
  CHECK(allocator_statistics(0).bytes_cached == 5120);
  void* b = allocate(5100, 0);  // the same class: the same block
  CHECK(b == a);
  CHECK(allocator_statistics(0).system_allocations == before.system_allocations + 1);
  CHECK(allocator_statistics(0).bytes_cached == 0);
  CHECK(static_cast<unsigned char*>(b)[17] == 0xFF);  // poisoned again
  release(b, 5100, 0);

  // A full device first gives its cache back, then says what was asked.
  emulator::set_memory_limit(0);  // not below what is in use and cached
  void* c = allocate(4096, 0);    // another class, which fits into what the cache held
  release(c, 4096, 0);
  const std::string message = error_of([] { static_cast<void>(allocate(size_t{1} << 30, 0)); });
  emulator::set_memory_limit(size_t{4} << 30);
  INFO(message);
  CHECK(contains(message, "cuda:0: out of memory: 1073741824 bytes asked"));
  CHECK(allocator_statistics(0).bytes_in_use == before.bytes_in_use);
  CHECK_THROWS_AS(allocate(16, 1), Error);
}
