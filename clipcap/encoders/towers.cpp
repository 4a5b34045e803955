#include "clipcap/encoders/towers.h"

#include <cmath>

namespace clipcap {
namespace {

nn::EncoderLayer make_layer(int64_t width, int64_t heads, int64_t hidden, Activation activation, double eps,
                            Generator& generator) {
  nn::EncoderLayer layer(width, heads, hidden, activation, 0.0, generator);
  layer.norm_attention.eps = eps;
  layer.norm_mlp.eps = eps;
  return layer;
}

nn::LayerNorm make_norm(int64_t width, double eps) {
  nn::LayerNorm norm(width);
  norm.eps = eps;
  return norm;
}

}  // namespace

VisionTower::VisionTower(const VitGeometry& geometry, const VisionSettings& settings, Generator& generator)
    : geometry_(geometry), settings_(settings) {
  CHECK_INPUT(geometry.patch > 0 && geometry.resolution > 0 && geometry.resolution % geometry.patch == 0,
              "image encoder: resolution ", geometry.resolution, " is not a multiple of patch ",
              geometry.patch);
  CHECK(settings.projection || geometry.embed == geometry.width, "VisionTower: embed ", geometry.embed,
        " without a projection; the width is ", geometry.width);
  const int64_t grid = geometry.resolution / geometry.patch;
  const double deviation = 1.0 / std::sqrt(static_cast<double>(geometry.width));
  class_embedding = nn::normal_parameter({geometry.width}, deviation, generator);
  position_embedding = nn::normal_parameter({1 + grid * grid, geometry.width}, deviation, generator);
  patch_embedding =
      nn::Linear(3 * geometry.patch * geometry.patch, geometry.width, generator, {.bias = false});
  if (settings.norm_before) norm_before = make_norm(geometry.width, settings.eps);
  for (int64_t i = 0; i < geometry.layers; ++i) {
    layers.push_back(make_layer(geometry.width, geometry.heads, geometry.mlp_width(), settings.activation,
                                settings.eps, generator));
  }
  norm_after = make_norm(geometry.width, settings.eps);
  if (settings.projection)
    projection = nn::Linear(geometry.width, geometry.embed, generator, {.bias = false});
}

Variable VisionTower::forward(const Variable& frames, const nn::Run& run) const {
  const int64_t side = geometry_.resolution;
  const int64_t patch = geometry_.patch;
  const int64_t grid = side / patch;
  CHECK(frames.value().rank() == 4 && frames.dim(1) == 3 && frames.dim(2) == side && frames.dim(3) == side,
        "VisionTower: frames are ", frames.shape(), "; expected [N, 3, ", side, ", ", side, "]");
  nn::Call call(run, *this, "forward", frames);
  const int64_t count = frames.dim(0);
  // Pixels carry no gradient, so the patches are cut on the Tensor: [N,3,G,p,G,p] -> [N,G,G,3,p,p].
  const Tensor patches = frames.value()
                             .reshape({count, 3, grid, patch, grid, patch})
                             .permute({0, 2, 4, 1, 3, 5})
                             .reshape({count, grid * grid, 3 * patch * patch});
  const Variable embedded = patch_embedding.forward(Variable(patches), run);
  const Variable first = diff::expand(class_embedding, {count, 1, geometry_.width});
  Variable x = diff::add(diff::concat({first, embedded}, 1), position_embedding);
  if (settings_.norm_before) x = norm_before.forward(x, run);
  const bool average = settings_.pool == VisionSettings::Pool::average;
  // Where only the class token leaves the tower, the last layer finishes only that one.
  for (size_t i = 0; i + 1 < layers.size(); ++i) x = layers[i].forward(x, {}, false, run);
  if (!layers.empty()) x = layers.back().forward_first(x, average ? x.dim(1) : 1, {}, false, run);
  if (average) {
    x = diff::slice(x, 1, 1, grid * grid);
    if (!settings_.norm_pooled) x = norm_after.forward(x, run);
    const Tensor weights = Tensor::full({1, grid * grid}, 1.0 / static_cast<double>(grid * grid), x.dtype());
    x = diff::matmul(diff::expand(Variable(weights), {count, 1, grid * grid}), x);
  } else {
    x = diff::slice(x, 1, 0, 1);
  }
  Variable pooled = diff::reshape(x, {count, geometry_.width});
  if (!average || settings_.norm_pooled) pooled = norm_after.forward(pooled, run);
  return call.returns(settings_.projection ? projection.forward(pooled, run) : pooled);
}

void VisionTower::visit(nn::Visitor& visitor) {
  visitor("class_embedding", class_embedding);
  visitor("position_embedding", position_embedding);
  visitor("patch_embedding", patch_embedding);
  if (settings_.norm_before) visitor("norm_before", norm_before);
  visitor("layers", layers);
  visitor("norm_after", norm_after);
  if (settings_.projection) visitor("projection", projection);
}

TextTower::TextTower(const TextGeometry& geometry, const TextSettings& settings, Generator& generator)
    : token_embedding(geometry.vocab, geometry.width, 0.02, generator),
      position_embedding(nn::normal_parameter({geometry.context, geometry.width}, 0.01, generator)),
      norm_after(make_norm(geometry.width, settings.eps)),
      geometry_(geometry),
      settings_(settings) {
  CHECK(settings.projection || geometry.embed == geometry.width, "TextTower: embed ", geometry.embed,
        " without a projection; the width is ", geometry.width);
  for (int64_t i = 0; i < geometry.layers; ++i) {
    layers.push_back(make_layer(geometry.width, geometry.heads, geometry.mlp_width(), settings.activation,
                                settings.eps, generator));
  }
  if (settings.projection)
    projection = nn::Linear(geometry.width, geometry.embed, generator, {.bias = settings.projection_bias});
}

void TextTower::check_ids(std::span<const int32_t> ids, const std::string& text) const {
  for (const int32_t id : ids) {
    CHECK_INPUT(id<geometry_.vocab, "\"", text.size()> 60 ? text.substr(0, 60) + "…" : text, "\": token ", id,
                " was added to the tokenizer; the text tower has only ", geometry_.vocab);
  }
}

void check_tokenizer(const TextTower& tower, const ClipTokenizer& tokenizer,
                     const std::string& tokenizer_name, const std::string& tower_name) {
  const int64_t vocab = tower.geometry().vocab;
  CHECK_INPUT(vocab == tokenizer.size() || (vocab >= tokenizer.base_size() && vocab < tokenizer.size()),
              tokenizer_name, ": ", tokenizer.size(), " tokens, but the text tower of ", tower_name, " has ",
              vocab);
  const int64_t expected = tower.settings().end_token;
  CHECK_INPUT(expected < 0 || expected == tokenizer.end(), tokenizer_name, ": its end token has id ",
              tokenizer.end(), ", the configuration of ", tower_name, " says eos_token_id ", expected);
}

TextTower::Reading TextTower::reading(int64_t row_length, int32_t end) const {
  Reading result{row_length, end};
  if (settings_.pool == TextSettings::Pool::first) result.position = 0;
  if (settings_.pool == TextSettings::Pool::last) result.position = static_cast<int32_t>(row_length) - 1;
  if (settings_.causal) result.length = result.position + 1;
  return result;
}

Variable TextTower::projected(const Variable& x, const nn::Run& run) const {
  return settings_.projection ? projection.forward(x, run) : x;
}

Variable TextTower::hidden_states(const Tensor& ids, const nn::Run& run) const {
  CHECK(ids.rank() == 2 && ids.dim(1) <= geometry_.context, "TextTower: ids are ", ids.shape(), "; at most ",
        geometry_.context, " tokens");
  Variable x =
      diff::add(token_embedding.forward(ids, run), diff::slice(position_embedding, 0, 0, ids.dim(1)));
  for (const nn::EncoderLayer& layer : layers) x = layer.forward(x, {}, settings_.causal, run);
  return norm_after.forward(x, run);
}

Variable TextTower::forward(const Tensor& ids, const std::vector<int32_t>& positions,
                            const nn::Run& run) const {
  nn::Call call(run, *this, "forward", ids);
  const Variable hidden = hidden_states(ids, run);
  CHECK(static_cast<int64_t>(positions.size()) == ids.dim(0), "TextTower: ", positions.size(),
        " positions for ids ", ids.shape());
  std::vector<int32_t> rows(positions.size());
  for (size_t b = 0; b < rows.size(); ++b) {
    CHECK(positions[b] >= 0 && positions[b] < ids.dim(1), "TextTower: position of row ", b, " is ",
          positions[b], ", ids ", ids.shape());
    rows[b] = static_cast<int32_t>(static_cast<int64_t>(b) * ids.dim(1)) + positions[b];
  }
  const Variable flat = diff::reshape(hidden, {-1, geometry_.width});
  const Tensor at_ends = Tensor::from(rows, {static_cast<int64_t>(rows.size())});
  return call.returns(projected(diff::embedding(at_ends, flat), run));
}

Variable TextTower::token_features(const Tensor& ids, const nn::Run& run) const {
  nn::Call call(run, *this, "token_features", ids);
  return call.returns(projected(hidden_states(ids, run), run));
}

void TextTower::visit(nn::Visitor& visitor) {
  visitor("token_embedding", token_embedding);
  visitor("position_embedding", position_embedding);
  visitor("layers", layers);
  visitor("norm_after", norm_after);
  if (settings_.projection) visitor("projection", projection);
}

}  // namespace clipcap
