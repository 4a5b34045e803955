#include "tensor/check.h"
#include "tensor/device.h"
#include "tensor/parallel.h"
#include "tools/command.h"

namespace clipcap::tools {

void CommonOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command.add_option("--threads", threads, "CPU threads (default: all cores)")->check(CLI::Range(0, 4096));
}

void CommonOptions::apply() const {
  if (threads > 0) set_thread_count(threads);
  if (device == "auto") return;
  CHECK_INPUT(parse_device(device).is_cpu(), "--device ", device,
              ": only LayerNorm and the distillation have CUDA kernels so far; models run with --device cpu");
}

}  // namespace clipcap::tools
