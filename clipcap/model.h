// CLIP4VideoCap on one screen.
//
//   frames [B,n,3,R,R] --encoder E_I--> v [B,n,d_v] --projection--> [B,n,d] --fusion F--> f [B,n,d]  eq. 1, 2
//   f --Vis2Text--> vt [B,n,e]                                                                       eq. 3, 4
//   captions --text tower E_T, frozen--> T_CLIP [B,e]      L_distill = mean |T_CLIP - vt|            eq. 5, 6
//   memory m = [f ; vt]                                    2n rows of d, padding masked
//   m --sub-decoder k--> h_k [B,L_k,d], text               k in {intention, effect, attribute}       sec. 2.4
//   [m ; h_int ; h_eff ; h_att] --caption decoder--> text                                            figure 1
//   L = lambda L_distill + alpha_1 L_cap + alpha_2 L_int + alpha_3 L_eff + alpha_4 L_att             eq. 7, 8
//
// B clips, n frames, d = 512, e the size of CLIP's joint space. Continue with nn/attention.h.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "clipcap/config/config.h"
#include "clipcap/encoders/towers.h"
#include "clipcap/parts/fusion.h"
#include "clipcap/parts/text_decoder.h"
#include "clipcap/parts/vis2text.h"

namespace clipcap {

inline constexpr int kAspects = 3;
inline constexpr std::array<const char*, kAspects> kAspectNames{"intention", "effect", "attribute"};

/// Ids of a vocabulary's special tokens; never assumed, since V2C's dictionaries differ.
struct SpecialTokens {
  int32_t pad = 0;
  int32_t sos = 2;
  int32_t eos = 3;
  int32_t unk = -1;  // -1: none
};

/// What the losses of a batch are divided by, counted over the whole global batch: when several ranks or
/// micro-batches share it, the sums of their losses and gradients are those of the batch as a whole.
/// 0: the batch itself is the whole, its own rows count.
struct Denominators {
  double caption = 0;                      // tokens predicted: those after sos, up to eos
  std::array<double, kAspects> aspects{};  // the same, over clips that have an annotation
  double distill = 0;                      // real frames
};

/// One training step's input. Token rows begin with sos, end with eos and are filled with pad.
struct Batch {
  Tensor features;               // [B,n,d_v], zero rows past each length; or, to train the encoder too:
  Tensor frames;                 // [sum of lengths,3,R,R], the clips' frames one after the other
  Variable encoded;              // [sum of lengths,d_v]: their features where they are computed apart
  std::vector<int32_t> lengths;  // B: real frames of each clip
  Tensor teacher;                // T_CLIP [B,e] or [B,n,e]; undefined when loss.distill = 0
  Tensor caption;                // i32 [B,L]
  /// i32 [B,L_k]; a clip without annotation is all pad. Undefined where the sub-decoder is off.
  std::array<Tensor, kAspects> aspects;
  Denominators denominators;
};

/// Scalars of eq. 7 and 8; undefined where a part is off.
struct Losses {
  Variable total;
  Variable distill;
  Variable caption;
  std::array<Variable, kAspects> aspects;
};

/// The rows a decoder attends to.
struct Memory {
  Variable rows;          // [B,M,d]
  Tensor valid;           // u8 [B,M]
  Tensor frames_valid{};  // u8 [B,n]: the clips' real frames, which f and vt stand for
};

class CaptionModel : public nn::Module {
 public:
  /// The captioner on top of `encoder`, with fresh parameters from `generator`.
  CaptionModel(const Config& config, std::unique_ptr<ImageEncoder> encoder, int64_t caption_vocab,
               int64_t commonsense_vocab, Generator& generator);

  /// Features [B,n,d_v] of clips with lengths[b] real frames: m = [f ; vt]. `vis2text_rows` receives
  /// vt [B,n,e].
  [[nodiscard]] Memory encode(const Variable& features, const std::vector<int32_t>& lengths,
                              const nn::Run& run, Variable* vis2text_rows = nullptr) const;
  /// All losses of a batch with teacher forcing.
  [[nodiscard]] Losses losses(const Batch& batch, const nn::Run& run) const;
  /// m with the hidden states of the sub-decoders appended, type embeddings added.
  [[nodiscard]] Memory extended(const Memory& memory, const std::array<Variable, kAspects>& hidden,
                                const std::array<Tensor, kAspects>& valid) const;

  void visit(nn::Visitor& visitor) override;

  std::unique_ptr<ImageEncoder> encoder;  // "encoder.*"
  nn::Linear projection;                  // d_v -> d when they differ
  TemporalFusion fusion;
  Vis2Text vis2text;
  nn::Linear text_projection;  // e -> d when they differ
  Variable memory_type;        // [2 + 3, d]: f, vt, intention, effect, attribute
  nn::LayerNorm memory_norm;   // d
  Variable caption_table;      // [V,d], tied
  Variable commonsense_table;  // [V_c,d], tied, shared by the sub-decoders
  std::array<std::unique_ptr<TextDecoder>, kAspects> subdecoders;  // null where switched off
  TextDecoder caption_decoder;
  SpecialTokens caption_tokens;
  SpecialTokens commonsense_tokens;

  [[nodiscard]] bool has_aspect(int k) const { return subdecoders[static_cast<size_t>(k)] != nullptr; }
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] int64_t aspect_length(int k) const;

 private:
  Config config_;
};

}  // namespace clipcap
