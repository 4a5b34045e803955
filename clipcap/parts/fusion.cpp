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
  double* at = matrix.data<double>();
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
  double* at = matrix.data<double>();
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
    std::fill_n(mask.data<uint8_t>() + static_cast<int64_t>(b) * n, lengths[b], uint8_t{1});
  }
  return mask;
}

Variable mask_rows(const Variable& x, const std::vector<int32_t>& lengths) {
  const int64_t n = x.dim(1);
  if (std::all_of(lengths.begin(), lengths.end(), [n](int32_t length) { return length == n; })) return x;
  const Tensor mask = valid_mask(lengths, n).to(x.dtype()).reshape({x.dim(0), n, 1});
  return diff::mul(x, Variable(mask));
}

Tensor sinusoidal_positions(int64_t n, int64_t dim, DType dtype) {
  Tensor table = Tensor::empty({n, dim}, DType::f64);
  double* at = table.data<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < dim; ++j) {
      const double angle = static_cast<double>(i) /
                           std::pow(10000.0, static_cast<double>(j / 2 * 2) / static_cast<double>(dim));
      at[i * dim + j] = j % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  return table.to(dtype);
}

FusionBlock::FusionBlock(FusionKind kind, int64_t dim, bool bidirectional, Generator& generator)
    : kind_(kind) {
  switch (kind) {
    case FusionKind::lstm:
      CHECK_INPUT(!bidirectional || dim % 2 == 0, "model.dim: ", dim,
                  " is odd; a bidirectional LSTM halves it");
      lstm = std::make_unique<nn::Lstm>(dim, bidirectional ? dim / 2 : dim, generator);
      if (bidirectional) lstm_reverse = std::make_unique<nn::Lstm>(dim, dim / 2, generator);
      break;
    case FusionKind::transformer:
      transformer = std::make_unique<nn::EncoderLayer>(dim, 8, 4 * dim, Activation::gelu, 0.1, generator);
      break;
    case FusionKind::conv1d:
      conv = std::make_unique<nn::Conv1d>(dim, dim, 3, Activation::gelu, generator);
      break;
  }
}

Variable FusionBlock::forward(const Variable& x, const std::vector<int32_t>& lengths,
                              const nn::Run& run) const {
  switch (kind_) {
    case FusionKind::lstm: {
      const Tensor length = Tensor::from(lengths, {x.dim(0)});
      const Variable forward_states = lstm->forward(x, length);
      if (!lstm_reverse) return forward_states;
      return diff::concat({forward_states, lstm_reverse->forward(x, length, true)}, 2);
    }
    case FusionKind::transformer: {
      // Attention alone does not know the order of frames.
      const Variable placed = diff::add(x, Variable(sinusoidal_positions(x.dim(1), x.dim(2), x.dtype())));
      return mask_rows(transformer->forward(placed, valid_mask(lengths, x.dim(1)), false, run), lengths);
    }
    case FusionKind::conv1d:
      break;
  }
  return mask_rows(diff::add(conv->forward(x), x), lengths);
}

TemporalFusion::TemporalFusion(FusionKind kind, int64_t scales, int64_t dim, bool bidirectional,
                               Generator& generator)
    : aggregate(scales * dim, dim, generator, {.residual = true}), norm(dim) {
  CHECK_INPUT(scales >= 1 && scales <= 3, "model.fusion.scales: ", scales, "; expected 1, 2 or 3");
  for (int64_t s = 0; s < scales; ++s) blocks.emplace_back(kind, dim, bidirectional, generator);
}

Variable TemporalFusion::forward(const Variable& v, const std::vector<int32_t>& lengths, const nn::Run& run,
                                 std::vector<Variable>* activations) const {
  CHECK(v.value().rank() == 3 && v.dim(0) == static_cast<int64_t>(lengths.size()), "TemporalFusion: v is ",
        v.shape(), ", ", lengths.size(), " lengths");
  for (const int32_t length : lengths) {
    CHECK(length >= 1 && length <= v.dim(1), "TemporalFusion: a clip of ", length, " frames in ", v.shape());
  }
  const Variable input = mask_rows(v, lengths);
  Variable squeezed = input;
  std::vector<int32_t> now = lengths;
  std::vector<Variable> expanded;
  for (size_t s = 0; s < blocks.size(); ++s) {
    if (s > 0) {
      const Tensor pairs = squeeze_matrix(now, squeezed.dim(1), v.dtype());
      squeezed = diff::matmul(Variable(pairs), squeezed);
      for (int32_t& length : now) length = (length + 1) / 2;
    }
    const Variable fused = blocks[s].forward(squeezed, now, run);
    if (activations != nullptr) activations->push_back(fused);
    if (s == 0) {
      expanded.push_back(fused);
    } else {
      const Tensor weights = expand_matrix(now, fused.dim(1), lengths, v.dim(1), v.dtype());
      expanded.push_back(diff::matmul(Variable(weights), fused));
    }
  }
  const Variable joined = expanded.size() == 1 ? expanded[0] : diff::concat(expanded, 2);
  return mask_rows(norm.forward(aggregate.forward(joined, input)), lengths);
}

}  // namespace clipcap
