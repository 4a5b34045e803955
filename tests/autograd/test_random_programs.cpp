// Random small programs over all differentiable operations, run in f32 and in f64: the fast kernels against
// the plain references, forward and backward, through views, odd strides and shared inputs; and in f64
// against finite differences.
//
// A program follows from its seed alone (no decision looks at a value), so both runs do the same. A failure
// prints the seed; CLIPCAP_PROGRAM_SEED=N runs that program only, CLIPCAP_PROGRAM_SEEDS=FROM:COUNT others
// than the usual ones.
#include <cstdlib>
#include <string>

#include "autograd/ops.h"
#include "tests/compare.h"

using namespace clipcap;

namespace {

// One leaf's element, moved: for finite differences.
struct Nudge {
  size_t leaf = 0;
  int64_t element = 0;
  double by = 0;
};

class Program {
 public:
  Program(uint64_t seed, DType dtype, Nudge nudge = {})
      : random_(seed), seed_(seed), dtype_(dtype), nudge_(nudge) {
    for (int i = 0; i < 3; ++i) keep("leaf", leaf(random_shape()));
    const int64_t steps = 4 + random_.index(8);
    for (int64_t i = 0; i < steps; ++i) step();
    for (const Variable& variable : pool_) {
      // An unused result stays unused now and then: a dead branch.
      if (random_.index(8) == 0) continue;
      const Variable weights(numbers(variable.shape()));
      const Variable part = diff::sum(diff::mul(variable, weights));
      loss_ = loss_.defined() ? diff::add(loss_, part) : part;
    }
    if (!loss_.defined()) loss_ = diff::sum(pool_.back());
  }

  [[nodiscard]] const std::vector<Variable>& values() const { return pool_; }
  [[nodiscard]] const std::vector<Variable>& leaves() const { return leaves_; }
  [[nodiscard]] const Variable& loss() const { return loss_; }
  [[nodiscard]] const std::string& listing() const { return listing_; }

 private:
  int64_t size() { return 1 + random_.index(5); }
  bool chance(int64_t one_in) { return random_.index(one_in) == 0; }
  Shape random_shape() {
    Shape shape;
    const int64_t rank = 1 + random_.index(4);
    for (int64_t i = 0; i < rank; ++i) shape.append(chance(40) ? 0 : size());
    return shape;
  }

  // Normal numbers that are the same in f32 and f64.
  Tensor numbers(const Shape& shape) {
    Tensor x = Tensor::from(
        testing::random_values<float>(shape.numel(), random_.next_stream() + 1000 * seed_, 0.1, 0.8), shape);
    return x.to(dtype_);
  }

  // The same numbers in another layout.
  Tensor laid_out(const Tensor& x) {
    const int last = x.rank() - 1;
    if (last < 0) return x;
    switch (random_.index(4)) {
      case 0:  // transposed in memory
        if (last >= 1) return x.transpose(0, last).contiguous().transpose(0, last);
        break;
      case 1: {  // inside something larger
        Shape wide = x.shape();
        wide.set(last, x.dim(last) + 3);
        const Tensor around = Tensor::full(wide, 7.0, x.dtype());
        const Tensor view = around.slice(last, 2, x.dim(last));
        view.copy_from(x);
        return view;
      }
      case 2: {  // every row the first one, repeated without memory
        if (last < 1 || x.dim(0) == 0) break;
        return x.slice(0, 0, 1).expand(x.shape());
      }
      default:
        break;
    }
    return x;
  }

  Variable leaf(const Shape& shape) {
    Tensor x = numbers(shape);
    if (nudge_.by != 0 && nudge_.leaf == leaves_.size() && shape.numel() > 0) {
      x.data<double>()[nudge_.element] += nudge_.by;
    }
    leaves_.emplace_back(laid_out(x), !chance(4));
    return leaves_.back();
  }

  void keep(const std::string& op, const Variable& result) {
    listing_ += concat_text("\n  ", pool_.size(), ": ", op, ' ', result.shape());
    pool_.push_back(result);
  }

  Variable any() { return pool_[static_cast<size_t>(random_.index(static_cast<int64_t>(pool_.size())))]; }

  // Something of this shape: a new leaf, or made of what is there, in whatever layout that gives.
  Variable fit(const Shape& shape) {
    const Variable source = any();
    const int64_t wanted = shape.numel();
    if (chance(3) || source.value().numel() == 0 || wanted == 0) return leaf(shape);
    Variable flat = diff::reshape(source, {-1});
    while (flat.dim(0) < wanted) flat = diff::concat({flat, flat}, 0);
    flat = diff::slice(flat, 0, random_.index(flat.dim(0) - wanted + 1), wanted);
    const int last = shape.rank() - 1;
    if (last < 1 || chance(2)) return diff::reshape(flat, shape);
    Shape turned = shape;
    turned.set(0, shape[last]);
    turned.set(last, shape[0]);
    return diff::transpose(diff::reshape(flat, turned), 0, last);
  }

  // A shape that broadcasts against `shape`.
  Shape broadcastable(const Shape& shape) {
    Shape result;
    if (shape.rank() == 0) return result;
    for (int i = static_cast<int>(random_.index(shape.rank())); i < shape.rank(); ++i)
      result.append(chance(3) ? 1 : shape[i]);
    return result;
  }

  Tensor indices(const Shape& shape, int64_t from, int64_t below) {
    std::vector<int32_t> values(static_cast<size_t>(shape.numel()));
    for (int32_t& value : values) value = static_cast<int32_t>(from + random_.index(below - from));
    return Tensor::from(values, shape);
  }

  diff::AttentionOptions attention_options(int64_t batch, int64_t keys) {
    diff::AttentionOptions options;
    if (chance(2)) options.key_valid = valid(batch, keys);
    options.causal = chance(2);
    options.causal_offset = random_.index(3);
    if (chance(3)) options.scale = 0.7;
    return options;
  }
  Tensor valid(int64_t batch, int64_t length) {
    std::vector<uint8_t> values(static_cast<size_t>(batch * length));
    for (uint8_t& value : values) value = chance(4) ? 0 : 1;
    return Tensor::from(values, {batch, length});
  }

  void step() {
    const int64_t b = size();
    const int64_t t = size();
    const int64_t d = size();
    const Variable x = any();
    const int rank = x.value().rank();
    switch (random_.index(25)) {
      case 0:
        return keep("add", diff::add(x, fit(broadcastable(x.shape()))));
      case 1:
        return keep("sub", diff::sub(fit(broadcastable(x.shape())), x));
      case 2:
        return keep("mul", diff::scale(diff::mul(x, fit(broadcastable(x.shape()))), 0.5));
      case 3:
        return keep("mul with itself", diff::scale(diff::mul(x, x), 0.3));
      case 4:
        return keep("scale", diff::scale(x, -0.7));
      case 5:
        return keep("add to itself", diff::scale(diff::add(x, x), 0.5));
      case 24: {
        // Two results that are used apart and together: their gradients meet in several places.
        const Variable a = diff::scale(x, 0.6);
        const Variable b = diff::scale(chance(2) ? x : a, -0.4);
        keep("scale, once", a);
        keep("scale, twice", b);
        if (chance(2)) keep("mul of both", diff::mul(a, b));
        return keep("add of both", chance(2) ? diff::add(a, b) : diff::add(b, a));
      }
      case 6:
        return x.value().numel() > 0 ? keep("mean", diff::mean(x)) : keep("sum", diff::sum(x));
      case 7:
        return keep("reshape", diff::reshape(fit({b, t, d}), {b, t * d}));
      case 8:
        return rank > 0 ? keep("transpose", diff::transpose(x, 0, rank - 1)) : void();
      case 9: {
        const int dim = static_cast<int>(random_.index(std::max(1, rank)));
        if (rank == 0 || x.dim(dim) == 0) return;
        const int64_t start = random_.index(x.dim(dim));
        return keep("slice", diff::slice(x, dim, start, 1 + random_.index(x.dim(dim) - start)));
      }
      case 10: {
        const Variable first = fit({b, t, d});
        return keep("concat", diff::concat({first, fit({b, 2, d}), first}, 1));
      }
      case 11:
        return keep("expand", diff::expand(fit({t, 1}), {b, t, d}));
      case 12:
        return keep("matmul", diff::scale(diff::matmul(fit({b, t, d}), fit({b, d, 3})), 0.4));
      case 13:
        return keep("matmul, shared", diff::scale(diff::matmul(fit({b, t, d}), fit({d, 3})), 0.4));
      case 14: {
        const Variable bias = chance(2) ? fit({6}) : Variable();
        return keep("linear", diff::scale(diff::linear(fit({b, t, d}), fit({6, d}), bias), 0.4));
      }
      case 15: {
        const auto kind = static_cast<Activation>(random_.index(4));
        return keep("bias_activation",
                    diff::bias_activation(fit({b, t, d}), chance(3) ? Variable() : fit({d}), kind));
      }
      case 16:
        return keep("layer_norm", diff::layer_norm(fit({b, t, d}), fit({d}), fit({d}), 0.1));
      case 17: {
        const diff::ResidualNorm both =
            diff::add_layer_norm(fit({b, t, d}), fit({b, t, d}), fit({d}), fit({d}), 0.1);
        if (!chance(3)) keep("add_layer_norm, the sum", both.sum);
        if (!chance(3)) keep("add_layer_norm, normalised", both.normalised);
        return;
      }
      case 18:
        return keep("dropout", diff::dropout(x, 0.3, random_));
      case 19:
        return keep("embedding", diff::embedding(indices({b, t}, 0, 5), fit({5, d})));
      case 20: {
        const int64_t heads = size();
        const int64_t keys = size();
        const diff::AttentionOptions options = attention_options(b, keys);
        if (chance(2)) {
          return keep("cross_attention",
                      diff::cross_attention(fit({b, t, heads, d}), fit({b, keys, 2, heads, d}), options));
        }
        return keep("attention", diff::attention(fit({b, t, heads, d}), fit({b, keys, heads, d}),
                                                 fit({b, keys, heads, d}), options));
      }
      case 21: {
        const int64_t heads = size();
        return keep("self_attention", diff::self_attention(fit({b, t, 3, heads, d}), random_.index(t + 1),
                                                           attention_options(b, t)));
      }
      case 22: {
        const Tensor lengths = chance(2) ? indices({b}, 0, t + 1) : Tensor();
        const Variable gates = fit({b, t, 4 * d});
        const Variable h0 = chance(2) ? fit({b, d}) : Variable();
        const Variable c0 = chance(2) ? fit({b, d}) : Variable();
        const diff::LstmOutput out = diff::lstm(gates, fit({4 * d, d}), h0, c0, lengths, chance(2));
        if (!chance(3)) keep("lstm, h", out.h);
        if (!chance(3)) keep("lstm, h_last", out.h_last);
        if (!chance(3)) keep("lstm, c_last", out.c_last);
        return;
      }
      default: {
        const double denominator = chance(2) ? 3.5 : 0.0;
        if (chance(2)) {
          return keep("cross_entropy", diff::cross_entropy(fit({b, t, 1 + d}), indices({b, t}, -1, 1 + d), -1,
                                                           chance(2) ? 0.1 : 0.0, denominator));
        }
        const Tensor teacher = chance(2) ? numbers({b, d}) : numbers({b, t, d});
        return keep("l1_distill", diff::l1_distill(fit({b, t, d}), teacher,
                                                   chance(2) ? valid(b, t) : Tensor(), denominator));
      }
    }
  }

  Generator random_;
  uint64_t seed_;
  DType dtype_;
  Nudge nudge_;
  std::vector<Variable> leaves_;
  std::vector<Variable> pool_;
  Variable loss_;
  std::string listing_;
};

std::vector<double> doubles(const Tensor& x) { return x.to(DType::f64).to_vector<double>(); }

// Largest error, relative to the largest number (or to 1); NaN if there is any.
double relative_error(const std::vector<double>& got, const std::vector<double>& right) {
  double largest = 1;
  for (const double value : right) largest = std::max(largest, std::abs(value));
  double worst = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    const double error = std::abs(got[i] - right[i]) / largest;
    if (!(error <= worst)) worst = error;
    if (std::isnan(worst)) break;
  }
  return worst;
}

// True when a gradient was compared.
bool check_program(uint64_t seed) {
  const Program narrow(seed, DType::f32);
  const Program wide(seed, DType::f64);
  INFO("CLIPCAP_PROGRAM_SEED=" << seed << narrow.listing());
  REQUIRE(narrow.listing() == wide.listing());
  for (size_t i = 0; i < wide.values().size(); ++i) {
    INFO("value " << i);
    CHECK(relative_error(doubles(narrow.values()[i].value()), doubles(wide.values()[i].value())) < 2e-5);
  }
  if (!wide.loss().requires_grad()) {
    CHECK_FALSE(narrow.loss().requires_grad());
    return false;
  }
  narrow.loss().backward();
  wide.loss().backward();
  std::vector<size_t> with_gradient;
  for (size_t i = 0; i < wide.leaves().size(); ++i) {
    INFO("leaf " << i << ' ' << wide.leaves()[i].shape());
    const Tensor& grad = wide.leaves()[i].grad();
    REQUIRE(narrow.leaves()[i].grad().defined() == grad.defined());
    if (!grad.defined()) continue;
    CHECK(grad.is_contiguous());
    CHECK(relative_error(doubles(narrow.leaves()[i].grad()), doubles(grad)) < 2e-4);
    if (grad.numel() > 0 && wide.leaves()[i].value().is_contiguous()) with_gradient.push_back(i);
  }
  // A few finite differences, of leaves whose elements are all their own.
  Generator random(seed + 77);
  const NoGrad guard;
  for (int i = 0; i < 3 && !with_gradient.empty(); ++i) {
    Nudge nudge;
    nudge.leaf = with_gradient[static_cast<size_t>(random.index(static_cast<int64_t>(with_gradient.size())))];
    const Tensor& grad = wide.leaves()[nudge.leaf].grad();
    nudge.element = random.index(grad.numel());
    constexpr double kStep = 1e-6;
    nudge.by = kStep;
    const double above = Program(seed, DType::f64, nudge).loss().value().item();
    nudge.by = -kStep;
    const double below = Program(seed, DType::f64, nudge).loss().value().item();
    const double numeric = (above - below) / (2 * kStep);
    const double analytic = grad.data<double>()[nudge.element];
    INFO("leaf " << nudge.leaf << ", element " << nudge.element << ": analytic " << analytic << ", numeric "
                 << numeric);
    CHECK(std::abs(analytic - numeric) <= 1e-6 * std::max(1.0, std::abs(numeric)) + 1e-8 * std::abs(above));
  }
  return true;
}

}  // namespace

TEST_CASE("random programs: f32 and f64 agree, forward and backward, and with finite differences",
          "[random_programs]") {
  uint64_t first = 1;
  uint64_t count = 400;
  if (const char* one = std::getenv("CLIPCAP_PROGRAM_SEED")) {
    first = std::strtoull(one, nullptr, 10);
    count = 1;
  } else if (const char* range = std::getenv("CLIPCAP_PROGRAM_SEEDS")) {
    char* end = nullptr;
    first = std::strtoull(range, &end, 10);
    if (*end == ':') count = std::strtoull(end + 1, nullptr, 10);
  }
  uint64_t compared = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) compared += check_program(seed) ? 1 : 0;
  CHECK((count < 10 || compared * 10 > count * 8));
}
