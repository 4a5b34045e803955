// cuda/l1_distill.cu against the double reference: under the emulator always, on the GPU where there is one.
#include <optional>

#include "tensor/kernels/l1_distill.h"
#include "tests/compare.h"
#include "tests/cuda/cuda_kernels.h"

namespace clipcap::cuda_emulated {
void l1_distill_cuda(const L1Distill<float>& p);
}  // namespace clipcap::cuda_emulated

using namespace clipcap;           // NOLINT
using namespace clipcap::testing;  // NOLINT

namespace {

enum class Mask { none, some, nobody };

struct Case {
  int64_t batch;
  int64_t frames;
  int64_t dim;
  bool teacher_per_frame = false;
  Mask mask = Mask::some;
  bool gradient = true;
  [[nodiscard]] int64_t rows() const { return batch * frames; }
};

struct Inputs {
  std::vector<float> student, teacher;
  std::vector<uint8_t> valid;
  explicit Inputs(const Case& c)
      : student(random_values<float>(c.rows() * c.dim, 1)),
        teacher(random_values<float>((c.teacher_per_frame ? c.rows() : c.batch) * c.dim, 2, -0.1)),
        valid(static_cast<size_t>(c.rows())) {
    for (size_t i = 0; i < valid.size(); ++i) {
      valid[i] = c.mask == Mask::some && normal_at(3, 0, i) > -0.5F ? 1 : 0;
    }
    if (c.mask == Mask::some && !valid.empty()) valid[0] = 1;
    if (!student.empty()) student[0] = teacher[0];  // sign(0)
    if (c.mask == Mask::none) return;
    for (size_t i = 0; i < student.size(); ++i) {  // padding holds anything
      if (valid[i / static_cast<size_t>(c.dim)] == 0) student[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
};

template <class T>
struct Result {
  std::vector<T> loss, dstudent;
};

template <class T>
Result<T> reference_result(const Case& c, const Inputs& in) {
  const auto student = converted<T>(in.student);
  const auto teacher = converted<T>(in.teacher);
  Result<T> out{std::vector<T>(1), std::vector<T>(student.size())};
  reference::l1_distill<T>({.student = student.data(),
                            .teacher = teacher.data(),
                            .valid = c.mask == Mask::none ? nullptr : in.valid.data(),
                            .loss = out.loss.data(),
                            .dstudent = out.dstudent.data(),
                            .batch = c.batch,
                            .frames = c.frames,
                            .dim = c.dim,
                            .teacher_row_stride = c.teacher_per_frame ? c.dim : 0});
  return out;
}

Result<float> run(const KernelTarget& target, const Case& c, const Inputs& in) {
  const KernelArray<float> student(target, in.student);
  const KernelArray<float> teacher(target, in.teacher);
  const auto valid = c.mask == Mask::none ? KernelArray<uint8_t>() : KernelArray<uint8_t>(target, in.valid);
  const auto loss = KernelArray<float>::output(target, 1);
  const auto dstudent =
      c.gradient ? KernelArray<float>::output(target, c.rows() * c.dim) : KernelArray<float>();
  run_kernel(target, l1_distill, cuda_emulated::l1_distill_cuda,
             {student.data(), teacher.data(), valid.data(), loss.data(), dstudent.data(), c.batch, c.frames,
              c.dim, c.teacher_per_frame ? c.dim : 0});
  return {loss.read(), c.gradient ? dstudent.read() : std::vector<float>()};
}

void check_case(const Case& c) {
  const Inputs in(c);
  const auto oracle = reference_result<double>(c, in);
  const auto plain = reference_result<float>(c, in);
  std::optional<Result<float>> first;
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name << ": batch " << c.batch << ", frames " << c.frames << ", dim " << c.dim
                     << ", per frame " << c.teacher_per_frame << ", mask " << static_cast<int>(c.mask));
    const auto out = run(target, c, in);
    check_against_oracle(out.loss, plain.loss, oracle.loss);
    if (c.gradient) check_against_oracle(out.dstudent, plain.dstudent, oracle.dstudent);
    const auto again = run(target, c, in);  // also: the ticket counter was left at 0
    CHECK(same_bits(again.loss, out.loss));
    CHECK(same_bits(again.dstudent, out.dstudent));
    if (!target.device.is_cpu()) continue;
    if (!first) first = out;
    CHECK(same_bits(out.loss, first->loss));
    CHECK(same_bits(out.dstudent, first->dstudent));
  }
}

}  // namespace

TEST_CASE("cuda l1_distill: two frames worked by hand", "[cuda_l1_distill]") {
  // |1-2| + |5-2| on the first frame, the second is padding: loss (1 + 3) / 2, gradient sign / 2.
  const std::vector<float> student{1.0F, 5.0F, 7.0F, 8.0F};
  const std::vector<float> teacher{2.0F, 2.0F};
  const std::vector<uint8_t> valid{1, 0};
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name);
    const KernelArray<float> student_in(target, student);
    const KernelArray<float> teacher_in(target, teacher);
    const KernelArray<uint8_t> valid_in(target, valid);
    const auto loss = KernelArray<float>::output(target, 1);
    const auto dstudent = KernelArray<float>::output(target, 4);
    run_kernel(
        target, l1_distill, cuda_emulated::l1_distill_cuda,
        {student_in.data(), teacher_in.data(), valid_in.data(), loss.data(), dstudent.data(), 1, 2, 2, 0});
    CHECK(loss.read() == std::vector<float>{2.0F});
    CHECK(dstudent.read() == std::vector<float>{-0.5F, 0.5F, 0.0F, 0.0F});
  }
}

TEST_CASE("cuda l1_distill: against the oracle", "[cuda_l1_distill]") {
  for (const int64_t dim : {1, 31, 32, 33, 127, 256, 257, 768, 1030}) {
    for (const bool teacher_per_frame : {false, true}) {
      check_case({3, 7, dim, teacher_per_frame, Mask::some});
    }
    check_case({1, 1, dim, false, Mask::none});
    check_case({2, 3, dim, false, Mask::nobody});
    check_case({2, 3, dim, true, Mask::some, false});
  }
  check_case({2, 33, 64, false, Mask::some});
  check_case({33, 1, 64, true, Mask::none});
}

TEST_CASE("cuda l1_distill: more rows than the grid has warps", "[cuda_l1_distill]") {
  // 2048 warps; a warp's second row is in another video, at another frame.
  const Case c{300, 7, 3, false, Mask::some};
  const Inputs in(c);
  const auto oracle = reference_result<double>(c, in);
  const auto plain = reference_result<float>(c, in);
  const KernelTarget target = kernel_targets()[1];  // reverse: the slowest block is the first
  const auto out = run(target, c, in);
  check_against_oracle(out.loss, plain.loss, oracle.loss);
  check_against_oracle(out.dstudent, plain.dstudent, oracle.dstudent);
}

TEST_CASE("cuda l1_distill: nothing to do", "[cuda_l1_distill]") {
  for (const Case& c : {Case{0, 4, 8}, Case{2, 0, 8}, Case{2, 4, 0, false, Mask::none}}) {
    const Inputs in(c);
    for (const KernelTarget& target : kernel_targets()) {
      INFO(target.name);
      CHECK(run(target, c, in).loss == std::vector<float>{0.0F});
    }
  }
}

TEST_CASE("cuda l1_distill: a teacher stride that is neither 0 nor D", "[cuda_l1_distill]") {
  const std::vector<float> values(8, 1.0F);
  std::vector<float> loss(1);
  CHECK_THROWS_AS(cuda_emulated::l1_distill_cuda(
                      {values.data(), values.data(), nullptr, loss.data(), nullptr, 2, 2, 2, 1}),
                  Error);
}

TEST_CASE("cuda l1_distill: on the GPU", "[cuda_l1_distill][needs_gpu]") {
  if (cuda_device_count() == 0) SKIP_TEST("no CUDA device: " << cuda_unavailable_reason());
  CHECK(l1_distill.has(DeviceType::cuda, DType::f32));
  for (const Case& c : {Case{64, 77, 512}, Case{64, 32, 512, true}}) {
    const Inputs in(c);
    const auto out = run(kernel_targets().back(), c, in);
    check_against_oracle(out.loss, reference_result<float>(c, in).loss, reference_result<double>(c, in).loss);
    check_against_oracle(out.dstudent, reference_result<float>(c, in).dstudent,
                         reference_result<double>(c, in).dstudent);
  }
}
