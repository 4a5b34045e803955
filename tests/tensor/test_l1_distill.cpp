#include "tensor/kernels/l1_distill.h"

#include "tests/compare.h"
#include "tests/tensor/on_every_isa.h"

using namespace clipcap;
using namespace clipcap::testing;

namespace {

template <class T>
struct Case {
  int64_t batch, frames, dim;
  bool per_frame;
  std::vector<uint8_t> valid;
  std::vector<T> student, teacher, dstudent;
  std::vector<T> loss{T{-1}};

  Case(int64_t b, int64_t n, int64_t d, bool teacher_per_frame, std::vector<uint8_t> mask)
      : batch(b),
        frames(n),
        dim(d),
        per_frame(teacher_per_frame),
        valid(std::move(mask)),
        student(random_values<T>(b * n * d, 1)),
        teacher(random_values<T>(b * (teacher_per_frame ? n : 1) * d, 2)),
        dstudent(student.size(), T{77}) {}

  L1Distill<T> params() {
    return {.student = student.data(),
            .teacher = teacher.data(),
            .valid = valid.empty() ? nullptr : valid.data(),
            .loss = loss.data(),
            .dstudent = dstudent.data(),
            .batch = batch,
            .frames = frames,
            .dim = dim,
            .teacher_row_stride = per_frame ? dim : 0};
  }
};

std::vector<uint8_t> mask(int64_t count) {
  std::vector<uint8_t> valid(static_cast<size_t>(count));
  for (size_t i = 0; i < valid.size(); ++i) valid[i] = i % 3 == 1 ? 0 : 1;
  return valid;
}

}  // namespace

TEST_CASE("l1_distill: by hand", "[l1_distill]") {
  on_every_isa([] {
    const std::vector<float> student{1, 2, 3, 4, 100, 100};  // two real frames and one that is not
    const std::vector<float> teacher{2, 2};
    const std::vector<uint8_t> valid{1, 1, 0};
    float loss = -1;
    std::vector<float> grad(6, 77.0F);
    l1_distill(kCpu, {.student = student.data(),
                      .teacher = teacher.data(),
                      .valid = valid.data(),
                      .loss = &loss,
                      .dstudent = grad.data(),
                      .batch = 1,
                      .frames = 3,
                      .dim = 2,
                      .teacher_row_stride = 0});
    CHECK(loss == 1.0F);  // (1 + 0 + 1 + 2) / 4
    CHECK(grad == std::vector<float>{-0.25F, 0, 0.25F, 0.25F, 0, 0});
  });
}

TEST_CASE("l1_distill: gradient against central differences", "[l1_distill]") {
  for (const bool per_frame : {false, true}) {
    Case<double> base(2, 3, 5, per_frame, mask(6));
    reference::l1_distill(base.params());
    for (size_t i = 0; i < base.student.size(); ++i) {
      Case<double> up = base;
      Case<double> down = base;
      up.student[i] += 1e-5;
      down.student[i] -= 1e-5;
      reference::l1_distill(up.params());
      reference::l1_distill(down.params());
      CHECK(base.dstudent[i] == Approx((up.loss[0] - down.loss[0]) / 2e-5).margin(1e-6));
    }
  }
}

TEST_CASE("l1_distill: against the double oracle", "[l1_distill]") {
  on_every_isa([] {
    for (const int64_t dim : {0, 1, 31, 32, 33, 127, 257, 512}) {
      for (const int64_t frames : {0, 1, 12}) {
        for (const bool per_frame : {false, true}) {
          for (const bool masked : {false, true}) {
            INFO("dim " << dim << " frames " << frames << " per frame " << per_frame << " masked " << masked);
            const auto valid = masked ? mask(3 * frames) : std::vector<uint8_t>{};
            Case<float> got(3, frames, dim, per_frame, valid);
            Case<float> plain(3, frames, dim, per_frame, valid);
            Case<double> oracle(3, frames, dim, per_frame, valid);
            l1_distill(kCpu, got.params());
            reference::l1_distill(plain.params());
            reference::l1_distill(oracle.params());
            check_against_oracle(got.loss, plain.loss, oracle.loss);
            check_against_oracle(got.dstudent, plain.dstudent, oracle.dstudent);
            Case<float> again(3, frames, dim, per_frame, valid);
            l1_distill(kCpu, again.params());
            CHECK(again.loss == got.loss);
            CHECK(again.dstudent == got.dstudent);
            L1Distill<float> loss_only = again.params();
            loss_only.dstudent = nullptr;
            again.loss[0] = -1;
            l1_distill(kCpu, loss_only);
            CHECK(again.loss == got.loss);
          }
        }
      }
    }
  });
}

TEST_CASE("l1_distill: divided by the denominator that is given", "[l1_distill]") {
  const auto check = [](void (*kernel)(const L1Distill<float>&)) {
    Case<float> own(2, 3, 21, true, mask(6));  // four frames are there
    Case<float> given = own;
    kernel(own.params());
    L1Distill<float> p = given.params();
    p.denominator = 10;
    kernel(p);
    CHECK(given.loss[0] == Approx(own.loss[0] * 4 / 10).epsilon(1e-6));
    for (size_t i = 0; i < own.dstudent.size(); ++i) {
      CHECK(given.dstudent[i] == Approx(own.dstudent[i] * 4 / 10).epsilon(1e-6));
    }
  };
  check(reference::l1_distill<float>);
  on_every_isa([&] { check([](const L1Distill<float>& p) { l1_distill(kCpu, p); }); });
}

TEST_CASE("l1_distill: frames that are not there do not count", "[l1_distill]") {
  on_every_isa([] {
    Case<float> padded(2, 4, 33, false, {1, 1, 0, 0, 1, 0, 0, 0});
    l1_distill(kCpu, padded.params());
    Case<float> changed = padded;
    for (size_t i = 2 * 33; i < 4 * 33; ++i) changed.student[i] = std::numeric_limits<float>::quiet_NaN();
    l1_distill(kCpu, changed.params());
    CHECK(changed.loss == padded.loss);
    CHECK(changed.dstudent == padded.dstudent);

    Case<float> none(2, 2, 33, true, {0, 0, 0, 0});
    l1_distill(kCpu, none.params());
    CHECK(none.loss[0] == 0.0F);
    CHECK(none.dstudent == std::vector<float>(none.student.size(), 0.0F));
  });
}
