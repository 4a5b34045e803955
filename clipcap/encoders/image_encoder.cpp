#include "clipcap/encoders/image_encoder.h"

#include <algorithm>

#include "tensor/ops.h"

namespace clipcap {

Tensor ImageEncoder::encode(const Tensor& frames) const {
  // Activations of a ViT-B/16 layer (10 MB) then stay in the last-level cache, and the GEMMs are already at
  // full speed.
  constexpr int64_t kFramesAtOnce = 4;
  const NoGrad guard;
  const int64_t count = frames.dim(0);
  if (count == 0) return Tensor::empty({0, feature_dim()});
  std::vector<Tensor> parts;
  for (int64_t start = 0; start < count; start += kFramesAtOnce) {
    const int64_t now = std::min(kFramesAtOnce, count - start);
    parts.push_back(forward(Variable(frames.slice(0, start, now)), nn::Run{}).value());
  }
  return ops::concat(parts, 0);
}

Variable FeaturesOnly::forward(const Variable&, const nn::Run&) const {
  fail("FeaturesOnly: there is no encoder to run");
}

}  // namespace clipcap
