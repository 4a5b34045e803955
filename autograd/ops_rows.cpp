// Operations on rows: activation, normalisation, dropout, embedding.
#include "autograd/ops.h"
#include "tensor/kernels/dropout.h"
#include "tensor/kernels/embedding.h"
#include "tensor/kernels/l2_normalize.h"
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
    const BiasActivationFwd<T> p{.x = input.data<T>(),
                                 .bias = data_or_null<T>(offset),
                                 .y = y.data<T>(),
                                 .rows = rows_of(input),
                                 .dim = input.dim(-1),
                                 .activation = activation};
    bias_activation_fwd(input.device(), p);
  });
  return make_result("bias_activation", y, {x, bias}, [=](const BackwardArgs& g) -> std::vector<Tensor> {
    const Tensor dy = g[0].contiguous();
    const Tensor dx = Tensor::empty(input.shape(), input.dtype(), input.device());
    const Tensor dbias = g.wants(1) ? Tensor::empty(offset.shape(), input.dtype(), input.device()) : Tensor();
    visit_compute_dtype("bias_activation", input.dtype(), [&](auto tag) {
      using T = decltype(tag);
      BiasActivationBwd<T> p{};
      p.dy = dy.data<T>();
      p.x = input.data<T>();
      p.bias = data_or_null<T>(offset);
      p.dx = dx.data<T>();
      p.dbias = data_or_null<T>(dbias);
      p.rows = rows_of(input);
      p.dim = input.dim(-1);
      p.activation = activation;
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
  // All gradients but the bias's need the rows and their statistics.
  const bool keep_rows = any_requires_grad({&x, &residual, &gamma});
  const auto statistics = [&] {
    return keep_rows ? Tensor::empty({rows}, real_dtype(input.dtype()), input.device()) : Tensor();
  };
  const Tensor mean = statistics();
  const Tensor rstd = statistics();
  visit_compute_dtype("layer_norm", input.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LayerNormFwd<T> p{};
    p.x = input.data<T>();
    p.residual = data_or_null<T>(other);
    p.gamma = weight.data<T>();
    p.beta = bias.data<T>();
    p.sum = other.defined() ? sum.data<T>() : nullptr;
    p.y = y.data<T>();
    p.mean = data_or_null<Real<T>>(mean);
    p.rstd = data_or_null<Real<T>>(rstd);
    p.rows = rows;
    p.dim = input.dim(-1);
    p.eps = static_cast<Real<T>>(eps);
    layer_norm_fwd(input.device(), p);
  });
  const Tensor kept_sum = keep_rows ? sum : Tensor();
  const Tensor kept_weight = keep_rows ? weight : Tensor();
  const int64_t dim = input.dim(-1);
  const auto backward = [=](const BackwardArgs& g) -> std::vector<Tensor> {
    // g[0] reaches the sum past the normalisation, g[1] through it.
    if (!g[1].defined()) return {g[0], g.wants(1) ? g[0] : Tensor(), Tensor(), Tensor()};
    const Tensor dy = g[1].contiguous();
    if (!g.wants(0) && !g.wants(1) && !g.wants(2)) return {{}, {}, {}, ops::sum(dy.reshape({rows, dim}), 0)};
    const Tensor past = g[0].defined() ? g[0].contiguous() : Tensor();
    // The kernel writes all three.
    const Tensor ds = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
    const Tensor dgamma = Tensor::empty({dim}, dy.dtype(), dy.device());
    const Tensor dbeta = Tensor::empty({dim}, dy.dtype(), dy.device());
    visit_compute_dtype("layer_norm", dy.dtype(), [&](auto tag) {
      using T = decltype(tag);
      LayerNormBwd<T> p{};
      p.dy = dy.data<T>();
      p.s = kept_sum.data<T>();
      p.gamma = kept_weight.data<T>();
      p.mean = mean.data<Real<T>>();
      p.rstd = rstd.data<Real<T>>();
      p.ds_in = data_or_null<T>(past);
      p.ds = ds.data<T>();
      p.dgamma = dgamma.data<T>();
      p.dbeta = dbeta.data<T>();
      p.rows = rows;
      p.dim = dim;
      layer_norm_bwd(dy.device(), p);
    });
    return {g.wants(0) ? ds : Tensor(), g.wants(1) ? ds : Tensor(), dgamma, dbeta};
  };
  std::vector<Variable> results = make_results("layer_norm", {sum, y}, {x, residual, gamma, beta}, backward);
  return {results[0], results[1]};
}

Variable layer_norm(const Variable& x, const Variable& gamma, const Variable& beta, double eps) {
  return add_layer_norm(x, Variable(), gamma, beta, eps).normalised;
}

Variable l2_normalize(const Variable& x) {
  const Tensor source = x.value().contiguous();
  CHECK(source.rank() >= 1, "l2_normalize: x has no dimension");
  const int64_t dim = source.dim(-1);
  const int64_t rows = rows_of(source);
  Tensor y = Tensor::empty(source.shape(), source.dtype(), source.device());
  Tensor norm = Tensor::empty({rows}, real_dtype(source.dtype()), source.device());
  visit_compute_dtype("l2_normalize", source.dtype(), [&](auto tag) {
    using T = decltype(tag);
    L2NormalizeFwd<T> p{};
    p.x = source.data<T>();
    p.y = y.data<T>();
    p.norm = norm.data<Real<T>>();
    p.rows = rows;
    p.dim = dim;
    l2_normalize_fwd(source.device(), p);
  });
  return make_result("l2_normalize", y, {x},
                     [y, norm, rows, dim](const BackwardArgs& g) -> std::vector<Tensor> {
                       const Tensor dy = g[0].contiguous();
                       Tensor dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
                       visit_compute_dtype("l2_normalize", dy.dtype(), [&](auto tag) {
                         using T = decltype(tag);
                         L2NormalizeBwd<T> p{};
                         p.y = y.data<T>();
                         p.norm = norm.data<Real<T>>();
                         p.dy = dy.data<T>();
                         p.dx = dx.data<T>();
                         p.rows = rows;
                         p.dim = dim;
                         l2_normalize_bwd(dy.device(), p);
                       });
                       return {dx};
                     });
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
      const Dropout<T> params{.x = source.data<T>(),
                              .y = y.data<T>(),
                              .numel = source.numel(),
                              .p = static_cast<float>(p),
                              .seed = seed,
                              .stream = stream};
      clipcap::dropout(source.device(), params);
    });
    return y;
  };
  return make_result("dropout", apply(x.value()), {x},
                     [apply](const BackwardArgs& g) -> std::vector<Tensor> { return {apply(g[0])}; });
}

Variable embedding(const Tensor& ids, const Variable& table) {
  const Tensor weights = table.value();
  CHECK(weights.rank() == 2, "embedding: table is ", weights.shape(), "; expected [V,D]");
  const Tensor index = ids.contiguous();
  const Shape shape = weights.shape();
  return make_result("embedding", ops::gather_rows(weights, index), {table},
                     [index, shape](const BackwardArgs& g) -> std::vector<Tensor> {
                       const Tensor dy = g[0].contiguous();
                       Tensor dtable = Tensor::empty(shape, dy.dtype(), dy.device());
                       visit_compute_dtype("embedding", dy.dtype(), [&](auto tag) {
                         using T = decltype(tag);
                         EmbeddingBwd<T> p{};
                         p.ids = index.data<int32_t>();
                         p.dy = dy.data<T>();
                         p.dtable = dtable.data<T>();
                         p.count = index.numel();
                         p.vocab = shape[0];
                         p.dim = shape[1];
                         embedding_bwd(dy.device(), p);
                       });
                       return {dtable};
                     });
}

}  // namespace clipcap::diff
