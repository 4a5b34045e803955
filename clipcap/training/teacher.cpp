#include "clipcap/training/teacher.h"

#include <algorithm>

#include "clipcap/cache/cache_folder.h"
#include "clipcap/cache/sha256.h"
#include "clipcap/data/feature_cache.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
#include "tensor/library_versions.h"
#include "tensor/ops.h"

namespace clipcap {
namespace {

std::string described(const TextGeometry& g) {
  return concat_text("width ", g.width, " layers ", g.layers, " heads ", g.heads, " embed ", g.embed,
                     " hidden ", g.mlp_width(), " vocab ", g.vocab, " context ", g.context);
}

}  // namespace

Teacher::Teacher(const Config& config, const Vocabularies& vocabularies)
    : pooled_(config.loss.distill_target != "tokens") {
  const EncoderConfig& encoder = config.encoder;
  const std::string target = "; teacher " + config.loss.distill_target;
  const std::string& file = encoder.text_weights.empty() ? encoder.weights : encoder.text_weights;
  if (!file.empty()) {
    const std::string why = concat_text("; loss.distill = ", config.loss.distill, " needs ");
    const std::string activation = encoder.text_weights.empty() ? encoder.activation : "auto";
    Encoders encoders =
        load_encoders(file, {.activation = activation, .image = false, .text_record = encoder.text_settings});
    CHECK_INPUT(encoders.text, file, ": no text tower in it", why,
                "one (encoder.text_weights, or loss.distill=0)");
    CHECK_INPUT(!encoder.tokenizer.empty(), "encoder.tokenizer is empty", why,
                "CLIP's vocabulary file, bpe_simple_vocab_16e6.txt.gz or tokenizer.json (or loss.distill=0)");
    tower_ = std::move(encoders.text);
    tokenizer_ = std::make_unique<ClipTokenizer>(ClipTokenizer::load(encoder.tokenizer));
    check_tokenizer(*tower_, *tokenizer_, encoder.tokenizer, file);
    name_ = concat_text("text tower of ", checkpoint_sha256(file), ", ",
                        record_settings(tower_->settings(), tower_->geometry().heads), ", ",
                        described(tower_->geometry()), target);
    return;
  }
  // Streams of the seed of its own: switching distillation off leaves the captioner's initial values
  // as they are.
  Generator generator(static_cast<uint64_t>(config.train.seed), 1ULL << 32);
  TextGeometry geometry = config.model.text;
  geometry.vocab = vocabularies.caption.size();
  geometry.context = config.model.caption_length;
  tower_ = std::make_unique<TextTower>(geometry, Activation::quick_gelu, generator);
  nn::set_requires_grad(*tower_, false);
  name_ = concat_text("random text tower, seed ", config.train.seed, ", ", described(geometry), target);
}

std::vector<int32_t> Teacher::tokens(std::string_view text, std::span<const int32_t> ids) const {
  if (!tokenizer_) return {ids.begin(), ids.end()};
  const std::string own(text);
  const TokenRows rows = tokenizer_->encode_rows(std::span(&own, 1), {.context = tower_->geometry().context});
  tower_->check_ids(rows.ids, own);
  const TextTower::Reading reading = tower_->reading(rows.context, rows.end_positions[0]);
  return {rows.ids.begin(), rows.ids.begin() + reading.length};
}

Tensor Teacher::encode(const std::vector<std::vector<int32_t>>& captions) const {
  const NoGrad guard;
  size_t longest = 1;
  for (const auto& caption : captions) longest = std::max(longest, caption.size());
  // The tower is causal: what fills the rows after a caption's end cannot reach its feature.
  Tensor ids =
      Tensor::zeros({static_cast<int64_t>(captions.size()), static_cast<int64_t>(longest)}, DType::i32);
  std::vector<int32_t> ends;
  for (size_t b = 0; b < captions.size(); ++b) {
    CHECK(!captions[b].empty(), "Teacher: caption ", b, " of the batch has no tokens");
    std::copy(captions[b].begin(), captions[b].end(), ids.host<int32_t>() + b * longest);
    // Where a tower that is not causal reads a whole row, the end token stands somewhere in it.
    const auto end = tokenizer_ && !tower_->settings().causal
                         ? std::find(captions[b].begin(), captions[b].end(), tokenizer_->end())
                         : captions[b].end() - 1;
    const auto position = static_cast<int32_t>(std::min(end, captions[b].end() - 1) - captions[b].begin());
    ends.push_back(tower_->reading(static_cast<int64_t>(captions[b].size()), position).position);
  }
  if (pooled_) return tower_->forward(ids, ends, nn::Run{}).value();
  const Tensor all = tower_->token_features(ids, nn::Run{}).value();  // [B,longest,e]
  std::vector<Tensor> rows;
  for (size_t b = 0; b < captions.size(); ++b) {
    const Tensor own = all.slice(0, static_cast<int64_t>(b), 1).slice(1, 0, ends[b] + 1);
    rows.push_back(own.contiguous().reshape({ends[b] + 1, all.dim(2)}));
  }
  return ops::concat(rows, 0);
}

TeacherFeatures TeacherFeatures::load(const Teacher& teacher, const CaptionedClips& clips, bool cache,
                                      const std::function<void(size_t, size_t)>& progress) {
  TeacherFeatures result;
  result.pooled_ = teacher.pooled();
  constexpr size_t kCaptionsAtOnce = 64;
  for (size_t first = 0; first < clips.captions(); first += kCaptionsAShard) {
    const size_t last = std::min(clips.captions(), first + kCaptionsAShard);
    std::vector<std::vector<int32_t>> captions;
    Shard shard;
    Sha256 identity;
    identity.update(teacher.name() + "; " + compute_library_version());
    int32_t rows = 0;
    for (size_t c = first; c < last; ++c) {
      captions.push_back(teacher.tokens(clips.text(c), clips.ids(c)));
      identity.update(concat_text("\n", captions.back().size(), ' '));
      identity.update(std::as_bytes(std::span(captions.back())));
      rows += teacher.pooled() ? 1 : static_cast<int32_t>(captions.back().size());
      shard.ends.push_back(rows);
    }
    const std::string key = identity.hex();
    const Shape shape{rows, teacher.feature_dim()};
    if (cache) shard.features = map_cached_features(key);
    if (!shard.features.defined() || shard.features.shape() != shape) {
      // Which captions share a batch depends on nothing but the data, so the same run gets the same bits.
      std::vector<Tensor> parts;
      for (size_t at = 0; at < captions.size(); at += kCaptionsAtOnce) {
        check_interrupted();
        const size_t end = std::min(captions.size(), at + kCaptionsAtOnce);
        parts.push_back(teacher.encode({captions.begin() + static_cast<std::ptrdiff_t>(at),
                                        captions.begin() + static_cast<std::ptrdiff_t>(end)}));
      }
      shard.features = ops::concat(parts, 0);
      if (cache && store_cached_features(key, shard.features)) {
        const Tensor mapped = map_cached_features(key);
        if (mapped.defined()) shard.features = mapped;
      }
      if (progress) progress(last, clips.captions());
    }
    result.shards_.push_back(std::move(shard));
  }
  return result;
}

Tensor TeacherFeatures::rows(size_t caption) const {
  const Shard& shard = shards_.at(caption / kCaptionsAShard);
  const size_t own = caption % kCaptionsAShard;
  const int32_t begin = own == 0 ? 0 : shard.ends[own - 1];
  return shard.features.slice(0, begin, shard.ends[own] - begin);
}

Tensor TeacherFeatures::batch(std::span<const size_t> captions, const std::vector<int32_t>& lengths,
                              int64_t n) const {
  std::vector<Tensor> result;
  for (size_t b = 0; b < captions.size(); ++b) {
    const Tensor all = rows(captions[b]);
    if (pooled_) {
      result.push_back(all);
      continue;
    }
    const auto length = static_cast<int32_t>(all.dim(0));
    const Tensor weights = expand_matrix({length}, length, {lengths[b]}, n, DType::f32);
    result.push_back(ops::matmul(weights, all.reshape({1, all.dim(0), all.dim(1)})));
  }
  return ops::concat(result, 0);
}

}  // namespace clipcap
