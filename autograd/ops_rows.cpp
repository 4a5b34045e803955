// Operations on rows: activation, normalisation, dropout, embedding.
#include "autograd/ops.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/layer_norm.h"
#include "tensor/ops.h"

namespace clipcap::diff {
namespace {

// Rows of x seen as [N,D]; an empty last dimension has no rows to speak of.
int64_t rows_of(const Tensor& x) { return x.dim(-1) == 0 ? 0 : x.numel() / x.dim(-1); }

void check_vector(const char* op, const char* name, const Tensor& vector, const Tensor& x) {
  check_same_kind(op, vector, x);
  CHECK(vector.shape() == Shape({x.dim(-1)}), op, ": ", name, " is ", vector.shape(), " but x is ", x.shape(),
        "; expected [", x.dim(-1), "] (last dim of x)");
}

}  // namespace

Variable bias_activation(const Variable& x, const Variable& bias, Activation activation) {
  const Tensor input = x.value().contiguous();
  const Tensor offset = bias.defined() ? bias.value().contiguous() : Tensor();
  if (offset.defined()) check_vector("bias_activation", "bias", offset, input);
  Tensor y = Tensor::empty(input.shape(), input.dtype(), input.device());
  visit_compute_dtype("bias_activation", input.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const BiasActivationFwd<T> p{input.data<T>(), data_or_null<T>(offset), y.data<T>(),
                                 rows_of(input),  input.dim(-1),           activation};
    bias_activation_fwd(input.device(), p);
  });
  const bool want_bias = bias.requires_grad();
  return make_result("bias_activation", y, {x, bias}, [=](std::span<const Tensor> g) -> std::vector<Tensor> {
    const Tensor dy = g[0].contiguous();
    Tensor dx = Tensor::empty(input.shape(), input.dtype(), input.device());
    Tensor dbias = want_bias ? Tensor::empty(offset.shape(), input.dtype(), input.device()) : Tensor();
    visit_compute_dtype("bias_activation", input.dtype(), [&](auto tag) {
      using T = decltype(tag);
      const BiasActivationBwd<T> p{
          dy.data<T>(),           input.data<T>(), data_or_null<T>(offset), dx.data<T>(),
          data_or_null<T>(dbias), rows_of(input),  input.dim(-1),           activation};
      bias_activation_bwd(input.device(), p);
    });
    return {dx, dbias};
  });
}

ResidualNorm add_layer_norm(const Variable& x, const Variable& residual, const Variable& gamma,
                            const Variable& beta, double eps) {
  const Tensor input = x.value().contiguous();
  const Tensor other = residual.defined() ? residual.value().contiguous() : Tensor();
  const Tensor weight = gamma.value().contiguous();
  const Tensor bias = beta.value().contiguous();
  check_vector("layer_norm", "weight", weight, input);
  check_vector("layer_norm", "bias", bias, input);
  if (other.defined()) {
    check_same_kind("layer_norm", input, other);
    CHECK(other.shape() == input.shape(), "layer_norm: residual is ", other.shape(), " but x is ",
          input.shape());
  }
  const int64_t rows = rows_of(input);
  Tensor sum = other.defined() ? Tensor::empty(input.shape(), input.dtype(), input.device()) : input;
  Tensor y = Tensor::empty(input.shape(), input.dtype(), input.device());
  Tensor mean = Tensor::empty({rows}, real_dtype(input.dtype()), input.device());
  Tensor rstd = Tensor::empty({rows}, real_dtype(input.dtype()), input.device());
  visit_compute_dtype("layer_norm", input.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LayerNormFwd<T> p{};
    p.x = input.data<T>();
    p.residual = data_or_null<T>(other);
    p.gamma = weight.data<T>();
    p.beta = bias.data<T>();
    p.sum = other.defined() ? sum.data<T>() : nullptr;
    p.y = y.data<T>();
    p.mean = mean.data<Real<T>>();
    p.rstd = rstd.data<Real<T>>();
    p.rows = rows;
    p.dim = input.dim(-1);
    p.eps = static_cast<Real<T>>(eps);
    layer_norm_fwd(input.device(), p);
  });
  const auto backward = [=](std::span<const Tensor> g) -> std::vector<Tensor> {
    // g[0] reaches the sum past the normalisation, g[1] through it.
    if (!g[1].defined()) return {g[0], other.defined() ? g[0] : Tensor(), Tensor(), Tensor()};
    const Tensor dy = g[1].contiguous();
    const Tensor past = g[0].defined() ? g[0].contiguous() : Tensor();
    Tensor ds = Tensor::empty(sum.shape(), sum.dtype(), sum.device());
    Tensor dgamma = Tensor::empty(weight.shape(), sum.dtype(), sum.device());
    Tensor dbeta = Tensor::empty(weight.shape(), sum.dtype(), sum.device());
    visit_compute_dtype("layer_norm", sum.dtype(), [&](auto tag) {
      using T = decltype(tag);
      LayerNormBwd<T> p{};
      p.dy = dy.data<T>();
      p.s = sum.data<T>();
      p.gamma = weight.data<T>();
      p.mean = mean.data<Real<T>>();
      p.rstd = rstd.data<Real<T>>();
      p.ds_in = data_or_null<T>(past);
      p.ds = ds.data<T>();
      p.dgamma = dgamma.data<T>();
      p.dbeta = dbeta.data<T>();
      p.rows = rows;
      p.dim = sum.dim(-1);
      layer_norm_bwd(sum.device(), p);
    });
    return {ds, other.defined() ? ds : Tensor(), dgamma, dbeta};
  };
  std::vector<Variable> results = make_results("layer_norm", {sum, y}, {x, residual, gamma, beta}, backward);
  return {results[0], results[1]};
}

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps) {
  return add_layer_norm(x, Variable(), gamma, beta, eps).normalised;
}

Variable dropout(const Variable& x, double p, Generator& generator) {
  CHECK(p >= 0.0 && p < 1.0, "dropout: probability ", p, "; expected [0, 1)");
  if (p == 0.0) return x;
  const uint64_t seed = generator.seed();
  const uint64_t stream = generator.next_stream();
  const auto apply = [=](const Tensor& input) {
    const Tensor source = input.contiguous();
    Tensor y = Tensor::empty(source.shape(), source.dtype(), source.device());
    visit_compute_dtype("dropout", source.dtype(), [&](auto tag) {
      using T = decltype(tag);
      const Dropout<T> params{source.data<T>(),      nullptr, y.data<T>(), source.numel(),
                              static_cast<float>(p), seed,    stream};
      clipcap::dropout(source.device(), params);
    });
    return y;
  };
  return make_result("dropout", apply(x.value()), {x},
                     [apply](std::span<const Tensor> g) -> std::vector<Tensor> { return {apply(g[0])}; });
}

Variable embedding(const Tensor& ids, const Variable& table) {
  const Tensor weights = table.value();
  CHECK(weights.rank() == 2, "embedding: table is ", weights.shape(), "; expected [V,D]");
  const Tensor index = ids.contiguous();
  return make_result("embedding", ops::gather_rows(weights, index), {table},
                     [=](std::span<const Tensor> g) -> std::vector<Tensor> {
                       const Tensor dy = g[0].contiguous();
                       Tensor dtable = Tensor::empty(weights.shape(), dy.dtype(), dy.device());
                       visit_compute_dtype("embedding", dy.dtype(), [&](auto tag) {
                         using T = decltype(tag);
                         EmbeddingBwd<T> p{};
                         p.ids = index.data<int32_t>();
                         p.dy = dy.data<T>();
                         p.dtable = dtable.data<T>();
                         p.count = index.numel();
                         p.vocab = weights.dim(0);
                         p.dim = weights.dim(1);
                         embedding_bwd(dy.device(), p);
                       });
                       return {dtable};
                     });
}

}  // namespace clipcap::diff
