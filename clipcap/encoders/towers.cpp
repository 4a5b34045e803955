#include "clipcap/encoders/towers.h"

#include <cmath>

namespace clipcap {
VisionTower::VisionTower(const VitGeometry& geometry, Activation activation, Generator& generator)
    : geometry_(geometry) {
  CHECK_INPUT(geometry.patch > 0 && geometry.resolution > 0 && geometry.resolution % geometry.patch == 0,
              "image encoder: resolution ", geometry.resolution, " is not a multiple of patch ",
              geometry.patch);
  const int64_t grid = geometry.resolution / geometry.patch;
  const double deviation = 1.0 / std::sqrt(static_cast<double>(geometry.width));
  class_embedding = nn::normal_parameter({geometry.width}, deviation, generator);
  position_embedding = nn::normal_parameter({1 + grid * grid, geometry.width}, deviation, generator);
  patch_embedding =
      nn::Linear(3 * geometry.patch * geometry.patch, geometry.width, generator, {.bias = false});
  norm_before = nn::LayerNorm(geometry.width);
  for (int64_t i = 0; i < geometry.layers; ++i) {
    layers.emplace_back(geometry.width, geometry.heads, geometry.mlp_width(), activation, 0.0, generator);
  }
  norm_after = nn::LayerNorm(geometry.width);
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
  x = norm_before.forward(x, run);
  // Only the class token leaves the tower, so the last layer finishes only that one.
  for (size_t i = 0; i + 1 < layers.size(); ++i) x = layers[i].forward(x, {}, false, run);
  if (!layers.empty()) x = layers.back().forward_first(x, 1, {}, false, run);
  const Variable pooled = diff::reshape(diff::slice(x, 1, 0, 1), {count, geometry_.width});
  return call.returns(projection.forward(norm_after.forward(pooled, run), run));
}

void VisionTower::visit(nn::Visitor& visitor) {
  visitor("class_embedding", class_embedding);
  visitor("position_embedding", position_embedding);
  visitor("patch_embedding", patch_embedding);
  visitor("norm_before", norm_before);
  visitor("layers", layers);
  visitor("norm_after", norm_after);
  visitor("projection", projection);
}

TextTower::TextTower(const TextGeometry& geometry, Activation activation, Generator& generator)
    : token_embedding(geometry.vocab, geometry.width, 0.02, generator),
      position_embedding(nn::normal_parameter({geometry.context, geometry.width}, 0.01, generator)),
      norm_after(geometry.width),
      geometry_(geometry) {
  for (int64_t i = 0; i < geometry.layers; ++i) {
    layers.emplace_back(geometry.width, geometry.heads, geometry.mlp_width(), activation, 0.0, generator);
  }
  projection = nn::Linear(geometry.width, geometry.embed, generator, {.bias = false});
}

Variable TextTower::hidden_states(const Tensor& ids, const nn::Run& run) const {
  CHECK(ids.rank() == 2 && ids.dim(1) <= geometry_.context, "TextTower: ids are ", ids.shape(), "; at most ",
        geometry_.context, " tokens");
  Variable x =
      diff::add(token_embedding.forward(ids, run), diff::slice(position_embedding, 0, 0, ids.dim(1)));
  for (const nn::EncoderLayer& layer : layers) x = layer.forward(x, {}, true, run);
  return norm_after.forward(x, run);
}

Variable TextTower::forward(const Tensor& ids, const std::vector<int32_t>& ends, const nn::Run& run) const {
  nn::Call call(run, *this, "forward", ids);
  const Variable hidden = hidden_states(ids, run);
  CHECK(static_cast<int64_t>(ends.size()) == ids.dim(0), "TextTower: ", ends.size(), " ends for ids ",
        ids.shape());
  std::vector<int32_t> rows(ends.size());
  for (size_t b = 0; b < rows.size(); ++b) {
    CHECK(ends[b] >= 0 && ends[b] < ids.dim(1), "TextTower: end of row ", b, " is ", ends[b], ", ids ",
          ids.shape());
    rows[b] = static_cast<int32_t>(static_cast<int64_t>(b) * ids.dim(1)) + ends[b];
  }
  const Variable flat = diff::reshape(hidden, {-1, geometry_.width});
  const Tensor at_ends = Tensor::from(rows, {static_cast<int64_t>(rows.size())});
  return call.returns(projection.forward(diff::embedding(at_ends, flat), run));
}

Variable TextTower::token_features(const Tensor& ids, const nn::Run& run) const {
  nn::Call call(run, *this, "token_features", ids);
  return call.returns(projection.forward(hidden_states(ids, run), run));
}

void TextTower::visit(nn::Visitor& visitor) {
  visitor("token_embedding", token_embedding);
  visitor("position_embedding", position_embedding);
  visitor("layers", layers);
  visitor("norm_after", norm_after);
  visitor("projection", projection);
}

}  // namespace clipcap
