#include "clipcap/parts/fusion.h"

#include <algorithm>
#include <cmath>

namespace clipcap {

FusionKind parse_fusion_kind(const std::string& text) {
  if (text == "lstm") return FusionKind::lstm;
  if (text == "transformer") return FusionKind::transformer;
  CHECK_INPUT(text == "conv1d", "model.fusion.kind: \"", text, "\"; expected lstm, transformer or conv1d");
  return FusionKind::conv1d;
}

Tensor squeeze_matrix(const std::vector<int32_t>& lengths, int64_t columns, DType dtype) {
  const int64_t rows = (columns + 1) / 2;
  Tensor matrix = Tensor::zeros({static_cast<int64_t>(lengths.size()), rows, columns}, DType::f64);
  double* at = matrix.host<double>();
  for (size_t b = 0; b < lengths.size(); ++b) {
    for (int64_t i = 0; 2 * i < lengths[b]; ++i) {
      double* row = at + (static_cast<int64_t>(b) * rows + i) * columns;
      const bool pair = 2 * i + 1 < lengths[b];
      row[2 * i] = pair ? 0.5 : 1.0;
      if (pair) row[2 * i + 1] = 0.5;
    }
  }
  return matrix.to(dtype);
}

Tensor expand_matrix(const std::vector<int32_t>& from, int64_t columns, const std::vector<int32_t>& to,
                     int64_t rows, DType dtype) {
  Tensor matrix = Tensor::zeros({static_cast<int64_t>(from.size()), rows, columns}, DType::f64);
  double* at = matrix.host<double>();
  for (size_t b = 0; b < from.size(); ++b) {
    for (int64_t i = 0; i < to[b]; ++i) {
      double* row = at + (static_cast<int64_t>(b) * rows + i) * columns;
      const double centre = (static_cast<double>(i) + 0.5) * from[b] / to[b] - 0.5;
      const double clamped = std::clamp(centre, 0.0, static_cast<double>(from[b] - 1));
      const auto low = static_cast<int64_t>(clamped);
      const double share = clamped - static_cast<double>(low);
      row[low] += 1.0 - share;
      if (share > 0) row[low + 1] += share;
    }
  }
  return matrix.to(dtype);
}

Tensor valid_mask(const std::vector<int32_t>& lengths, int64_t n) {
  Tensor mask = Tensor::zeros({static_cast<int64_t>(lengths.size()), n}, DType::u8);
  for (size_t b = 0; b < lengths.size(); ++b) {
    std::fill_n(mask.host<uint8_t>() + static_cast<int64_t>(b) * n, lengths[b], uint8_t{1});
  }
  return mask;
}

Tensor sinusoidal_positions(int64_t n, int64_t dim, DType dtype) {
  Tensor table = Tensor::empty({n, dim}, DType::f64);
  double* at = table.host<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < dim; ++j) {
      const double angle = static_cast<double>(i) /
                           std::pow(10000.0, static_cast<double>(j / 2 * 2) / static_cast<double>(dim));
      at[i * dim + j] = j % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  return table.to(dtype);
}

FusionPlan make_fusion_plan(const std::vector<int32_t>& lengths, int64_t n, int64_t scales, int64_t dim,
                            DType dtype) {
  for (const int32_t length : lengths) {
    CHECK(length >= 1 && length <= n, "TemporalFusion: a clip of ", length, " frames in ", n, " rows");
  }
  FusionPlan plan;
  std::vector<int32_t> now = lengths;
  int64_t rows = n;
  for (int64_t s = 0; s < scales; ++s) {
    FusionPlan::Scale scale;
    if (s > 0) {
      scale.squeeze = squeeze_matrix(now, rows, dtype);
      for (int32_t& length : now) length = (length + 1) / 2;
      rows = (rows + 1) / 2;
      scale.expand = expand_matrix(now, rows, lengths, n, dtype);
    }
    scale.lengths = now;
    scale.length_tensor = Tensor::from(now, {static_cast<int64_t>(now.size())});
    scale.valid = valid_mask(now, rows);
    const bool padded = std::any_of(now.begin(), now.end(), [&](int32_t length) { return length != rows; });
    if (padded) scale.row_mask = scale.valid.to(dtype).reshape({static_cast<int64_t>(now.size()), rows, 1});
    if (dim > 0) scale.positions = sinusoidal_positions(rows, dim, dtype);
    plan.scales.push_back(std::move(scale));
  }
  return plan;
}

namespace {

// x [B,n_s,d] with the rows past each length set to zero.
Variable mask_rows(const Variable& x, const FusionPlan::Scale& plan) {
  return plan.row_mask.defined() ? diff::mul(x, Variable(plan.row_mask)) : x;
}

}  // namespace

FusionBlock::FusionBlock(const FusionOptions& options, Generator& generator) : kind_(options.kind) {
  const int64_t dim = options.dim;
  switch (kind_) {
    case FusionKind::lstm:
      CHECK_INPUT(!options.bidirectional || dim % 2 == 0, "model.dim: ", dim,
                  " is odd; a bidirectional LSTM halves it");
      lstm = std::make_unique<nn::Lstm>(dim, options.bidirectional ? dim / 2 : dim, generator);
      if (options.bidirectional) lstm_reverse = std::make_unique<nn::Lstm>(dim, dim / 2, generator);
      break;
    case FusionKind::transformer:
      transformer = std::make_unique<nn::EncoderLayer>(dim, options.heads, 4 * dim, Activation::gelu,
                                                       options.dropout, generator);
      break;
    case FusionKind::conv1d:
      conv = std::make_unique<nn::Conv1d>(dim, dim, 3, Activation::gelu, generator);
      break;
  }
}

Variable FusionBlock::forward(const Variable& x, const FusionPlan::Scale& plan, const nn::Run& run) const {
  nn::Call call(run, *this, "forward", x, plan.valid);
  switch (kind_) {
    case FusionKind::lstm: {
      const Variable forward_states = lstm->forward(x, plan.length_tensor, false, run);
      if (!lstm_reverse) return call.returns(forward_states);
      const Variable reverse_states = lstm_reverse->forward(x, plan.length_tensor, true, run);
      return call.returns(diff::concat({forward_states, reverse_states}, 2));
    }
    case FusionKind::transformer: {
      // Attention alone does not know the order of frames.
      const Variable placed = diff::add(x, Variable(plan.positions));
      return call.returns(mask_rows(transformer->forward(placed, plan.valid, false, run), plan));
    }
    case FusionKind::conv1d:
      break;
  }
  return call.returns(mask_rows(diff::add(conv->forward(x, run), x), plan));
}

TemporalFusion::TemporalFusion(const FusionOptions& options, Generator& generator)
    : aggregate(options.scales * options.dim, options.dim, generator, {.residual = true}),
      norm(options.dim),
      options_(options) {
  CHECK_INPUT(options.scales >= 1 && options.scales <= 3, "model.fusion.scales: ", options.scales,
              "; expected 1, 2 or 3");
  for (int64_t s = 0; s < options.scales; ++s) blocks.emplace_back(options, generator);
}

std::shared_ptr<const FusionPlan> TemporalFusion::plan(const std::vector<int32_t>& lengths, int64_t n,
                                                       DType dtype) const {
  const std::lock_guard lock(memory_->mutex);
  if (!memory_->plan || memory_->lengths != lengths || memory_->n != n || memory_->dtype != dtype) {
    const int64_t positions = options_.kind == FusionKind::transformer ? options_.dim : 0;
    memory_->plan = std::make_shared<const FusionPlan>(
        make_fusion_plan(lengths, n, static_cast<int64_t>(blocks.size()), positions, dtype));
    memory_->lengths = lengths;
    memory_->n = n;
    memory_->dtype = dtype;
  }
  return memory_->plan;
}

Variable TemporalFusion::forward(const Variable& v, const FusionPlan& plan, const nn::Run& run) const {
  CHECK(v.value().rank() == 3 && plan.scales.size() == blocks.size() &&
            plan.scales[0].valid.shape() == Shape({v.dim(0), v.dim(1)}),
        "TemporalFusion: v is ", v.shape(), ", the plan is for rows ", plan.scales[0].valid.shape());
  nn::Call call(run, *this, "forward", v, plan.scales[0].valid);
  const Variable input = mask_rows(v, plan.scales[0]);
  Variable squeezed = input;
  std::vector<Variable> expanded;
  for (size_t s = 0; s < blocks.size(); ++s) {
    const FusionPlan::Scale& scale = plan.scales[s];
    if (s > 0) squeezed = diff::matmul(Variable(scale.squeeze), squeezed);
    const Variable fused = blocks[s].forward(squeezed, scale, run);
    expanded.push_back(s == 0 ? fused : diff::matmul(Variable(scale.expand), fused));
  }
  const Variable joined = expanded.size() == 1 ? expanded[0] : diff::concat(expanded, 2);
  return call.returns(mask_rows(norm.forward(aggregate.forward(joined, input, run), run), plan.scales[0]));
}

}  // namespace clipcap
