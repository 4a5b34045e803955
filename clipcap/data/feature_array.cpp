#include "clipcap/data/feature_array.h"

#include <cmath>
#include <cstring>

#include "tensor/io/npy.h"

namespace clipcap {

bool is_feature_array(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return ending == ".npy";
}

void check_finite_features(const Tensor& features, const std::string& where) {
  const int64_t columns = features.dim(1);
  const Tensor rows = features.contiguous();
  const float* at = rows.host<float>();
  for (int64_t i = 0; i < rows.numel(); ++i) {
    if (std::isfinite(at[i])) [[likely]]
      continue;
    fail_input(where, ": row ", i / columns, ", column ", i % columns, " holds ", at[i],
               "; features are finite 32-bit numbers");
  }
}

Tensor read_feature_array(const std::filesystem::path& path, int64_t dim, const FrameSampling& sampling) {
  const Tensor array = read_npy(path);
  CHECK_INPUT(is_floating(array.dtype()) && array.rank() == 2 && array.dim(1) == dim && array.dim(0) > 0,
              path.string(), ": ", array.dtype(), ' ', array.shape(), " is not features [n, ", dim, "]");
  // All rows are looked at, those too that the rule leaves out: a file with a hole is not to be trusted.
  const Tensor all = array.to(DType::f32).contiguous();
  check_finite_features(all, path.string());
  if (all.dim(0) <= sampling.frames) return all.clone();
  const std::vector<int64_t> chosen = sample_indices(all.dim(0), sampling);
  Tensor rows = Tensor::empty({static_cast<int64_t>(chosen.size()), dim});
  for (size_t i = 0; i < chosen.size(); ++i) {
    std::memcpy(rows.host<float>() + static_cast<int64_t>(i) * dim, all.host<float>() + chosen[i] * dim,
                static_cast<size_t>(dim) * sizeof(float));
  }
  return rows;
}

}  // namespace clipcap
