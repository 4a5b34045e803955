#include "tensor/kernels/isa.h"

#include <string>

#include "tensor/check.h"
#include "tests/catch.h"

using namespace clipcap;

namespace {

constexpr CpuFeatures kHaswell{.avx2 = true, .fma = true, .bmi2 = true};

CpuFeatures with_avx512(bool f, bool bw, bool dq, bool vl) {
  CpuFeatures features = kHaswell;
  features.avx512f = f;
  features.avx512bw = bw;
  features.avx512dq = dq;
  features.avx512vl = vl;
  return features;
}

std::string refusal(const CpuFeatures& features) {
  try {
    static_cast<void>(best_isa(features));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("isa: the best set that a processor has whole", "[isa]") {
  CHECK(best_isa(kHaswell) == Isa::avx2);
  CHECK(best_isa(with_avx512(true, true, true, true)) == Isa::avx512);
  CHECK(best_isa(with_avx512(false, true, true, true)) == Isa::avx2);
  CHECK(best_isa(with_avx512(true, false, true, true)) == Isa::avx2);
  CHECK(best_isa(with_avx512(true, true, false, true)) == Isa::avx2);
  CHECK(best_isa(with_avx512(true, true, true, false)) == Isa::avx2);
}

TEST_CASE("isa: a processor without AVX2 is told so, not stopped by an illegal instruction", "[isa]") {
  const std::string old = refusal({});
  INFO(old);
  CHECK(old ==
        "this program needs a processor with AVX2, FMA and BMI2 (Intel since 2013, AMD since 2015); "
        "this one has no AVX2, no FMA, no BMI2");
  CpuFeatures features = with_avx512(true, true, true, true);
  features.fma = false;
  CHECK(refusal(features).ends_with("this one has no FMA"));
  features = with_avx512(true, true, true, true);
  features.bmi2 = false;
  CHECK(refusal(features).ends_with("this one has no BMI2"));
  CHECK(refusal(kHaswell).empty());
}

TEST_CASE("isa: only what this machine has can be chosen", "[isa]") {
  const Isa before = active_isa();
  CHECK(best_isa(this_cpu()) != Isa::generic);
  CHECK_THROWS_AS(set_active_isa(Isa::generic), Error);
  set_active_isa(Isa::avx2);
  CHECK(active_isa() == Isa::avx2);
  CHECK(std::string(name_of(active_isa())) == "avx2");
  set_active_isa(before);
}
