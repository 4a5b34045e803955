// AdamW over parameter groups, gradient clipping and the learning-rate schedule.
#pragma once

#include <vector>

#include "nn/module.h"

namespace clipcap::nn {

struct AdamwOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.01;  // on weights with two or more dimensions only
};

/// Loshchilov and Hutter 2019, decoupled decay. All tensors are updated in one kernel call.
class AdamW {
 public:
  /// Of the parameters, those that require a gradient, each once however often it is named. Throws Error for
  /// one that is not contiguous f32 or may not be written (a view of a file).
  AdamW(std::vector<NamedParameter> parameters, AdamwOptions options);
  /// One update with learning rate `lr`; gradients are multiplied by `grad_scale` first (clipping).
  /// Parameters without a gradient stay as they are.
  void step(double lr, double grad_scale = 1.0);
  void zero_grad();
  /// Euclidean norm of all gradients together.
  [[nodiscard]] double grad_norm() const;
  /// Multiplies the rate of parameters whose name begins with `prefix` (a fine-tuned encoder, say).
  void set_lr_scale(std::string_view prefix, double scale);

  /// First and second moments by parameter name ("m.…", "v.…") and the step count, for checkpoints.
  [[nodiscard]] StateDict state() const;
  /// InputError beginning with `source` for what is missing, surplus or misshapen; nothing changes then.
  void load_state(const StateDict& state, const std::string& source);
  [[nodiscard]] int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  struct Slot {
    NamedParameter parameter;
    Tensor m;
    Tensor v;
    double weight_decay;
    double lr_scale = 1.0;
  };
  std::vector<Slot> slots_;
  AdamwOptions options_;
  int64_t steps_ = 0;
};

/// Factor that brings a gradient of this norm down to `limit` (1 when it is smaller, or limit <= 0).
[[nodiscard]] double clip_factor(double norm, double limit);

/// Linear warm-up to `peak` over `warmup` steps, then half a cosine down to `peak * floor` at `total`; `step`
/// counts from 0.
[[nodiscard]] double warmup_cosine(int64_t step, int64_t total, int64_t warmup, double peak, double floor);

}  // namespace clipcap::nn
