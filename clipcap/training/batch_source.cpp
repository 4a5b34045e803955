#include "clipcap/training/batch_source.h"

#include <algorithm>
#include <numeric>

#include "tensor/ops.h"

namespace clipcap {
namespace {

// Streams of the seed; parameters and dropout draw from low stream numbers.
constexpr uint64_t kOrderStream = 1ULL << 40;
constexpr uint64_t kChoiceStream = 2ULL << 40;

// Rows of ids padded to the longest, i32 [B,L]; an empty row is all padding.
Tensor token_rows(const std::vector<std::span<const int32_t>>& rows, int32_t pad) {
  size_t longest = 2;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  Tensor result =
      Tensor::empty({static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)}, DType::i32);
  int32_t* at = result.host<int32_t>();
  std::fill_n(at, result.numel(), pad);
  for (size_t b = 0; b < rows.size(); ++b) std::copy(rows[b].begin(), rows[b].end(), at + b * longest);
  return result;
}

// Tokens that a row makes the decoder predict: those after sos, up to the first eos.
double predicted(std::span<const int32_t> row, int32_t eos) {
  if (row.size() < 2) return 0;
  const auto end = std::find(row.begin() + 1, row.end(), eos);
  return static_cast<double>(end - row.begin() - (end == row.end() ? 1 : 0));
}

}  // namespace

BatchSource::BatchSource(const TrainingSet& set, const Config& config, Frames frames)
    : set_(set), config_(config), frames_(std::move(frames)), frame_counts_(set.training().size(), 0) {
  CHECK(set.serves(config), "BatchSource: the training set was read for another configuration");
  for (size_t k = 0; k < kAspects; ++k) {
    const auto& on = config.model.subdecoders;
    wanted_[k] = std::find(on.begin(), on.end(), kAspectNames[k]) != on.end();
  }
}

size_t BatchSource::clip_at(int64_t position) {
  const auto count = static_cast<int64_t>(set_.training().size());
  const int64_t epoch = position / count;
  if (epoch != epoch_) {
    order_.resize(static_cast<size_t>(count));
    std::iota(order_.begin(), order_.end(), size_t{0});
    Generator generator(static_cast<uint64_t>(config_.train.seed),
                        kOrderStream + static_cast<uint64_t>(epoch * count));
    for (size_t i = order_.size() - 1; i > 0; --i) {
      std::swap(order_[i], order_[static_cast<size_t>(generator.index(static_cast<int64_t>(i) + 1))]);
    }
    epoch_ = epoch;
  }
  return order_[static_cast<size_t>(position % count)];
}

BatchSource::Draw BatchSource::draw(int64_t position) {
  const CaptionedClips& clips = set_.training();
  Draw draw;
  draw.clip = clip_at(position);
  // Four numbers a position: the caption's and one for each aspect.
  Generator choice(static_cast<uint64_t>(config_.train.seed),
                   kChoiceStream + static_cast<uint64_t>(position * (1 + kAspects)));
  const CaptionedClips::Clip& clip = clips.clips()[draw.clip];
  draw.caption = clip.first_caption + static_cast<size_t>(choice.index(static_cast<int64_t>(clip.captions)));
  for (int k = 0; k < kAspects; ++k) {
    const double point = choice.uniform();
    const auto count = static_cast<int64_t>(clips.annotations(draw.caption, k));
    const auto which = static_cast<int64_t>(point * static_cast<double>(count));
    draw.annotations[static_cast<size_t>(k)] = std::min(which, count - 1);
  }
  return draw;
}

int64_t BatchSource::frame_count(size_t clip) {
  if (!config_.train.train_encoder) return set_.training_rows(clip);
  if (frame_counts_[clip] == 0) frame_counts_[clip] = frames_(set_.training().clips()[clip].file).dim(0);
  return frame_counts_[clip];
}

Batch BatchSource::batch(int64_t step, int64_t rank, int64_t ranks) {
  const int64_t size = config_.train.batch;
  CHECK(ranks >= 1 && ranks <= size && rank >= 0 && rank < ranks, "BatchSource: rank ", rank, " of ", ranks,
        " in a batch of ", size);
  const CaptionedClips& clips = set_.training();
  const int64_t own_begin = size * rank / ranks;
  const int64_t own_end = size * (rank + 1) / ranks;
  Batch batch;
  std::vector<size_t> captions;
  std::vector<Tensor> inputs;  // features or frames
  std::vector<std::span<const int32_t>> caption_rows;
  std::array<std::vector<std::span<const int32_t>>, kAspects> aspect_rows;
  for (int64_t i = 0; i < size; ++i) {
    const Draw draw = this->draw(step * size + i);
    const bool own = i >= own_begin && i < own_end;
    const std::span<const int32_t> ids = clips.ids(draw.caption);
    batch.denominators.caption += predicted(ids, set_.vocabularies().caption.eos());
    if (own) caption_rows.push_back(ids);
    for (size_t k = 0; k < kAspects; ++k) {
      if (!wanted_[k]) continue;
      std::span<const int32_t> annotation;
      if (draw.annotations[k] >= 0) {
        annotation =
            clips.annotation(draw.caption, static_cast<int>(k), static_cast<size_t>(draw.annotations[k]));
      }
      batch.denominators.aspects[k] += predicted(annotation, set_.vocabularies().commonsense.eos());
      if (own) aspect_rows[k].push_back(annotation);
    }
    if (own) {
      captions.push_back(draw.caption);
      if (config_.train.train_encoder) {
        inputs.push_back(frames_(clips.clips()[draw.clip].file));
        frame_counts_[draw.clip] = inputs.back().dim(0);
      } else {
        inputs.push_back(set_.training_features(draw.clip));
      }
    }
    batch.denominators.distill += static_cast<double>(frame_count(draw.clip));
  }
  if (config_.train.train_encoder) {
    for (const Tensor& frames : inputs) batch.lengths.push_back(static_cast<int32_t>(frames.dim(0)));
    batch.frames = ops::concat(inputs, 0);
  } else {
    FeatureBatch stacked = stack_features(inputs);
    batch.features = std::move(stacked.features);
    batch.lengths = std::move(stacked.lengths);
  }
  batch.caption = token_rows(caption_rows, set_.vocabularies().caption.pad());
  for (size_t k = 0; k < kAspects; ++k) {
    if (wanted_[k]) batch.aspects[k] = token_rows(aspect_rows[k], set_.vocabularies().commonsense.pad());
  }
  if (config_.loss.distill > 0) {
    const int64_t n = *std::max_element(batch.lengths.begin(), batch.lengths.end());
    batch.teacher = set_.teacher().batch(captions, batch.lengths, n);
  }
  return batch;
}

}  // namespace clipcap
