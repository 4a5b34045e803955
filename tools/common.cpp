#include <charconv>
#include <cmath>

#include "clipcap/terminal/console.h"
#include "tensor/check.h"
#include "tensor/cores.h"
#include "tensor/device.h"
#include "tensor/parallel.h"
#include "tools/command.h"

namespace clipcap::tools {

void CommonOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  command.add_option("--dtype", dtype, "numbers to compute with; f32 is the only one so far")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  command.add_option("-t,--threads", threads, "CPU threads (default: all cores)")->check(CLI::Range(0, 4096));
}

void CommonOptions::apply() const {
  const int cores = available_cores();
  if (threads > cores) {
    log_warning("--threads ", threads, ": only ", cores, cores == 1 ? " core is" : " cores are",
                " available here; more threads than cores only wait for each other");
  }
  if (threads > 0) set_thread_count(threads);
  CHECK_INPUT(dtype == "f32", "--dtype ", dtype, ": models run in f32 only so far");
  if (device == "auto") return;
  CHECK_INPUT(parse_device(device).is_cpu(), "--device ", device,
              ": only LayerNorm and the distillation have CUDA kernels so far; models run with --device cpu");
}

CLI::Validator number_between(double least, double most) {
  return {[least, most](const std::string& text) {
            double value = std::nan("");
            const char* end = text.data() + text.size();
            const auto [at, error] = std::from_chars(text.data(), end, value);
            if (error == std::errc() && at == end && value >= least && value <= most) return std::string();
            return concat_text("\"", text, "\"; expected a number from ", least, " to ", most);
          },
          concat_text("FLOAT in [", least, ", ", most, "]")};
}

CLI::Validator whole_number_to(uint64_t most) {
  return {[most](const std::string& text) {
            uint64_t value = 0;
            const char* end = text.data() + text.size();
            const auto [at, error] = std::from_chars(text.data(), end, value);
            if (error == std::errc() && at == end && value <= most) return std::string();
            return concat_text("\"", text, "\"; expected a whole number from 0 to ", most);
          },
          ""};
}

}  // namespace clipcap::tools
