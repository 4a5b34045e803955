#include "tensor/cost_counter.h"

namespace clipcap {
namespace {

CostCounter* counting = nullptr;

}  // namespace

CostCounter::CostCounter() : before_(op_hook) {
  CHECK(counting == nullptr, "CostCounter: another one is counting");
  counting = this;
  op_hook = count;
}

CostCounter::~CostCounter() {
  op_hook = before_;
  counting = nullptr;
}

void CostCounter::count(const OpCall& call, bool begin) {
  if (begin) counting->costs_[call.op] += call.cost;
}

Cost CostCounter::total() const {
  Cost total;
  for (const auto& [op, cost] : costs_) total += cost;
  return total;
}

Cost CostCounter::of(const std::string& op) const {
  const auto found = costs_.find(op);
  return found == costs_.end() ? Cost{} : found->second;
}

}  // namespace clipcap
