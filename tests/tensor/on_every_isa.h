// Runs a check once for every instruction set that this machine has, and restores the one in use.
#pragma once

#include <utility>

#include "tensor/kernels/isa.h"
#include "tests/catch.h"

namespace clipcap::testing {

template <class Body>
void on_every_isa(Body&& body) {
  struct Restore {
    Isa isa = active_isa();
    ~Restore() { set_active_isa(isa); }
  } restore;
  for (const Isa isa : {restore.isa, Isa::avx2}) {
    if (isa != restore.isa && restore.isa != Isa::avx512) continue;
    if (isa != restore.isa) set_active_isa(isa);
    INFO("instruction set " << name_of(isa));
    body();
    if (restore.isa == Isa::avx2) break;
  }
}

}  // namespace clipcap::testing
