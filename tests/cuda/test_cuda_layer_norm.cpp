// cuda/layer_norm.cu against the double reference: under the emulator always, on the GPU where there is one.
#include <optional>

#include "tensor/kernels/layer_norm.h"
#include "tests/compare.h"
#include "tests/cuda/cuda_kernels.h"

namespace clipcap::cuda_emulated {
void layer_norm_fwd_cuda(const LayerNormFwd<float>& p);
void layer_norm_bwd_cuda(const LayerNormBwd<float>& p);
void layer_norm_fwd_v1_cuda(const LayerNormFwd<float>& p);
void layer_norm_bwd_v1_cuda(const LayerNormBwd<float>& p);
}  // namespace clipcap::cuda_emulated

using namespace clipcap;           // NOLINT
using namespace clipcap::testing;  // NOLINT

namespace {

using Forward = void (*)(const LayerNormFwd<float>&);
using Backward = void (*)(const LayerNormBwd<float>&);

struct Case {
  int64_t rows;
  int64_t dim;
  bool residual = true;
  bool all_outputs = true;
};

template <class T>
struct ForwardResult {
  std::vector<T> sum, y, mean, rstd;
};

template <class T>
struct BackwardResult {
  std::vector<T> ds, dgamma, dbeta;
};

struct Inputs {
  std::vector<float> x, residual, gamma, beta, dy, ds_in;
  explicit Inputs(const Case& c)
      : x(random_values<float>(c.rows * c.dim, 1, 0.7)),
        residual(random_values<float>(c.rows * c.dim, 2, -0.2)),
        gamma(random_values<float>(c.dim, 3, 1.0, 0.3)),
        beta(random_values<float>(c.dim, 4)),
        dy(random_values<float>(c.rows * c.dim, 5)),
        ds_in(random_values<float>(c.rows * c.dim, 6)) {}
};

template <class T>
ForwardResult<T> reference_forward(const Case& c, const Inputs& in) {
  const auto x = converted<T>(in.x);
  const auto residual = converted<T>(in.residual);
  const auto gamma = converted<T>(in.gamma);
  const auto beta = converted<T>(in.beta);
  ForwardResult<T> out{std::vector<T>(x.size()), std::vector<T>(x.size()), std::vector<T>(c.rows),
                       std::vector<T>(c.rows)};
  reference::layer_norm_fwd<T>({.x = x.data(),
                                .residual = c.residual ? residual.data() : nullptr,
                                .gamma = gamma.data(),
                                .beta = beta.data(),
                                .sum = out.sum.data(),
                                .y = out.y.data(),
                                .mean = out.mean.data(),
                                .rstd = out.rstd.data(),
                                .rows = c.rows,
                                .dim = c.dim,
                                .eps = T(1e-5)});
  return out;
}

// What the backward kernels get as saved values, computed once in double.
template <class T>
BackwardResult<T> reference_backward(const Case& c, const Inputs& in, const ForwardResult<double>& saved) {
  const auto dy = converted<T>(in.dy);
  const auto s = converted<T>(converted<float>(saved.sum));
  const auto gamma = converted<T>(in.gamma);
  const auto mean = converted<T>(converted<float>(saved.mean));
  const auto rstd = converted<T>(converted<float>(saved.rstd));
  const auto ds_in = converted<T>(in.ds_in);
  BackwardResult<T> out{std::vector<T>(dy.size()), std::vector<T>(gamma.size()),
                        std::vector<T>(gamma.size())};
  reference::layer_norm_bwd<T>({.dy = dy.data(),
                                .s = s.data(),
                                .gamma = gamma.data(),
                                .mean = mean.data(),
                                .rstd = rstd.data(),
                                .ds_in = c.residual ? ds_in.data() : nullptr,
                                .ds = out.ds.data(),
                                .dgamma = out.dgamma.data(),
                                .dbeta = out.dbeta.data(),
                                .rows = c.rows,
                                .dim = c.dim});
  return out;
}

ForwardResult<float> run_forward(const KernelTarget& target, Forward emulated, const Case& c,
                                 const Inputs& in) {
  const KernelArray<float> x(target, in.x);
  const auto residual = c.residual ? KernelArray<float>(target, in.residual) : KernelArray<float>();
  const KernelArray<float> gamma(target, in.gamma);
  const KernelArray<float> beta(target, in.beta);
  const auto y = KernelArray<float>::output(target, c.rows * c.dim);
  const auto optional_output = [&](int64_t count) {
    return c.all_outputs ? KernelArray<float>::output(target, count) : KernelArray<float>();
  };
  const auto sum = optional_output(c.rows * c.dim);
  const auto mean = optional_output(c.rows);
  const auto rstd = optional_output(c.rows);
  run_kernel(target, layer_norm_fwd, emulated,
             {x.data(), residual.data(), gamma.data(), beta.data(), sum.data(), y.data(), mean.data(),
              rstd.data(), c.rows, c.dim, 1e-5F});
  CHECK(same_bits(x.read(), in.x));
  if (!c.all_outputs) return {{}, y.read(), {}, {}};
  return {sum.read(), y.read(), mean.read(), rstd.read()};
}

BackwardResult<float> run_backward(const KernelTarget& target, Backward emulated, const Case& c,
                                   const Inputs& in, const ForwardResult<double>& saved) {
  const KernelArray<float> dy(target, in.dy);
  const KernelArray<float> s(target, converted<float>(saved.sum));
  const KernelArray<float> gamma(target, in.gamma);
  const KernelArray<float> mean(target, converted<float>(saved.mean));
  const KernelArray<float> rstd(target, converted<float>(saved.rstd));
  const auto ds_in = c.residual ? KernelArray<float>(target, in.ds_in) : KernelArray<float>();
  const auto ds = KernelArray<float>::output(target, c.rows * c.dim);
  const auto dgamma = KernelArray<float>::output(target, c.dim);
  const auto dbeta = KernelArray<float>::output(target, c.dim);
  run_kernel(target, layer_norm_bwd, emulated,
             {dy.data(), s.data(), gamma.data(), mean.data(), rstd.data(), ds_in.data(), ds.data(),
              dgamma.data(), dbeta.data(), c.rows, c.dim});
  return {ds.read(), dgamma.read(), dbeta.read()};
}

// One case everywhere: close to the oracle, and under the emulator the same bits in every schedule.
void check_case(const Case& c, Forward forward, Backward backward) {
  const Inputs in(c);
  const auto oracle = reference_forward<double>(c, in);
  const auto plain = reference_forward<float>(c, in);
  const auto oracle_bwd = reference_backward<double>(c, in, oracle);
  const auto plain_bwd = reference_backward<float>(c, in, oracle);
  std::optional<ForwardResult<float>> first;
  std::optional<BackwardResult<float>> first_bwd;
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name << ": rows " << c.rows << ", dim " << c.dim << ", residual " << c.residual);
    const auto out = run_forward(target, forward, c, in);
    check_against_oracle(out.y, plain.y, oracle.y);
    if (c.all_outputs) {
      check_against_oracle(out.sum, plain.sum, oracle.sum);
      check_against_oracle(out.mean, plain.mean, oracle.mean);
      check_against_oracle(out.rstd, plain.rstd, oracle.rstd);
    }
    const auto out_bwd = run_backward(target, backward, c, in, oracle);
    check_against_oracle(out_bwd.ds, plain_bwd.ds, oracle_bwd.ds);
    check_against_oracle(out_bwd.dgamma, plain_bwd.dgamma, oracle_bwd.dgamma);
    check_against_oracle(out_bwd.dbeta, plain_bwd.dbeta, oracle_bwd.dbeta);
    if (!target.device.is_cpu()) continue;
    if (!first) {
      first = out;
      first_bwd = out_bwd;
    }
    CHECK(same_bits(out.y, first->y));
    CHECK(same_bits(out.sum, first->sum));
    CHECK(same_bits(out.mean, first->mean));
    CHECK(same_bits(out.rstd, first->rstd));
    CHECK(same_bits(out_bwd.ds, first_bwd->ds));
    CHECK(same_bits(out_bwd.dgamma, first_bwd->dgamma));
    CHECK(same_bits(out_bwd.dbeta, first_bwd->dbeta));
  }
}

}  // namespace

TEST_CASE("cuda layer_norm: a row worked by hand", "[cuda_layer_norm]") {
  // s = (1, 3): mean 2, variance 1, so x-hat = (-1, 1) for eps = 0.
  const std::vector<float> x{0.5F, 3.5F};
  const std::vector<float> residual{0.5F, -0.5F};
  const std::vector<float> gamma{2.0F, 10.0F};
  const std::vector<float> beta{0.25F, 0.5F};
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name);
    const KernelArray<float> x_in(target, x);
    const KernelArray<float> residual_in(target, residual);
    const KernelArray<float> gamma_in(target, gamma);
    const KernelArray<float> beta_in(target, beta);
    const auto sum = KernelArray<float>::output(target, 2);
    const auto y = KernelArray<float>::output(target, 2);
    const auto mean = KernelArray<float>::output(target, 1);
    const auto rstd = KernelArray<float>::output(target, 1);
    run_kernel(target, layer_norm_fwd, cuda_emulated::layer_norm_fwd_cuda,
               {x_in.data(), residual_in.data(), gamma_in.data(), beta_in.data(), sum.data(), y.data(),
                mean.data(), rstd.data(), 1, 2, 0.0F});
    CHECK(sum.read() == std::vector<float>{1.0F, 3.0F});
    CHECK(y.read() == std::vector<float>{-1.75F, 10.5F});
    CHECK(mean.read() == std::vector<float>{2.0F});
    CHECK(rstd.read() == std::vector<float>{1.0F});
  }
}

TEST_CASE("cuda layer_norm: v2 and wide against the oracle", "[cuda_layer_norm]") {
  for (const int64_t dim : {1, 31, 32, 33, 127, 256, 257, 512, 768, 1024, 1030}) {
    for (const int64_t rows : {1, 3, 33}) {
      if (rows == 33 && dim > 257) continue;  // what more rows do is seen at the smaller widths
      const Case c{rows, dim, rows != 1, rows != 3};
      check_case(c, cuda_emulated::layer_norm_fwd_cuda, cuda_emulated::layer_norm_bwd_cuda);
    }
  }
  check_case({9, 768}, cuda_emulated::layer_norm_fwd_cuda, cuda_emulated::layer_norm_bwd_cuda);
  check_case({17, 1030, false}, cuda_emulated::layer_norm_fwd_cuda, cuda_emulated::layer_norm_bwd_cuda);
}

TEST_CASE("cuda layer_norm: v1 against the oracle", "[cuda_layer_norm]") {
  for (const int64_t dim : {1, 33, 257}) {
    for (const int64_t rows : {1, 130}) {
      for (const bool residual : {false, true}) {
        check_case({rows, dim, residual}, cuda_emulated::layer_norm_fwd_v1_cuda,
                   cuda_emulated::layer_norm_bwd_v1_cuda);
      }
    }
  }
}

TEST_CASE("cuda layer_norm: nothing to do", "[cuda_layer_norm]") {
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name);
    for (const Case& c : {Case{0, 5}, Case{4, 0}, Case{0, 1030}}) {
      const Inputs in(c);
      const ForwardResult<double> saved{{}, {}, std::vector<double>(c.rows), std::vector<double>(c.rows)};
      const auto untouched = KernelArray<float>::output(target, c.rows).read();
      CHECK(same_bits(run_forward(target, cuda_emulated::layer_norm_fwd_cuda, c, in).mean, untouched));
      const auto out = run_backward(target, cuda_emulated::layer_norm_bwd_cuda, c, in, saved);
      CHECK(out.dgamma == std::vector<float>(c.dim, 0.0F));
      CHECK(out.dbeta == std::vector<float>(c.dim, 0.0F));
    }
  }
}

TEST_CASE("cuda layer_norm: rows that do not begin at a 16-byte boundary", "[cuda_layer_norm]") {
  const int64_t rows = 3;
  const int64_t dim = 256;  // would go 16 bytes at a time if the pointers allowed it
  const auto values = random_values<float>(rows * dim + 1, 8, 0.5);
  const auto gamma = random_values<float>(dim, 9);
  const auto beta = random_values<float>(dim, 10);
  const std::vector<float> x(values.begin() + 1, values.end());
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name);
    const KernelArray<float> shifted(target, values);
    const KernelArray<float> straight(target, x);
    const KernelArray<float> gamma_in(target, gamma);
    const KernelArray<float> beta_in(target, beta);
    const auto run = [&](const float* from) {
      const auto y = KernelArray<float>::output(target, rows * dim);
      run_kernel(target, layer_norm_fwd, cuda_emulated::layer_norm_fwd_cuda,
                 {from, nullptr, gamma_in.data(), beta_in.data(), nullptr, y.data(), nullptr, nullptr, rows,
                  dim, 1e-5F});
      return y.read();
    };
    CHECK(max_error(run(shifted.data() + 1), run(straight.data())) < 1e-5);
  }
}

TEST_CASE("cuda layer_norm: in place, and a row far from zero", "[cuda_layer_norm]") {
  for (const int64_t dim : {256, 1100}) {
    // Mean 1000, deviation 1: E[x^2] - E[x]^2 in float would lose the variance.
    const auto x = random_values<float>(2 * dim, 11, 1000.0);
    const std::vector<float> gamma(dim, 1.0F);
    const std::vector<float> beta(dim, 0.0F);
    const auto wide_x = converted<double>(x);
    const auto wide_gamma = converted<double>(gamma);
    const auto wide_beta = converted<double>(beta);
    std::vector<double> expected(x.size());
    reference::layer_norm_fwd<double>({.x = wide_x.data(),
                                       .gamma = wide_gamma.data(),
                                       .beta = wide_beta.data(),
                                       .y = expected.data(),
                                       .rows = 2,
                                       .dim = dim,
                                       .eps = 1e-5});
    for (const KernelTarget& target : kernel_targets()) {
      INFO(target.name);
      const KernelArray<float> data(target, x);
      const KernelArray<float> gamma_in(target, gamma);
      const KernelArray<float> beta_in(target, beta);
      run_kernel(target, layer_norm_fwd, cuda_emulated::layer_norm_fwd_cuda,
                 {data.data(), nullptr, gamma_in.data(), beta_in.data(), nullptr, data.data(), nullptr,
                  nullptr, 2, dim, 1e-5F});
      CHECK(max_error(data.read(), expected) < 1e-3);
    }
  }
}

TEST_CASE("cuda layer_norm: the same call twice gives the same bits", "[cuda_layer_norm]") {
  const Case c{40, 100};
  const Inputs in(c);
  const auto saved = reference_forward<double>(c, in);
  for (const KernelTarget& target : kernel_targets()) {
    INFO(target.name);
    const auto a = run_backward(target, cuda_emulated::layer_norm_bwd_cuda, c, in, saved);
    const auto b = run_backward(target, cuda_emulated::layer_norm_bwd_cuda, c, in, saved);
    CHECK(same_bits(a.ds, b.ds));
    CHECK(same_bits(a.dgamma, b.dgamma));
    CHECK(same_bits(a.dbeta, b.dbeta));
  }
}

TEST_CASE("cuda layer_norm: on the GPU", "[cuda_layer_norm][needs_gpu]") {
  if (cuda_device_count() == 0) SKIP_TEST("no CUDA device: " << cuda_unavailable_reason());
  CHECK(layer_norm_fwd.has(DeviceType::cuda, DType::f32));
  CHECK(layer_norm_bwd.has(DeviceType::cuda, DType::f32));
  // The sizes of the model, too large for the emulator.
  for (const Case& c : {Case{12608, 768}, Case{1920, 512}, Case{3000, 4096}}) {
    const Inputs in(c);
    const auto oracle = reference_forward<double>(c, in);
    const auto plain = reference_forward<float>(c, in);
    const KernelTarget gpu = kernel_targets().back();
    check_against_oracle(run_forward(gpu, cuda_emulated::layer_norm_fwd_cuda, c, in).y, plain.y, oracle.y);
    const auto plain_bwd = reference_backward<float>(c, in, oracle);
    const auto oracle_bwd = reference_backward<double>(c, in, oracle);
    const auto out = run_backward(gpu, cuda_emulated::layer_norm_bwd_cuda, c, in, oracle);
    check_against_oracle(out.ds, plain_bwd.ds, oracle_bwd.ds);
    check_against_oracle(out.dgamma, plain_bwd.dgamma, oracle_bwd.dgamma);
    check_against_oracle(out.dbeta, plain_bwd.dbeta, oracle_bwd.dbeta);
  }
}
