#include "clipcap/report/model_flops.h"

#include "tensor/cost_counter.h"

namespace clipcap {
namespace {

// FLOPs of the ops that `part` calls.
template <class Part>
double flops_of(Part&& part) {
  const CostCounter counter;
  part();
  return counter.total().flops;
}

Tensor all_valid(int64_t rows) { return valid_mask({static_cast<int32_t>(rows)}, rows); }

ModelFlops::Decoder decoder_flops(const std::string& name, const TextDecoder& decoder, const Variable& table,
                                  const SpecialTokens& tokens, const Memory& memory) {
  ModelFlops::Decoder result{
      .name = name, .tokens = decoder.options().max_length - 1, .memory_rows = memory.rows.dim(1)};
  TextDecoder::State state;
  result.memory = flops_of([&] { state = decoder.start(memory.rows, memory.valid, 1); });
  const Tensor word = Tensor::full({1}, tokens.sos, DType::i32);
  result.text = flops_of([&] {
    for (int64_t step = 0; step < result.tokens; ++step)
      static_cast<void>(decoder.logits(decoder.step(state, table, word), table));
  });
  return result;
}

}  // namespace

ModelFlops count_model_flops(const CaptionModel& model) {
  const NoGrad guard;
  const ModelConfig& m = model.config().model;
  const std::vector<int32_t> lengths{static_cast<int32_t>(m.frames)};
  ModelFlops result;
  const int64_t side = model.encoder->resolution();
  if (model.encoder->encodes()) {
    result.encoder = static_cast<double>(m.frames) * flops_of([&] {
                       static_cast<void>(model.encoder->encode(Tensor::zeros({1, 3, side, side})));
                     });
  }
  const Variable features(Tensor::zeros({1, m.frames, model.encoder->feature_dim()}));
  Memory memory;
  const double encode = flops_of([&] { memory = model.encode(features, lengths, {}); });
  if (model.projection.in_features() > 0)
    result.projection = flops_of([&] { static_cast<void>(model.projection.forward(features)); });
  const std::shared_ptr<const FusionPlan> plan = model.fusion.plan(lengths, m.frames, DType::f32);
  const Variable v(Tensor::zeros({1, m.frames, m.dim}));
  result.fusion = flops_of([&] { static_cast<void>(model.fusion.forward(v, *plan, {})); });
  for (size_t s = 0; s < model.fusion.blocks.size(); ++s) {
    const FusionPlan::Scale& scale = plan->scales[s];
    const Variable x(Tensor::zeros({1, scale.valid.dim(1), m.dim}));
    result.scales.push_back(
        flops_of([&] { static_cast<void>(model.fusion.blocks[s].forward(x, scale, {})); }));
  }
  result.vis2text = encode - result.projection - result.fusion;
  result.clip = result.encoder + encode;
  std::array<Variable, kAspects> hidden;
  std::array<Tensor, kAspects> valid;
  for (size_t k = 0; k < kAspects; ++k) {
    if (!model.subdecoders[k]) continue;
    result.decoders.push_back(decoder_flops(kAspectNames[k], *model.subdecoders[k], model.commonsense_table,
                                            model.commonsense_tokens, memory));
    const int64_t rows = result.decoders.back().tokens;
    hidden[k] = Variable(Tensor::zeros({1, rows, m.dim}));
    valid[k] = all_valid(rows);
  }
  Memory everything;
  result.clip += flops_of([&] { everything = model.extended(memory, hidden, valid); });
  result.decoders.push_back(
      decoder_flops("caption", model.caption_decoder, model.caption_table, model.caption_tokens, everything));
  for (const ModelFlops::Decoder& decoder : result.decoders) result.clip += decoder.memory + decoder.text;
  return result;
}

}  // namespace clipcap
