// What captioning one clip costs, part by part. Nothing here is a formula: each part runs once, on zeros, and
// the cost of every op that it calls is added up (tensor/op.h).
#pragma once

#include <string>
#include <vector>

#include "clipcap/model.h"

namespace clipcap {

struct ModelFlops {
  double encoder = 0;          // n frames through E_I
  double projection = 0;       // d_v -> d
  std::vector<double> scales;  // each fusion block at its own length, n / 2^s
  double fusion = 0;           // all of F: the blocks, squeezing, expanding, aggregating
  double vis2text = 0;         // Vis2Text, and what makes memory rows of its output
  /// A decoder writing a text of the greatest length, token by token, greedily.
  struct Decoder {
    std::string name;         // caption, or an aspect's
    int64_t tokens = 0;       // steps: the length without sos
    int64_t memory_rows = 0;  // that it attends to
    double memory = 0;        // keys and values of the memory, once
    double text = 0;          // all steps: self-attention, attention over the memory, MLPs, logits
  };
  std::vector<Decoder> decoders;  // the sub-decoders that are on, then the caption's
  double clip = 0;                // everything together
};

/// Of a model that is not packed, for clips of model.frames frames.
[[nodiscard]] ModelFlops count_model_flops(const CaptionModel& model);

}  // namespace clipcap
