// CLIP's own objective (Radford et al. 2021, figure 3) and how well the result retrieves.
#pragma once

#include <cstddef>
#include <span>

#include "autograd/variable.h"

namespace clipcap {

/// CLIP keeps the factor of its similarities at 100 or less (section 2.5): its logarithm at most this.
inline constexpr double kLargestLogScale = 4.605170185988092;

/// Symmetric contrastive loss of a batch of pairs: image and text features [B,e], not normalised; log_scale [1]. Row i of
/// the one belongs to row i of the other: the mean of the cross-entropies of exp(log_scale) * cos over the rows and
/// over the columns. Shape [].
[[nodiscard]] Variable contrastive_loss(const Variable& image, const Variable& text,
                                        const Variable& log_scale);

/// Share of queries whose wanted item is among the first 1, 5, 10 by cosine similarity, and the median of its ranks
/// (from 1). Of items that are equally similar the wanted one comes last, so that a model that says the same of
/// everything has nothing.
struct Retrieval {
  double r1 = 0, r5 = 0, r10 = 0;
  double median_rank = 0;
  size_t queries = 0, items = 0;
};
/// queries [Q,e], items [N,e], f32; item wanted[q] belongs to query q.
[[nodiscard]] Retrieval retrieve(const Tensor& queries, const Tensor& items, std::span<const size_t> wanted);

}  // namespace clipcap
