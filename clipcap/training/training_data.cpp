#include "clipcap/training/training_data.h"

#include <algorithm>
#include <numeric>

#include "clipcap/encoders/encoder_file.h"
#include "tensor/ops.h"

namespace clipcap {
namespace {

// Streams of the seed; parameters and dropout draw from low stream numbers.
constexpr uint64_t kOrderStream = 1ULL << 40;
constexpr uint64_t kChoiceStream = 2ULL << 40;

const std::vector<Annotation>& aspect_of(const Caption& caption, int k) {
  return k == 0 ? caption.intention : k == 1 ? caption.effect : caption.attribute;
}

// Rows of ids padded to the longest, i32 [B,L]; an empty row is all padding.
Tensor token_rows(const std::vector<std::vector<int32_t>>& rows, int32_t pad) {
  size_t longest = 2;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  Tensor result =
      Tensor::empty({static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)}, DType::i32);
  int32_t* at = result.data<int32_t>();
  std::fill_n(at, result.numel(), pad);
  for (size_t b = 0; b < rows.size(); ++b) std::copy(rows[b].begin(), rows[b].end(), at + b * longest);
  return result;
}

}  // namespace

Vocabularies make_vocabularies(const Dataset& dataset, const Config& config) {
  std::vector<std::vector<std::string>> captions;
  std::vector<std::vector<std::string>> commonsense;
  for (const ClipEntry& clip : dataset.clips) {
    if (clip.split != config.data.split) continue;
    for (const Caption& caption : clip.captions) {
      captions.push_back(caption.caption.tokens);
      for (int k = 0; k < kAspects; ++k) {
        for (const Annotation& annotation : aspect_of(caption, k)) commonsense.push_back(annotation.tokens);
      }
    }
  }
  const auto choose = [&](const std::string& file, const std::vector<std::vector<std::string>>& sentences) {
    return file.empty() ? Vocabulary::build(sentences, config.train.min_count)
                        : Vocabulary::from_v2c_info(file);
  };
  return {choose(config.data.caption_vocabulary, captions),
          choose(config.data.commonsense_vocabulary, commonsense)};
}

std::vector<TrainingClip> load_clips(const Dataset& dataset, const std::string& split, const Config& config,
                                     const Vocabularies& vocabularies, const FeatureExtractor& extractor,
                                     const ClipFeatures& ready,
                                     const std::function<void(size_t, size_t)>& progress) {
  std::vector<const ClipEntry*> entries;
  for (const ClipEntry& clip : dataset.clips) {
    if (clip.split == split && !clip.captions.empty()) entries.push_back(&clip);
  }
  const ModelConfig& m = config.model;
  const std::array<int64_t, kAspects> lengths{m.intention_length, m.effect_length, m.attribute_length};
  std::vector<TrainingClip> clips;
  for (const ClipEntry* entry : entries) {
    const auto found = ready.find(entry->video_id);
    CHECK_INPUT(ready.empty() || found != ready.end(), config.data.features, ": no features of clip ",
                entry->video_id);
    CHECK_INPUT(!ready.empty() || !entry->file.empty(), "clip ", entry->video_id,
                ": no video, frame folder or feature file was found for it");
    TrainingClip clip;
    clip.video_id = entry->video_id;
    clip.file = entry->file;
    if (!config.train.train_encoder)
      clip.features = ready.empty() ? extractor.features(entry->file) : found->second;
    for (const Caption& caption : entry->captions) {
      TrainingClip::Caption own{
          caption.caption.text, vocabularies.caption.encode(caption.caption.tokens, m.caption_length), {}};
      for (int k = 0; k < kAspects; ++k) {
        const auto at = static_cast<size_t>(k);
        for (const Annotation& annotation : aspect_of(caption, k)) {
          own.aspects[at].push_back(vocabularies.commonsense.encode(annotation.tokens, lengths[at]));
          clip.aspect_texts[at].push_back(annotation.text);
        }
      }
      clip.captions.push_back(std::move(own));
    }
    clips.push_back(std::move(clip));
    if (progress) progress(clips.size(), entries.size());
  }
  return clips;
}

Teacher::Teacher(const Config& config, const Vocabularies& vocabularies) : config_(config) {
  // A stream of seeds of its own: switching distillation off leaves the captioner's initial values as they
  // are.
  const std::string& file =
      config.encoder.text_weights.empty() ? config.encoder.weights : config.encoder.text_weights;
  if (!file.empty()) {
    const std::string why = concat_text("; loss.distill = ", config.loss.distill, " needs ");
    Encoders encoders = load_encoders(
        file, {.activation = config.encoder.text_weights.empty() ? config.encoder.activation : "auto",
               .image = false});
    CHECK_INPUT(encoders.text, file, ": no text tower in it", why,
                "one (encoder.text_weights, or loss.distill=0)");
    CHECK_INPUT(!config.encoder.tokenizer.empty(), "encoder.tokenizer is empty", why,
                "CLIP's vocabulary file, bpe_simple_vocab_16e6.txt.gz or tokenizer.json (or loss.distill=0)");
    tower_ = std::move(encoders.text);
    tokenizer_ = std::make_unique<ClipTokenizer>(ClipTokenizer::load(config.encoder.tokenizer));
    CHECK_INPUT(tokenizer_->size() == tower_->geometry().vocab, config.encoder.tokenizer, ": ",
                tokenizer_->size(), " tokens, but the text tower of ", file, " has ",
                tower_->geometry().vocab);
    return;
  }
  Generator generator(static_cast<uint64_t>(config.train.seed), 1ULL << 32);
  TextGeometry geometry = config.model.text;
  geometry.vocab = vocabularies.caption.size();
  geometry.context = config.model.caption_length;
  tower_ = std::make_unique<TextTower>(geometry, Activation::quick_gelu, generator);
  nn::set_requires_grad(*tower_, false);
}

std::vector<int32_t> Teacher::tokens(const TrainingClip::Caption& caption) const {
  if (!tokenizer_) return caption.ids;
  const TokenRows rows =
      tokenizer_->encode_rows(std::span(&caption.text, 1), {.context = tower_->geometry().context});
  return {rows.ids.begin(), rows.ids.begin() + rows.end_positions[0] + 1};
}

Tensor Teacher::features(const std::vector<const TrainingClip::Caption*>& captions,
                         const std::vector<int32_t>& lengths, int64_t n) {
  const NoGrad guard;
  const bool tokens = config_.loss.distill_target == "tokens";
  std::vector<Tensor> rows;
  for (size_t b = 0; b < captions.size(); ++b) {
    const std::vector<int32_t> ids = this->tokens(*captions[b]);
    auto found = known_.find(ids);
    if (found == known_.end()) {
      const auto length = static_cast<int64_t>(ids.size());
      const Tensor row = Tensor::from(ids, {1, length});
      const Variable feature = tokens ? tower_->token_features(row, nn::Run{})
                                      : tower_->forward(row, {static_cast<int32_t>(length - 1)}, nn::Run{});
      found = known_.emplace(ids, feature.value().reshape({tokens ? length : 1, -1})).first;
    }
    if (!tokens) {
      rows.push_back(found->second);
      continue;
    }
    const Tensor& all = found->second;  // [L,e] resampled to this clip's frames
    const Tensor weights =
        expand_matrix({static_cast<int32_t>(all.dim(0))}, all.dim(0), {lengths[b]}, n, DType::f32);
    rows.push_back(ops::matmul(weights, all.reshape({1, all.dim(0), all.dim(1)})));
  }
  return ops::concat(rows, 0);
}

BatchSource::BatchSource(const std::vector<TrainingClip>& clips, const Config& config,
                         const CaptionModel& model, Teacher* teacher, const FeatureExtractor& extractor)
    : clips_(clips), config_(config), model_(model), teacher_(teacher), extractor_(extractor) {
  CHECK_INPUT(!clips.empty(), "training: the split \"", config.data.split, "\" has no captioned clips");
}

size_t BatchSource::clip_at(int64_t position) {
  const auto count = static_cast<int64_t>(clips_.size());
  const int64_t epoch = position / count;
  if (epoch != epoch_) {
    order_.resize(clips_.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    Generator generator(static_cast<uint64_t>(config_.train.seed),
                        kOrderStream + static_cast<uint64_t>(epoch) * clips_.size());
    for (size_t i = clips_.size() - 1; i > 0; --i) {
      std::swap(order_[i], order_[static_cast<size_t>(generator.index(static_cast<int64_t>(i) + 1))]);
    }
    epoch_ = epoch;
  }
  return order_[static_cast<size_t>(position % count)];
}

Batch BatchSource::batch(int64_t step) {
  const int64_t size = config_.train.batch;
  std::vector<Tensor> features;
  std::vector<const TrainingClip::Caption*> captions;
  std::vector<std::vector<int32_t>> caption_rows;
  std::array<std::vector<std::vector<int32_t>>, kAspects> aspect_rows;
  // Four draws a clip: the caption and one annotation of each aspect.
  Generator choice(static_cast<uint64_t>(config_.train.seed),
                   kChoiceStream + static_cast<uint64_t>(step * size * 4));
  tokens_ = 0;
  for (int64_t i = 0; i < size; ++i) {
    const TrainingClip& clip = clips_[clip_at(step * size + i)];
    const auto& caption =
        clip.captions[static_cast<size_t>(choice.index(static_cast<int64_t>(clip.captions.size())))];
    captions.push_back(&caption);
    caption_rows.push_back(caption.ids);
    tokens_ += static_cast<int64_t>(caption.ids.size()) - 1;
    for (size_t k = 0; k < kAspects; ++k) {
      const double point = choice.uniform();
      const auto& annotations = caption.aspects[k];
      aspect_rows[k].emplace_back();
      if (annotations.empty()) continue;
      const auto at = static_cast<size_t>(point * static_cast<double>(annotations.size()));
      aspect_rows[k].back() = annotations[std::min(at, annotations.size() - 1)];
      if (model_.has_aspect(static_cast<int>(k)))
        tokens_ += static_cast<int64_t>(aspect_rows[k].back().size()) - 1;
    }
    features.push_back(config_.train.train_encoder ? extractor_.frames(clip.file) : clip.features);
  }
  Batch batch;
  if (config_.train.train_encoder) {
    for (const Tensor& frames : features) batch.lengths.push_back(static_cast<int32_t>(frames.dim(0)));
    batch.frames = ops::concat(features, 0);
  } else {
    FeatureBatch stacked = stack_features(features);
    batch.features = std::move(stacked.features);
    batch.lengths = std::move(stacked.lengths);
  }
  const int64_t n = *std::max_element(batch.lengths.begin(), batch.lengths.end());
  batch.caption = token_rows(caption_rows, model_.caption_tokens.pad);
  for (size_t k = 0; k < kAspects; ++k) {
    if (model_.has_aspect(static_cast<int>(k)))
      batch.aspects[k] = token_rows(aspect_rows[k], model_.commonsense_tokens.pad);
  }
  if (teacher_ != nullptr) batch.teacher = teacher_->features(captions, batch.lengths, n);
  return batch;
}

}  // namespace clipcap
