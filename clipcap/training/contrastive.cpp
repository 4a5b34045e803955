#include "clipcap/training/contrastive.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "autograd/ops.h"
#include "tensor/ops.h"

namespace clipcap {

Variable contrastive_loss(const Variable& image, const Variable& text, const Variable& log_scale) {
  CHECK(image.value().rank() == 2 && image.shape() == text.shape(), "contrastive_loss: image features are ",
        image.shape(), ", text features ", text.shape(), "; expected [B,e] both");
  const int64_t pairs = image.dim(0);
  const Variable cosines =
      diff::matmul(diff::l2_normalize(image), diff::transpose(diff::l2_normalize(text), 0, 1));
  const Variable logits = diff::scale_exp(cosines, log_scale);
  std::vector<int32_t> own(static_cast<size_t>(pairs));
  std::iota(own.begin(), own.end(), 0);
  const Tensor targets = Tensor::from(own, {pairs}).to(image.value().device());
  return diff::scale(diff::add(diff::cross_entropy(logits, targets, -1, 0),
                               diff::cross_entropy(diff::transpose(logits, 0, 1), targets, -1, 0)),
                     0.5);
}

Retrieval retrieve(const Tensor& queries, const Tensor& items, std::span<const size_t> wanted) {
  CHECK(queries.rank() == 2 && items.rank() == 2 && queries.dim(1) == items.dim(1) &&
            static_cast<size_t>(queries.dim(0)) == wanted.size(),
        "retrieve: queries ", queries.shape(), ", items ", items.shape(), ", ", wanted.size(), " wanted");
  Retrieval result;
  result.queries = wanted.size();
  result.items = static_cast<size_t>(items.dim(0));
  if (wanted.empty()) return result;
  const NoGrad no_grad;
  const Tensor q = diff::l2_normalize(Variable(queries)).value(),
               k = diff::l2_normalize(Variable(items)).value();
  std::vector<size_t> ranks;
  constexpr int64_t kAtOnce = 256;  // of the queries: the similarities of all may not fit
  for (int64_t first = 0; first < q.dim(0); first += kAtOnce) {
    const int64_t count = std::min(kAtOnce, q.dim(0) - first);
    const Tensor similar = ops::matmul(q.slice(0, first, count), k, false, true);
    for (int64_t row = 0; row < count; ++row) {
      const size_t own = wanted[static_cast<size_t>(first + row)];
      CHECK(own < result.items, "retrieve: wanted item ", own, " of ", result.items);
      const float* s = similar.host<float>() + row * items.dim(0);
      size_t before = 0;
      for (size_t i = 0; i < result.items; ++i) before += i != own && !(s[i] < s[own]) ? 1 : 0;
      ranks.push_back(before + 1);
    }
  }
  std::sort(ranks.begin(), ranks.end());
  const auto share = [&](size_t most) {
    const auto within = std::upper_bound(ranks.begin(), ranks.end(), most) - ranks.begin();
    return static_cast<double>(within) / static_cast<double>(ranks.size());
  };
  result.r1 = share(1);
  result.r5 = share(5);
  result.r10 = share(10);
  const size_t half = ranks.size() / 2;
  result.median_rank = ranks.size() % 2 == 1 ? static_cast<double>(ranks[half])
                                             : 0.5 * static_cast<double>(ranks[half - 1] + ranks[half]);
  return result;
}

}  // namespace clipcap
