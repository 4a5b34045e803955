#include <cstdlib>
#include <map>
#include <string>

#include "tensor/check.h"
#include "tensor/size_class.h"
#include "tensor/storage.h"
#include "tests/catch.h"

using namespace clipcap;

namespace {

constexpr size_t kMegabyte = 1 << 20;

// A machine that has only so many bytes, and counts how often it is asked.
struct Machine {
  size_t left = 0;
  int requests = 0;
  std::map<void*, size_t> blocks;
};
Machine machine;

void* take(size_t alignment, size_t bytes) {
  ++machine.requests;
  if (bytes > machine.left) return nullptr;
  machine.left -= bytes;
  void* block = std::aligned_alloc(alignment, bytes);
  machine.blocks[block] = bytes;
  return block;
}

void give(void* block) {
  machine.left += machine.blocks.at(block);
  machine.blocks.erase(block);
  std::free(block);
}

struct SmallMachine {
  explicit SmallMachine(size_t bytes) {
    release_cached_host_memory();
    machine = {bytes, 0, {}};
    set_host_system({take, give});
  }
  ~SmallMachine() {
    release_cached_host_memory();
    set_host_system({});
  }
};

std::string refusal(size_t bytes) {
  try {
    const Storage storage(bytes, kCpu);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("host memory: blocks of a size class are used again", "[host_memory]") {
  const SmallMachine small(10 * kMegabyte);
  const MemoryStatistics before = host_memory_statistics();
  for (int i = 0; i < 3; ++i) const Storage block(kMegabyte - static_cast<size_t>(i), kCpu);
  CHECK(machine.requests == 1);
  const MemoryStatistics after = host_memory_statistics();
  CHECK(after.system_allocations == before.system_allocations + 1);
  CHECK(after.bytes_cached == kMegabyte);
  CHECK(after.bytes_in_use == before.bytes_in_use);
  release_cached_host_memory();
  CHECK(host_memory_statistics().bytes_cached == 0);
  CHECK(machine.blocks.empty());
}

TEST_CASE("host memory: the cache is given back before a request is refused", "[host_memory]") {
  const SmallMachine small(4 * kMegabyte);
  { const Storage one(kMegabyte, kCpu), two(2 * kMegabyte, kCpu); }
  CHECK(host_memory_statistics().bytes_cached == 3 * kMegabyte);
  const Storage large(4 * kMegabyte, kCpu);  // 1 MB is free and 3 MB are cached: only all of them will do
  CHECK(large.data() != nullptr);
  CHECK(host_memory_statistics().bytes_cached == 0);
}

TEST_CASE("host memory: a refused request leaves the statistics as they were", "[host_memory]") {
  const SmallMachine small(kMegabyte);
  const Storage kept(kMegabyte / 2, kCpu);
  const MemoryStatistics before = host_memory_statistics();
  const size_t huge = before.peak_bytes + 8 * kMegabyte;
  CHECK(refusal(huge) ==
        concat_text("out of memory: ", huge, " bytes asked, ", before.bytes_in_use, " in use"));
  const MemoryStatistics after = host_memory_statistics();
  CHECK(after.bytes_in_use == before.bytes_in_use);
  CHECK(after.peak_bytes == before.peak_bytes);
  CHECK(after.system_allocations == before.system_allocations);
  const Storage more(kMegabyte / 4, kCpu);  // and the allocator still works
  CHECK(host_memory_statistics().bytes_in_use == before.bytes_in_use + static_cast<int64_t>(kMegabyte / 4));
}

TEST_CASE("host memory: size classes lose at most an eighth and are their own class", "[host_memory]") {
  for (size_t bytes = 1; bytes < 1 << 16; ++bytes) {
    const size_t rounded = size_class(bytes);
    REQUIRE(rounded >= bytes);
    REQUIRE(rounded % 256 == 0);
    REQUIRE(size_class(rounded) == rounded);
    if (bytes > 2048) REQUIRE((rounded - bytes) * 8 <= bytes);
    REQUIRE((bytes == 1 || size_class(bytes - 1) <= rounded));
  }
  CHECK(size_class(1) == 256);
  CHECK(size_class(257) == 512);
  CHECK(size_class(2049) == 2304);
  CHECK(size_class((1 << 20) + 1) == (1 << 20) + (1 << 17));
}
