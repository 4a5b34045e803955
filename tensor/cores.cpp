#include "tensor/cores.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace clipcap {
namespace {

int cores_of_affinity() {
  // The mask has to be as long as the kernel's, which is not known beforehand.
  for (size_t cores = 1024; cores <= (1U << 20U); cores *= 4) {
    cpu_set_t* mask = CPU_ALLOC(cores);
    if (mask == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(cores);
    CPU_ZERO_S(bytes, mask);
    const bool good = sched_getaffinity(0, bytes, mask) == 0;
    const bool short_mask = !good && errno == EINVAL;
    const int count = good ? CPU_COUNT_S(bytes, mask) : 0;
    CPU_FREE(mask);
    if (count > 0) return count;
    if (!short_mask) break;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The limit of the group `path` below `root` and of all that hold it; 0: none.
template <class Limit>
int least_limit(const std::string& root, std::string path, Limit limit) {
  int least = 0;
  for (int depth = 0; depth < 64; ++depth) {
    const int here = limit(root + path);
    if (here > 0) least = least == 0 ? here : std::min(least, here);
    if (path.empty() || path == "/") break;
    path.erase(path.find_last_of('/'));
  }
  return least;
}

int cores_of_groups() {
  int least = 0;
  const auto take = [&](int cores) {
    if (cores > 0) least = least == 0 ? cores : std::min(least, cores);
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b" or "4:cpu,cpuacct:/a/b"
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      take(least_limit("/sys/fs/cgroup", path, [](const std::string& group) {
        return detail::cores_of_quota(first_line(group + "/cpu.max").c_str());
      }));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      take(least_limit("/sys/fs/cgroup/cpu", path, [](const std::string& group) {
        const std::string quota = first_line(group + "/cpu.cfs_quota_us");
        const std::string period = first_line(group + "/cpu.cfs_period_us");
        return detail::cores_of_quota((quota + " " + period).c_str());
      }));
    }
  }
  return least;
}

}  // namespace

int detail::cores_of_quota(const char* text) {
  char* end = nullptr;
  const double quota = std::strtod(text, &end);
  if (end == text || *end != ' ') return 0;
  const double period = std::strtod(end, nullptr);
  if (!(quota > 0 && period > 0 && std::isfinite(quota / period))) return 0;
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, 1e6));
}

int available_cores() {
  const int affinity = cores_of_affinity();
  const int groups = cores_of_groups();
  return groups > 0 ? std::min(affinity, groups) : affinity;
}

}  // namespace clipcap
