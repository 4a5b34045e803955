#include "tensor/kernels/isa.h"

#include <cstdlib>
#include <string_view>

#include "tensor/check.h"

namespace clipcap {
namespace {

Isa best_isa() {
#if defined(CLIPCAP_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0) {
    return Isa::avx512;
  }
  return Isa::avx2;
#else
  return Isa::generic;
#endif
}

Isa initial_isa() {
  const char* wish = std::getenv("CLIPCAP_ISA");
  if (wish != nullptr && std::string_view(wish) == "avx2" && best_isa() == Isa::avx512) return Isa::avx2;
  return best_isa();
}

Isa& current() {
  static Isa isa = initial_isa();
  return isa;
}

}  // namespace

Isa active_isa() { return current(); }

void set_active_isa(Isa isa) {
  const Isa best = best_isa();
  const bool possible = isa == best || (best == Isa::avx512 && isa == Isa::avx2);
  CHECK(possible, "set_active_isa: this machine has ", name_of(best), ", not ", name_of(isa));
  current() = isa;
}

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::generic:
      break;
  }
  return "generic";
}

}  // namespace clipcap
