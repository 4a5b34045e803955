#include "clipcap/model.h"

#include <algorithm>

#include "tensor/ops.h"

namespace clipcap {
namespace {

FusionOptions fusion_options(const ModelConfig& m) {
  return {.kind = parse_fusion_kind(m.fusion_kind),
          .scales = m.fusion_scales,
          .dim = m.dim,
          .bidirectional = m.fusion_bidirectional,
          .heads = m.fusion_heads,
          .dropout = m.dropout};
}

DecoderOptions decoder_options(const ModelConfig& m, int64_t layers, int64_t max_length) {
  return {m.dim, layers, m.heads, m.hidden, m.dropout, max_length};
}

// Teacher forcing: the decoder reads all tokens but the last and predicts all but the first.
struct Shifted {
  Tensor input;    // i32 [B,L-1]
  Tensor target;   // i32 [B,L-1]
  Tensor counted;  // u8 [B,L-1], 1 where the input is a real token other than eos
};

Shifted shift(const Tensor& tokens, const SpecialTokens& special) {
  const int64_t length = tokens.dim(1) - 1;
  // Cloned, since a slice of a single row is contiguous and would be written in the batch itself.
  Shifted result{tokens.slice(1, 0, length).contiguous(), tokens.slice(1, 1, length).clone(),
                 Tensor::zeros({tokens.dim(0), length}, DType::u8)};
  const auto* input = result.input.host<int32_t>();
  auto* target = result.target.host<int32_t>();
  auto* counted = result.counted.host<uint8_t>();
  for (int64_t b = 0; b < tokens.dim(0); ++b) {
    // A vocabulary without a padding token uses another id as filler: what follows the first
    // eos never counts.
    const bool absent = input[b * length] != special.sos;
    bool ended = absent;
    for (int64_t i = b * length; i < (b + 1) * length; ++i) {
      if (ended) target[i] = -1;
      counted[i] = ended ? 0 : 1;
      if (target[i] == special.eos) ended = true;
    }
  }
  return result;
}

// End-to-end training: all frames through the encoder, then back into one padded row of frames
// a clip, [B,n,d_v].
Variable encoded_frames(const ImageEncoder& encoder, const Batch& batch, const nn::Run& run) {
  const Variable encoded =
      batch.encoded.defined() ? batch.encoded : encoder.forward(Variable(batch.frames), run);
  const int64_t n = *std::max_element(batch.lengths.begin(), batch.lengths.end());
  std::vector<Variable> clips;
  int64_t at = 0;
  for (const int32_t length : batch.lengths) {
    const Variable own = diff::slice(encoded, 0, at, length);
    const Variable padding(
        Tensor::zeros({n - length, encoded.dim(1)}, encoded.dtype(), encoded.value().device()));
    clips.push_back(
        diff::reshape(length < n ? diff::concat({own, padding}, 0) : own, {1, n, encoded.dim(1)}));
    at += length;
  }
  return diff::concat(clips, 0);
}

}  // namespace

CaptionModel::CaptionModel(const Config& config, std::unique_ptr<ImageEncoder> image_encoder,
                           int64_t caption_vocab, int64_t commonsense_vocab, Generator& generator)
    : encoder(std::move(image_encoder)),
      fusion(fusion_options(config.model), generator),
      vis2text(config.model.dim, config.model.text.embed, config.model.vis2text_activation == "relu",
               generator),
      memory_type(nn::normal_parameter({2 + kAspects, config.model.dim}, 0.1, generator)),
      memory_norm(config.model.dim),
      caption_table(make_token_table(caption_vocab, config.model.dim, generator)),
      caption_decoder(decoder_options(config.model, config.model.decoder_layers, config.model.caption_length),
                      generator),
      config_(config) {
  const ModelConfig& m = config.model;
  if (encoder->feature_dim() != m.dim) projection = nn::Linear(encoder->feature_dim(), m.dim, generator);
  if (m.text.embed != m.dim) text_projection = nn::Linear(m.text.embed, m.dim, generator);
  for (int k = 0; k < kAspects; ++k) {
    const auto at = static_cast<size_t>(k);
    if (std::find(m.subdecoders.begin(), m.subdecoders.end(), kAspectNames[at]) == m.subdecoders.end())
      continue;
    subdecoders[at] =
        std::make_unique<TextDecoder>(decoder_options(m, m.subdecoder_layers, aspect_length(k)), generator);
  }
  if (!m.subdecoders.empty()) commonsense_table = make_token_table(commonsense_vocab, m.dim, generator);
}

int64_t CaptionModel::aspect_length(int k) const {
  const ModelConfig& m = config_.model;
  return k == 0 ? m.intention_length : k == 1 ? m.effect_length : m.attribute_length;
}

Memory CaptionModel::encode(const Variable& features, const std::vector<int32_t>& lengths, const nn::Run& run,
                            Variable* vis2text_rows) const {
  nn::Call call(run, *this, "encode", features);
  const Variable v = projection.in_features() > 0 ? projection.forward(features, run) : features;
  const std::shared_ptr<const FusionPlan> plan = fusion.plan(lengths, v.dim(1), v.dtype());
  const Variable f = fusion.forward(v, *plan, run);
  const Variable vt = vis2text.forward(f, run);
  if (vis2text_rows != nullptr) *vis2text_rows = vt;
  const Variable text_rows = text_projection.in_features() > 0 ? text_projection.forward(vt, run) : vt;
  const Variable typed_f = diff::add(f, diff::slice(memory_type, 0, 0, 1));
  const Variable typed_vt = diff::add(memory_norm.forward(text_rows, run), diff::slice(memory_type, 0, 1, 1));
  const Tensor& valid = plan->scales[0].valid;
  const std::array<Tensor, 2> masks{valid, valid};
  return {call.returns(diff::concat({typed_f, typed_vt}, 1)), ops::concat(masks, 1), valid};
}

Memory CaptionModel::extended(const Memory& memory, const std::array<Variable, kAspects>& hidden,
                              const std::array<Tensor, kAspects>& valid) const {
  std::vector<Variable> rows{memory.rows};
  std::vector<Tensor> masks{memory.valid};
  for (int k = 0; k < kAspects; ++k) {
    const auto at = static_cast<size_t>(k);
    if (!hidden[at].defined()) continue;
    rows.push_back(diff::add(hidden[at], diff::slice(memory_type, 0, 2 + k, 1)));
    masks.push_back(valid[at]);
  }
  if (rows.size() == 1) return memory;
  return {diff::concat(rows, 1), ops::concat(masks, 1), memory.frames_valid};
}

Losses CaptionModel::losses(const Batch& batch, const nn::Run& run) const {
  nn::Call call(run, *this, "losses", batch.frames, batch.features, batch.caption);
  const LossConfig& weights = config_.loss;
  Losses result;
  Variable vt;
  const Variable features =
      batch.frames.defined() ? encoded_frames(*encoder, batch, run) : Variable(batch.features);
  const Memory memory = encode(features, batch.lengths, run, &vt);
  const auto include = [&](const Variable& loss, double weight) {
    if (weight == 0.0) return;
    const Variable part = diff::scale(loss, weight);
    result.total = result.total.defined() ? diff::add(result.total, part) : part;
  };
  if (batch.teacher.defined() && weights.distill > 0) {
    result.distill = diff::l1_distill(vt, batch.teacher, memory.frames_valid, batch.denominators.distill);
    include(result.distill, weights.distill);
  }
  std::array<Variable, kAspects> hidden;
  std::array<Tensor, kAspects> valid;
  for (size_t k = 0; k < kAspects; ++k) {
    if (!subdecoders[k]) continue;
    CHECK(batch.aspects[k].defined(), "CaptionModel: the batch has no ", kAspectNames[k]);
    const Shifted tokens = shift(batch.aspects[k], commonsense_tokens);
    hidden[k] = subdecoders[k]->forward(commonsense_table, tokens.input, memory.rows, memory.valid, run);
    valid[k] = tokens.counted;
    result.aspects[k] =
        diff::cross_entropy(subdecoders[k]->logits(hidden[k], commonsense_table, run), tokens.target, -1,
                            weights.label_smoothing, batch.denominators.aspects[k]);
    include(result.aspects[k], weights.alpha[k + 1]);
  }
  const Memory everything = extended(memory, hidden, valid);
  const Shifted tokens = shift(batch.caption, caption_tokens);
  const Variable states =
      caption_decoder.forward(caption_table, tokens.input, everything.rows, everything.valid, run);
  result.caption = diff::cross_entropy(caption_decoder.logits(states, caption_table, run), tokens.target, -1,
                                       weights.label_smoothing, batch.denominators.caption);
  include(result.caption, weights.alpha[0]);
  CHECK(result.total.defined(), "CaptionModel: every loss has weight 0");
  call.returns(result.total);
  return result;
}

void CaptionModel::visit(nn::Visitor& visitor) {
  visitor("encoder", encoder);
  if (projection.in_features() > 0) visitor("projection", projection);
  visitor("fusion", fusion);
  visitor("vis2text", vis2text);
  if (text_projection.in_features() > 0) visitor("text_projection", text_projection);
  visitor("memory_type", memory_type);
  visitor("memory_norm", memory_norm);
  visitor("caption_table", caption_table);
  visitor("commonsense_table", commonsense_table);
  for (size_t k = 0; k < kAspects; ++k) visitor(kAspectNames[k], subdecoders[k]);
  visitor("caption_decoder", caption_decoder);
}

}  // namespace clipcap
