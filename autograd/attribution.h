// For whom this thread computes right now. A profiler's op hook (tensor/op.h) asks it, so that time is booked
// to the module that called an operation: forward, and backward too, since every recorded operation remembers
// the module that was current when it was recorded (autograd/node.h).
#pragma once

namespace clipcap {

struct Attribution {
  const void* module = nullptr;  // the innermost nn::Module being called; null outside of any
  bool backward = false;         // true while backward() runs an operation that the module recorded
};

[[nodiscard]] Attribution current_attribution();
void set_attribution(Attribution now);

/// Makes `now` the calling thread's attribution for as long as it lives.
class AttributionScope {
 public:
  explicit AttributionScope(Attribution now);
  ~AttributionScope();
  AttributionScope(const AttributionScope&) = delete;
  AttributionScope& operator=(const AttributionScope&) = delete;

 private:
  Attribution before_;
};

}  // namespace clipcap
