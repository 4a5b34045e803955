#include "clipcap/encoders/clip_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "clipcap/encoders/clip_checkpoint_names.h"
#include "clipcap/encoders/clip_settings.h"
#include "nn/init.h"
#include "tensor/io/checkpoint_files.h"
#include "tensor/ops.h"
#include "tensor/problem_list.h"

namespace clipcap {
namespace {

using detail::ClipParameter;
using Tensors = std::map<std::string, Tensor>;

constexpr int64_t kMostLayers = 256;
constexpr int64_t kMostWidth = 1 << 16;

// Heads are 64 wide in every CLIP but in the image towers of open_clip's three largest.
int64_t usual_heads(int64_t width, bool image) {
  for (const auto& [wide, head] : {std::pair{1280, 80}, std::pair{1408, 88}, std::pair{1664, 104}}) {
    if (image && width == wide) return width / head;
  }
  return std::max<int64_t>(1, width / 64);
}

class Reader {
 public:
  Reader(NetworkWeights network, const std::filesystem::path& path)
      : path_(main_checkpoint_file(path)), name_(path.string()) {
    CHECK_INPUT(network.kind == NetworkWeights::Kind::clip, name_, ": a ResNet, not a CLIP");
    result_.file = name_;
    result_.format = network.format;
    result_.mapped = network.file;
    result_.more = std::move(network.more);
    result_.said = network.said;
    result_.layout = network.layout;
    tensors_ = std::move(network.tensors);
    skipped_ = std::move(network.skipped);
  }

  ClipCheckpoint read(const ClipReadOptions& options) {
    find_layout();
    const bool hugging = result_.layout == ClipLayout::hugging_face;
    patch_name_ = hugging ? "vision_model.embeddings.patch_embedding.weight" : "visual.conv1.weight";
    if (tensors_.contains(patch_name_)) result_.vision = vision_geometry();
    const std::string table =
        hugging ? "text_model.embeddings.token_embedding.weight" : text_prefix_ + "token_embedding.weight";
    if (tensors_.contains(table)) result_.text = text_geometry(table);
    CHECK_INPUT(result_.vision || result_.text, name_, ": no CLIP tower in it: neither ", patch_name_,
                " nor ", table);
    choose_settings(options);
    fold_layer_scales();
    if (result_.vision) {
      take(detail::vision_parameters(*result_.vision, result_.vision_settings, result_.layout),
           result_.vision_weights);
    }
    if (result_.text) {
      take(detail::text_parameters(*result_.text, result_.text_settings, result_.layout, text_prefix_),
           result_.text_weights);
    }
    find_logit_scale();
    find_surplus();
    report_problems();
    return std::move(result_);
  }

 private:
  void find_layout() {
    if (result_.layout == ClipLayout::open_clip) {
      text_prefix_ = "text.";
    } else if (result_.layout == ClipLayout::openai &&
               path_.filename().string().find("open_clip") != std::string::npos) {
      result_.layout = ClipLayout::open_clip;
    }
  }

  const Shape& shape(const std::string& name, int rank) const {
    const auto found = tensors_.find(name);
    CHECK_INPUT(found != tensors_.end(), name_, ": tensor ", name, " is ", absence(name));
    CHECK_INPUT(found->second.rank() == rank, name_, ": tensor ", name, " is ", found->second.shape(),
                ", expected ", rank, " dimensions");
    return found->second.shape();
  }

  int64_t count_layers(const std::string& prefix) const {
    int64_t layers = 0;
    for (auto at = tensors_.lower_bound(prefix); at != tensors_.end() && at->first.starts_with(prefix);
         ++at) {
      const char* digits = at->first.data() + prefix.size();
      int64_t number = -1;
      const auto [end, error] = std::from_chars(digits, at->first.data() + at->first.size(), number);
      if (error != std::errc() || *end != '.') continue;
      CHECK_INPUT(number >= 0 && number < kMostLayers, name_, ": tensor ", at->first, ": at most ",
                  kMostLayers, " layers are read");
      layers = std::max(layers, number + 1);
    }
    return layers;
  }

  VitGeometry vision_geometry() const {
    const bool hugging = result_.layout == ClipLayout::hugging_face;
    VitGeometry g;
    const Shape& patch = shape(patch_name_, 4);
    g.width = patch[0];
    g.patch = patch[2];
    const std::string position =
        hugging ? "vision_model.embeddings.position_embedding.weight" : "visual.positional_embedding";
    const int64_t positions = shape(position, 2)[0];
    const auto grid = static_cast<int64_t>(
        std::lround(std::sqrt(static_cast<double>(std::max<int64_t>(0, positions - 1)))));
    CHECK_INPUT(
        positions >= 2 && grid * grid == positions - 1 && grid <= 4096 && g.patch > 0 && g.patch <= 4096,
        name_, ": tensor ", position, " has ", positions, " rows and the patches are ", g.patch,
        " pixels a side: no square grid of patches and a class token");
    g.resolution = grid * g.patch;
    const std::string layers = hugging ? "vision_model.encoder.layers." : "visual.transformer.resblocks.";
    g.layers = count_layers(layers);
    if (g.layers > 0) g.hidden = shape(layers + (hugging ? "0.mlp.fc1.weight" : "0.mlp.c_fc.weight"), 2)[0];
    const char* projection = hugging ? "visual_projection.weight" : "visual.proj";
    g.embed = tensors_.contains(projection) ? shape(projection, 2)[hugging ? 0 : 1] : 0;
    return g;
  }

  TextGeometry text_geometry(const std::string& table) const {
    const bool hugging = result_.layout == ClipLayout::hugging_face;
    TextGeometry g;
    g.vocab = shape(table, 2)[0];
    g.width = shape(table, 2)[1];
    g.context = shape(
        hugging ? "text_model.embeddings.position_embedding.weight" : text_prefix_ + "positional_embedding",
        2)[0];
    const std::string layers =
        hugging ? "text_model.encoder.layers." : text_prefix_ + "transformer.resblocks.";
    g.layers = count_layers(layers);
    if (g.layers > 0) g.hidden = shape(layers + (hugging ? "0.mlp.fc1.weight" : "0.mlp.c_fc.weight"), 2)[0];
    // A Linear in some of open_clip's, which then has its names.
    const std::string linear = (hugging ? "" : text_prefix_) + "text_projection.weight";
    const std::string matrix = text_prefix_ + "text_projection";
    if (tensors_.contains(linear)) {
      g.embed = shape(linear, 2)[0];
    } else {
      g.embed = !hugging && tensors_.contains(matrix) ? shape(matrix, 2)[1] : 0;
    }
    return g;
  }

  // "missing", or why a tensor of the file was not taken.
  std::string absence(const std::string& name) const {
    const auto found = skipped_.find(name);
    return found == skipped_.end() ? "missing" : "of a kind that is not read: " + found->second;
  }

  void choose_settings(const ClipReadOptions& options) {
    const bool recorded = !options.vision_record.empty() || !options.text_record.empty();
    ClipConfig config;
    if (!recorded || (result_.vision && options.vision_record.empty()) ||
        (result_.text && options.text && options.text_record.empty()))
      config = read_clip_config(path_, result_.layout, result_.vision, result_.text);
    if (!config.passed_over.empty())
      result_.said += "; " + config.passed_over + " is another model's and was not used";
    drop_refused(result_.vision, config.vision.refusal, options.vision, "image");
    drop_refused(result_.text, config.text.refusal, options.text, "text");
    if (config.open_clip && result_.layout == ClipLayout::openai) result_.layout = ClipLayout::open_clip;
    // The text tower first: what people are told is of the image tower where there are both.
    if (result_.text) {
      const std::string refusal =
          settle(*result_.text, config.text, result_.text_settings, options, options.text_record, false);
      drop_refused(result_.text, refusal, options.text, "text");
    }
    if (result_.vision) {
      const std::string refusal = settle(*result_.vision, config.vision, result_.vision_settings, options,
                                         options.vision_record, true);
      drop_refused(result_.vision, refusal, options.vision, "image");
    }
    find_projections(config);
  }

  template <class Geometry>
  void drop_refused(std::optional<Geometry>& tower, const std::string& refusal, bool wanted,
                    const char* which) {
    if (!tower || refusal.empty()) return;
    CHECK_INPUT(!wanted, refusal);
    result_.said += concat_text("; its ", which, " tower is not read: ", refusal);
    tower.reset();
    dropped_ = true;
  }

  // Why the tower cannot be read, if so.
  template <class Geometry, class Settings>
  std::string settle(Geometry& geometry, TowerConfig<Settings>& config, Settings& settings,
                     const ClipReadOptions& options, const std::string& record, bool image) {
    const int64_t width = geometry.width;
    CHECK_INPUT(width > 0 && width <= kMostWidth, name_, ": a tower of width ", width, "; 1 to ", kMostWidth,
                " are read");
    std::string heads_from = "(64 wide, as usual) ";
    settings = config.settings;
    geometry.heads = config.heads > 0 ? config.heads : usual_heads(width, image);
    result_.heads_source = config.heads > 0 ? "from " + config.file : "";
    if (config.heads > 0) heads_from = "(from " + config.file + ") ";
    if (!record.empty()) {
      recall_settings(record, name_ + ": its recorded settings", settings, geometry.heads);
      result_.activation_source = "as recorded";
      result_.heads_source.clear();
      heads_from = "(as recorded) ";
    } else if (options.activation != Activation::none) {
      settings.activation = options.activation;
      result_.activation_source = "as asked for";
    } else if (config.activation) {
      settings.activation = *config.activation;
      result_.activation_source = "from " + config.file;
    } else {
      settings.activation =
          result_.layout == ClipLayout::open_clip ? Activation::gelu : Activation::quick_gelu;
      result_.activation_source = concat_text("by the family of the names (", name_of(result_.layout), ")");
    }
    result_.activation = settings.activation;
    if (width % geometry.heads == 0) return {};
    return concat_text(name_, ": ", geometry.heads, " heads ", heads_from, "do not divide the width ", width,
                       "; a config.json beside the file can say how many there are");
  }

  // A tower by itself may have been saved without the projection that belongs to the pair: its feature is then what it
  // pools. Half a pair without one is damaged.
  void find_projections(const ClipConfig& config) {
    const bool alone = !dropped_ && result_.vision.has_value() != result_.text.has_value();
    const auto settle_one = [&](auto& geometry, auto& settings, bool expected, const std::string& name) {
      if (geometry.embed > 0 && settings.projection) return;
      CHECK_INPUT(!settings.projection || (alone && !expected && !skipped_.contains(name)), name_,
                  ": tensor ", name, " is ", absence(name), "; the model has such a projection");
      settings.projection = false;
      geometry.embed = geometry.width;
    };
    const bool hugging = result_.layout == ClipLayout::hugging_face;
    if (result_.vision) {
      settle_one(*result_.vision, result_.vision_settings, config.has_projection,
                 hugging ? "visual_projection.weight" : "visual.proj");
    }
    if (result_.text) {
      const bool linear = !hugging && tensors_.contains(text_prefix_ + "text_projection.weight");
      if (linear)
        result_.text_settings.projection_bias = tensors_.contains(text_prefix_ + "text_projection.bias");
      CHECK_INPUT(!linear || result_.text_settings.projection_bias, name_, ": tensor ", text_prefix_,
                  "text_projection.bias is ", absence(text_prefix_ + "text_projection.bias"));
      settle_one(*result_.text, result_.text_settings, config.has_projection,
                 hugging ? "text_projection.weight" : text_prefix_ + "text_projection");
    }
  }

  // open_clip's layer scales multiply what a layer's two halves add: their last products and biases can do that.
  void fold_layer_scales() {
    std::vector<std::string> scales;
    for (const auto& [name, tensor] : tensors_) {
      if (name.ends_with(".ls_1.gamma") || name.ends_with(".ls_2.gamma")) scales.push_back(name);
    }
    for (const std::string& name : scales) {
      const Tensor gamma = tensors_.at(name);
      const std::string block = name.substr(0, name.size() - 10);
      const std::string product = block + (name.ends_with("ls_1.gamma") ? "attn.out_proj." : "mlp.c_proj.");
      const auto weight = tensors_.find(product + "weight");
      const auto bias = tensors_.find(product + "bias");
      if (weight == tensors_.end() || bias == tensors_.end()) continue;  // they will be missed
      CHECK_INPUT(gamma.rank() == 1 && weight->second.rank() == 2 && weight->second.dim(0) == gamma.dim(0) &&
                      bias->second.shape() == gamma.shape() && is_floating(gamma.dtype()) &&
                      is_floating(weight->second.dtype()) && is_floating(bias->second.dtype()),
                  name_, ": tensor ", name, " is ", gamma.shape(), ", ", product, "weight ",
                  weight->second.shape());
      const std::vector<double> factors = gamma.to(DType::f64).to_vector<double>();
      for (const auto& at : {weight, bias}) {
        std::vector<double> values = at->second.to(DType::f64).to_vector<double>();
        const size_t row = factors.empty() ? 0 : values.size() / factors.size();
        std::vector<float> scaled(values.size());
        for (size_t i = 0; i < values.size(); ++i)
          scaled[i] = static_cast<float>(values[i] * factors[i / row]);
        at->second = Tensor::from(scaled, at->second.shape());
      }
      used_.insert(name);
    }
  }

  void take(const std::vector<ClipParameter>& parameters, nn::StateDict& weights) {
    for (const ClipParameter& parameter : parameters) {
      std::vector<Tensor> parts;
      for (const std::string& name : parameter.names) {
        used_.insert(name);
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) {
          if (skipped_.contains(name)) {
            problems_.add(name, " is ", absence(name));
          } else {
            problems_.add("missing ", name, ' ', parameter.file_shape);
          }
        } else if (found->second.shape() != parameter.file_shape) {
          problems_.add("shape of ", name, " is ", found->second.shape(), ", expected ",
                        parameter.file_shape);
        } else if (!is_floating(found->second.dtype())) {
          problems_.add(name, " holds ", found->second.dtype(), ", expected floating-point numbers");
        } else {
          parts.push_back(found->second);
        }
      }
      if (problems_.empty()) weights[parameter.ours] = detail::to_tower(parameter, parts);
    }
  }

  void find_logit_scale() {
    const auto one_number = [&](const char* name) -> std::optional<double> {
      const auto found = tensors_.find(name);
      if (found == tensors_.end()) return std::nullopt;
      used_.insert(name);
      if (found->second.numel() == 1) return found->second.to(DType::f64).item();
      problems_.add("shape of ", name, " is ", found->second.shape(), ", expected []");
      return std::nullopt;
    };
    result_.logit_scale = one_number("logit_scale");
    result_.logit_bias = one_number("logit_bias").value_or(0);
  }

  // Tensors that carry no weights: OpenAI's scalars and masks, older Hugging Face files' position numbers,
  // TorchScript's constants.
  static bool is_known_extra(const std::string& name) {
    for (const char* whole : {"input_resolution", "context_length", "vocab_size"}) {
      if (name == whole) return true;
    }
    return name.ends_with("position_ids") || name.ends_with("attn_mask") || name.starts_with("constants.");
  }

  void find_surplus() {
    if (dropped_) return;
    for (const auto& [name, tensor] : tensors_) {
      if (!used_.contains(name) && !is_known_extra(name))
        problems_.add("surplus ", name, ' ', tensor.shape());
    }
  }

  void report_problems() const {
    CHECK_INPUT(problems_.empty(), name_, ": not a complete CLIP (", name_of(result_.layout),
                " names): ", problems_.text());
    CHECK_INPUT(!result_.vision || !result_.text || result_.vision->embed == result_.text->embed, name_,
                ": the image tower ends in ", result_.vision->embed, " numbers, the text tower in ",
                result_.text->embed);
  }

  std::filesystem::path path_;
  std::string name_;
  Tensors tensors_;
  std::map<std::string, std::string> skipped_;
  ClipCheckpoint result_;
  std::string text_prefix_;
  std::string patch_name_;
  std::set<std::string> used_;
  bool dropped_ = false;  // one tower is there and not read
  ProblemList problems_;
};

std::string shown_activation(Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return "GELU";
    case Activation::gelu_tanh:
      return "GELU (tanh)";
    case Activation::relu:
      return "ReLU";
    default:
      return "QuickGELU";
  }
}

}  // namespace

const char* name_of(ClipLayout layout) {
  switch (layout) {
    case ClipLayout::hugging_face:
      return "Hugging Face";
    case ClipLayout::open_clip:
      return "open_clip";
    case ClipLayout::openai:
      break;
  }
  return "OpenAI";
}

ClipLayout parse_clip_layout(const std::string& text) {
  if (text == "openai") return ClipLayout::openai;
  if (text == "hf") return ClipLayout::hugging_face;
  if (text == "open_clip") return ClipLayout::open_clip;
  fail_input("\"", text, "\": expected openai, hf or open_clip");
}

std::string ClipCheckpoint::describe() const {
  std::string text = concat_text(file, ": CLIP, ", name_of(layout), " names, ", format);
  if (vision) {
    text += concat_text("; image tower ViT ", vision->resolution, '/', vision->patch, ", width ",
                        vision->width, ", ", vision->layers, " layers, ", vision->heads, " heads",
                        describe_settings(vision_settings));
  }
  if (this->text) {
    text += concat_text("; text tower width ", this->text->width, ", ", this->text->layers, " layers, ",
                        this->text->heads, " heads, ", this->text->vocab, " tokens",
                        describe_settings(text_settings));
  }
  if (!heads_source.empty()) text += concat_text(" (heads ", heads_source, ")");
  text += concat_text("; embedding ", vision ? vision->embed : this->text->embed);
  const bool differ = vision && this->text && vision_settings.activation != text_settings.activation;
  text += "; " + shown_activation(activation);
  if (differ) text += ", " + shown_activation(text_settings.activation) + " in the text tower,";
  text += ' ' + activation_source + said;
  return text;
}

ClipCheckpoint read_clip_checkpoint(NetworkWeights network, const std::filesystem::path& path,
                                    const ClipReadOptions& options) {
  return Reader(std::move(network), path).read(options);
}

ClipCheckpoint read_clip_checkpoint(TensorFile file, const std::filesystem::path& path,
                                    const ClipReadOptions& options) {
  return read_clip_checkpoint(find_network(std::move(file), path.string(), family_beside(path)), path,
                              options);
}

ClipCheckpoint read_clip_checkpoint(const std::filesystem::path& path, const ClipReadOptions& options) {
  return read_clip_checkpoint(read_tensor_file(path), path, options);
}

std::map<std::string, Tensor> rename_clip(const ClipCheckpoint& checkpoint, ClipLayout layout) {
  const bool hugging = layout == ClipLayout::hugging_face;
  CHECK_INPUT(!hugging || ((!checkpoint.vision || checkpoint.vision_settings.norm_before) &&
                           (!checkpoint.text || !checkpoint.text_settings.projection_bias)),
              checkpoint.file,
              ": Hugging Face's CLIP has no names for a tower without its first norm, or for a "
              "projection with a bias");
  std::map<std::string, Tensor> result;
  const auto add = [&](const std::vector<ClipParameter>& parameters, const nn::StateDict& weights) {
    for (const ClipParameter& parameter : parameters) {
      const std::vector<Tensor> parts = detail::from_tower(parameter, weights.at(parameter.ours));
      for (size_t i = 0; i < parts.size(); ++i) result[parameter.names[i]] = parts[i];
    }
  };
  if (checkpoint.vision)
    add(detail::vision_parameters(*checkpoint.vision, checkpoint.vision_settings, layout),
        checkpoint.vision_weights);
  if (checkpoint.text)
    add(detail::text_parameters(*checkpoint.text, checkpoint.text_settings, layout, ""),
        checkpoint.text_weights);
  if (checkpoint.logit_scale) result["logit_scale"] = Tensor::full({}, *checkpoint.logit_scale);
  return result;
}

Clip load_clip(const ClipCheckpoint& checkpoint, const ClipLoadOptions& options) {
  Clip clip;
  Generator unused(0);
  const auto load = [&](nn::Module& tower, const nn::StateDict& weights) {
    nn::load_state_dict(tower, weights, checkpoint.file, {.share = options.pack});
    if (options.pack) {
      nn::pack_for_inference(tower, *checkpoint.mapped);
      for (const auto& file : checkpoint.more) file->forget_pages();
    }
    nn::set_requires_grad(tower, false);
  };
  if (options.vision && checkpoint.vision) {
    const nn::SkipInitialisation skip;
    clip.vision = std::make_unique<VisionTower>(*checkpoint.vision, checkpoint.vision_settings, unused);
    load(*clip.vision, checkpoint.vision_weights);
  }
  if (options.text && checkpoint.text) {
    const nn::SkipInitialisation skip;
    clip.text = std::make_unique<TextTower>(*checkpoint.text, checkpoint.text_settings, unused);
    load(*clip.text, checkpoint.text_weights);
  }
  if (checkpoint.logit_scale) clip.logit_scale = std::exp(*checkpoint.logit_scale);
  clip.logit_bias = checkpoint.logit_bias;
  return clip;
}

}  // namespace clipcap
