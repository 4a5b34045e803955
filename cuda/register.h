#pragma once

namespace clipcap::cuda {

/// Puts every GPU kernel of register.cu into its op's slot. Called once, when the first device is found.
void register_cuda_ops();

}  // namespace clipcap::cuda
