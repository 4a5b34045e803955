#include "tensor/kernels/isa.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "tensor/check.h"

namespace clipcap {
CpuFeatures this_cpu() {
  CpuFeatures features;
#if defined(CLIPCAP_X86)
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") != 0;
  features.fma = __builtin_cpu_supports("fma") != 0;
  features.bmi2 = __builtin_cpu_supports("bmi2") != 0;
  features.avx512f = __builtin_cpu_supports("avx512f") != 0;
  features.avx512bw = __builtin_cpu_supports("avx512bw") != 0;
  features.avx512dq = __builtin_cpu_supports("avx512dq") != 0;
  features.avx512vl = __builtin_cpu_supports("avx512vl") != 0;
#endif
  return features;
}

Isa best_isa(const CpuFeatures& features) {
#if defined(CLIPCAP_X86)
  std::string lacking;
  const auto need = [&](bool there, const char* name) {
    if (!there) lacking += concat_text(lacking.empty() ? "" : ", ", "no ", name);
  };
  need(features.avx2, "AVX2");
  need(features.fma, "FMA");
  need(features.bmi2, "BMI2");
  CHECK(lacking.empty(),
        "this program needs a processor with AVX2, FMA and BMI2 (Intel since 2013, AMD since 2015); ",
        "this one has ", lacking);
  const bool avx512 = features.avx512f && features.avx512bw && features.avx512dq && features.avx512vl;
  return avx512 ? Isa::avx512 : Isa::avx2;
#else
  static_cast<void>(features);
  return Isa::generic;
#endif
}

namespace {

Isa initial_isa() {
  const char* wish = std::getenv("CLIPCAP_ISA");
  if (wish != nullptr && std::string_view(wish) == "avx2" && best_isa(this_cpu()) == Isa::avx512)
    return Isa::avx2;
  return best_isa(this_cpu());
}

Isa& current() {
  static Isa isa = initial_isa();
  return isa;
}

}  // namespace

Isa active_isa() { return current(); }

void set_active_isa(Isa isa) {
  const Isa best = best_isa(this_cpu());
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
