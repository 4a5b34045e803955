// torchvision's names and shapes of a ResNet, and BatchNorm folded into its convolutions.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "clipcap/encoders/resnet.h"
#include "nn/init.h"
#include "tensor/problem_list.h"

namespace clipcap {
namespace {

constexpr double kEpsilon = 1e-5;  // of every BatchNorm2d in torchvision's ResNets

// A convolution of the model and what torchvision calls it and the BatchNorm after it.
struct Layer {
  nn::Conv2d* convolution;
  std::string weight;  // "layer1.0.conv1.weight"
  std::string norm;    // "layer1.0.bn1"
};

// Without "module." (torch.nn.DataParallel) where every name has it.
nn::StateDict without_prefix(const nn::StateDict& tensors) {
  const std::string prefix = "module.";
  if (!std::all_of(tensors.begin(), tensors.end(),
                   [&](const auto& item) { return item.first.starts_with(prefix); })) {
    return tensors;
  }
  nn::StateDict result;
  for (const auto& [name, value] : tensors) result[name.substr(prefix.size())] = value;
  return result;
}

// One more than the largest B in names "layer<stage>.B.…"; numbers beyond the bound are left to be surplus.
int64_t count_blocks(const nn::StateDict& tensors, const std::string& stage) {
  int64_t count = 1;
  for (auto item = tensors.lower_bound(stage); item != tensors.end() && item->first.starts_with(stage);
       ++item) {
    int64_t block = 0;
    const char* end = item->first.data() + item->first.size();
    const auto [rest, error] = std::from_chars(item->first.data() + stage.size(), end, block);
    const bool number = error == std::errc() && rest != end && *rest == '.';
    if (number && block >= 0 && block < kMaxResnetBlocks) count = std::max(count, block + 1);
  }
  return count;
}

// Where something is missing the default stands in, so that the error can name everything else too.
ResnetGeometry geometry_of(const nn::StateDict& tensors, int64_t resolution) {
  ResnetGeometry geometry;
  geometry.resolution = resolution;
  for (size_t stage = 0; stage < geometry.blocks.size(); ++stage)
    geometry.blocks[stage] = count_blocks(tensors, "layer" + std::to_string(stage + 1) + ".");
  const auto first = tensors.find("conv1.weight");
  if (first != tensors.end() && first->second.rank() == 4) {
    const int64_t width = first->second.dim(0);
    if (width >= 1 && width <= kMaxResnetWidth) geometry.width = width;
  }
  return geometry;
}

std::vector<Layer> layers_of(Resnet& resnet) {
  std::vector<Layer> layers{{&resnet.stem, "conv1.weight", "bn1"}};
  for (size_t stage = 0; stage < resnet.stages.size(); ++stage) {
    for (size_t block = 0; block < resnet.stages[stage].size(); ++block) {
      Bottleneck& module = resnet.stages[stage][block];
      const std::string prefix = concat_text("layer", stage + 1, '.', block, '.');
      layers.push_back({&module.reduce, prefix + "conv1.weight", prefix + "bn1"});
      layers.push_back({&module.spatial, prefix + "conv2.weight", prefix + "bn2"});
      layers.push_back({&module.expand, prefix + "conv3.weight", prefix + "bn3"});
      if (module.shortcut) {
        layers.push_back({module.shortcut.get(), prefix + "downsample.0.weight", prefix + "downsample.1"});
      }
    }
  }
  return layers;
}

// What kind of ResNet it is, where that can be told and is none that is read.
const char* variant_of(const nn::StateDict& tensors) {
  const auto shape = [&](const char* name) {
    const auto found = tensors.find(name);
    return found != tensors.end() && found->second.rank() == 4 ? found->second.shape() : Shape{};
  };
  const Shape stem = shape("conv1.weight");
  const Shape spatial = shape("layer1.0.conv2.weight");
  if (!tensors.contains("layer1.0.conv3.weight") && spatial.rank() == 4)
    return " (one of basic blocks, as ResNet-18 and -34; 50, 101 and 152 are read)";
  if (spatial.rank() == 4 && spatial[1] * 2 <= spatial[0])
    return " (a ResNeXt: its convolutions are grouped)";
  if (spatial.rank() == 4 && stem.rank() == 4 && spatial[0] == 2 * stem[0]) return " (a Wide ResNet)";
  if (tensors.contains("conv1.0.weight")) return " (a ResNet-D: its stem has three convolutions)";
  return "";
}

// Throws unless `tensors` is exactly what `layers` need, apart from what is ignored.
void check_tensors(const nn::StateDict& tensors, const std::vector<Layer>& layers,
                   const std::string& source) {
  ProblemList problems;
  std::set<std::string> known;
  const auto want = [&](const std::string& name, const Shape& shape) {
    known.insert(name);
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      problems.add("missing ", name, ' ', shape);
    } else if (found->second.shape() != shape) {
      problems.add("shape of ", name, " is ", found->second.shape(), ", expected ", shape);
    } else if (!is_floating(found->second.dtype())) {
      problems.add("dtype of ", name, " is ", found->second.dtype(), ", expected a floating one");
    }
  };
  for (const Layer& layer : layers) {
    want(layer.weight, layer.convolution->weight.shape());
    const Shape channels = layer.convolution->bias.shape();
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
      want(layer.norm + part, channels);
    known.insert(layer.norm + ".num_batches_tracked");
  }
  for (const auto& [name, value] : tensors) {
    if (!known.contains(name) && !name.starts_with("fc.")) problems.add("surplus ", name, ' ', value.shape());
  }
  CHECK_INPUT(problems.empty(), source, ": not a torchvision bottleneck ResNet", variant_of(tensors), ": ",
              problems.text());
}

// The convolution and its BatchNorm as one convolution with a bias, worked out in double.
void fold(const nn::StateDict& tensors, const Layer& layer, const std::string& source) {
  const auto doubles = [&](const std::string& name) { return tensors.at(name).to(DType::f64).contiguous(); };
  const Tensor weight = doubles(layer.weight);
  const Tensor gamma = doubles(layer.norm + ".weight");
  const Tensor beta = doubles(layer.norm + ".bias");
  const Tensor mean = doubles(layer.norm + ".running_mean");
  const Tensor variance = doubles(layer.norm + ".running_var");
  const Tensor folded = Tensor::empty(weight.shape());
  const Tensor bias = Tensor::empty(gamma.shape());
  const int64_t channels = gamma.numel();
  const int64_t each = weight.numel() / channels;
  for (int64_t o = 0; o < channels; ++o) {
    const double spread = variance.host<double>()[o];
    CHECK_INPUT(spread >= 0.0, source, ": ", layer.norm, ".running_var[", o, "] is ", spread,
                ", expected at least 0");
    const double scale = gamma.host<double>()[o] / std::sqrt(spread + kEpsilon);
    bias.host<float>()[o] = static_cast<float>(beta.host<double>()[o] - mean.host<double>()[o] * scale);
    for (int64_t i = o * each; i < (o + 1) * each; ++i)
      folded.host<float>()[i] = static_cast<float>(weight.host<double>()[i] * scale);
  }
  layer.convolution->weight.set_value(folded);
  layer.convolution->bias.set_value(bias);
}

}  // namespace

std::unique_ptr<Resnet> load_torchvision_resnet(const nn::StateDict& given, const std::string& source,
                                                int64_t resolution) {
  const nn::StateDict tensors = without_prefix(given);
  Generator generator;
  std::unique_ptr<Resnet> resnet;
  {
    const nn::SkipInitialisation skip;
    resnet = std::make_unique<Resnet>(geometry_of(tensors, resolution), generator);
  }
  const std::vector<Layer> layers = layers_of(*resnet);
  check_tensors(tensors, layers, source);
  for (const Layer& layer : layers) fold(tensors, layer, source);
  return resnet;
}

}  // namespace clipcap
