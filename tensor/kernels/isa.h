// The fast CPU kernels in tensor/kernels/isa/*.cpp are compiled once per instruction set, each time in a
// namespace of its own (CLIPCAP_ISA, set by CMake); the choice is made at run time, so one binary serves
// every x86-64 with AVX2. Those files use raw pointers, tensor/kernels/simd.h and tensor/parallel.h only: a
// std:: template instantiated there could be merged by the linker with the copy that ordinary code calls, and
// then run AVX-512 code on a machine that has none (tests/tensor/isa_symbols.cmake looks for that).
#pragma once

namespace clipcap {

enum class Isa { generic, avx2, avx512 };

/// What a processor says about itself, as far as the kernels ask.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool bmi2 = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
};
[[nodiscard]] CpuFeatures this_cpu();

/// The best set for a processor; throws Error, saying what it lacks, when it has none that the kernels are
/// compiled for.
[[nodiscard]] Isa best_isa(const CpuFeatures& features);

/// The instruction set in use: the best that the machine has, or CLIPCAP_ISA=avx2 from the environment.
/// Throws Error on a machine that has none (best_isa).
[[nodiscard]] Isa active_isa();
/// For tests and benchmarks: uses `isa` from now on; throws Error if the machine lacks it.
void set_active_isa(Isa isa);
[[nodiscard]] const char* name_of(Isa isa);

}  // namespace clipcap

// CLIPCAP_ISA_KERNEL(layer_norm_fwd, LayerNormFwd<float>) declares the per-set functions and defines
// layer_norm_fwd_cpu(const LayerNormFwd<float>&), which calls the active one: it goes into an Op's CPU slot.
#if defined(CLIPCAP_X86)
#define CLIPCAP_ISA_KERNEL(name, ...)                                      \
  namespace isa_avx2 {                                                     \
  void name(const __VA_ARGS__& p);                                         \
  }                                                                        \
  namespace isa_avx512 {                                                   \
  void name(const __VA_ARGS__& p);                                         \
  }                                                                        \
  static void name##_cpu(const __VA_ARGS__& p) {                           \
    active_isa() == Isa::avx512 ? isa_avx512::name(p) : isa_avx2::name(p); \
  }
#else
#define CLIPCAP_ISA_KERNEL(name, ...) \
  namespace isa_generic {             \
  void name(const __VA_ARGS__& p);    \
  }                                   \
  static void name##_cpu(const __VA_ARGS__& p) { isa_generic::name(p); }
#endif
