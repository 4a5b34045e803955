#include "clipcap/encoders/clip_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "clipcap/encoders/clip_checkpoint_names.h"
#include "nn/init.h"
#include "tensor/io/json_text.h"

namespace clipcap {
namespace {

using detail::ClipParameter;
using nlohmann::json;
using Tensors = std::map<std::string, Tensor>;

constexpr int64_t kMostLayers = 256;
constexpr int64_t kMostWidth = 1 << 16;

// What a configuration file beside the checkpoint says.
struct BesideConfig {
  std::string file;
  Activation activation = Activation::none;
  int64_t vision_heads = 0;
  int64_t text_heads = 0;
};

int64_t whole_number(const json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number_unsigned()) return 0;
  return static_cast<int64_t>(std::min<uint64_t>(object[key].get<uint64_t>(), 1U << 20U));
}

json json_beside(const std::filesystem::path& checkpoint, const char* name, std::string& file) {
  const std::filesystem::path path = checkpoint.parent_path() / name;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return json();
  file = path.string();
  return parse_json(read_text_file(path, 1U << 20U), file);
}

// Hugging Face's config.json: {"vision_config": {"hidden_act", "num_attention_heads"}, "text_config": …}.
BesideConfig read_hugging_face_config(const std::filesystem::path& checkpoint) {
  BesideConfig result;
  const json config = json_beside(checkpoint, "config.json", result.file);
  if (!config.is_object()) return {};
  const auto part = [&](const char* name) {
    return config.contains(name) && config[name].is_object() ? config[name] : json::object();
  };
  const json vision = part("vision_config");
  const json text = part("text_config");
  if (vision.empty() && text.empty()) return {};  // some other program's config.json
  // What the files leave out has these values in Hugging Face's classes.
  result.activation = Activation::quick_gelu;
  for (const json& tower : {vision, text}) {
    if (!tower.contains("hidden_act")) continue;
    const std::string name = tower["hidden_act"].is_string() ? tower["hidden_act"].get<std::string>() : "";
    CHECK_INPUT(name == "quick_gelu" || name == "gelu", result.file, ": hidden_act ",
                shown(tower["hidden_act"]), "; quick_gelu and gelu are known");
    result.activation = name == "gelu" ? Activation::gelu : Activation::quick_gelu;
  }
  result.vision_heads = whole_number(vision, "num_attention_heads");
  result.text_heads = whole_number(text, "num_attention_heads");
  return result;
}

// open_clip_config.json: {"model_cfg": {"quick_gelu", "vision_cfg": {"head_width"}, "text_cfg": {"heads"}}}.
BesideConfig read_open_clip_config(const std::filesystem::path& checkpoint, int64_t vision_width) {
  BesideConfig result;
  json config = json_beside(checkpoint, "open_clip_config.json", result.file);
  if (config.is_object() && config.contains("model_cfg")) config = json(config["model_cfg"]);
  if (!config.is_object() || !config.contains("vision_cfg")) return {};
  const bool quick = config.contains("quick_gelu") && config["quick_gelu"] == json(true);
  result.activation = quick ? Activation::quick_gelu : Activation::gelu;
  const int64_t head_width = whole_number(config["vision_cfg"], "head_width");
  if (head_width > 0) result.vision_heads = vision_width / head_width;
  if (config.contains("text_cfg")) result.text_heads = whole_number(config["text_cfg"], "heads");
  return result;
}

// Heads are 64 wide in every CLIP but the three largest of open_clip.
int64_t usual_heads(int64_t width) {
  for (const auto& [wide, head] : {std::pair{1280, 80}, std::pair{1408, 88}, std::pair{1664, 104}}) {
    if (width == wide) return width / head;
  }
  return std::max<int64_t>(1, width / 64);
}

class Reader {
 public:
  Reader(TensorFile file, const std::filesystem::path& path) : path_(path), name_(path.string()) {
    result_.file = name_;
    result_.format = file.format;
    result_.mapped = file.file;
    tensors_ = std::move(file.tensors);
  }

  ClipCheckpoint read(const ClipReadOptions& options) {
    unwrap();
    find_layout();
    const bool hugging = result_.layout == ClipLayout::hugging_face;
    patch_name_ = hugging ? "vision_model.embeddings.patch_embedding.weight" : "visual.conv1.weight";
    if (tensors_.contains(patch_name_)) result_.vision = vision_geometry();
    const std::string table =
        hugging ? "text_model.embeddings.token_embedding.weight" : text_prefix_ + "token_embedding.weight";
    if (tensors_.contains(table)) result_.text = text_geometry(table);
    CHECK_INPUT(result_.vision || result_.text, name_, ": no CLIP tower in it: neither ", patch_name_,
                " nor ", table);
    choose_activation_and_heads(options);
    if (result_.vision)
      take(detail::vision_parameters(*result_.vision, result_.layout), result_.vision_weights);
    if (result_.text)
      take(detail::text_parameters(*result_.text, result_.layout, text_prefix_), result_.text_weights);
    find_logit_scale();
    find_surplus();
    report_problems();
    return std::move(result_);
  }

 private:
  void unwrap() {
    static_cast<void>(unwrap_state_dict(tensors_));
    strip_prefix(tensors_, "module.");
  }

  void find_layout() {
    const auto any = [&](const char* prefix) {
      const auto found = tensors_.lower_bound(prefix);
      return found != tensors_.end() && found->first.starts_with(prefix);
    };
    CHECK_INPUT(!any("visual.trunk."), name_, ": its image tower is one of timm's; CLIP's own ViT is read");
    CHECK_INPUT(!any("visual.layer1."), name_, ": its image tower is CLIP's ResNet; the ViTs are read");
    if (any("vision_model.") || any("text_model.")) {
      result_.layout = ClipLayout::hugging_face;
    } else if (any("text.")) {
      result_.layout = ClipLayout::open_clip;
      text_prefix_ = "text.";
    } else {
      result_.layout = ClipLayout::openai;
      if (path_.filename().string().find("open_clip") != std::string::npos)
        result_.layout = ClipLayout::open_clip;
    }
  }

  const Shape& shape(const std::string& name, int rank) const {
    const auto found = tensors_.find(name);
    CHECK_INPUT(found != tensors_.end(), name_, ": tensor ", name, " is missing");
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
    g.embed = hugging ? shape("visual_projection.weight", 2)[0] : shape("visual.proj", 2)[1];
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
    g.embed = hugging ? shape("text_projection.weight", 2)[0] : shape(text_prefix_ + "text_projection", 2)[1];
    return g;
  }

  void choose_activation_and_heads(const ClipReadOptions& options) {
    BesideConfig beside = read_open_clip_config(path_, result_.vision ? result_.vision->width : 0);
    if (beside.activation == Activation::none) {
      beside = read_hugging_face_config(path_);
    } else if (result_.layout == ClipLayout::openai) {
      result_.layout = ClipLayout::open_clip;
    }
    if (options.activation != Activation::none) {
      result_.activation = options.activation;
      result_.activation_source = "as asked for";
    } else if (beside.activation != Activation::none) {
      result_.activation = beside.activation;
      result_.activation_source = "from " + beside.file;
    } else {
      const bool open = result_.layout == ClipLayout::open_clip;
      result_.activation = open ? Activation::gelu : Activation::quick_gelu;
      result_.activation_source = concat_text("by the family of the names (", name_of(result_.layout), ")");
    }
    const auto choose = [&](int64_t width, int64_t said) {
      const int64_t heads = said > 0 ? said : usual_heads(width);
      CHECK_INPUT(width > 0 && width <= kMostWidth, name_, ": a tower of width ", width, "; 1 to ",
                  kMostWidth, " are read");
      CHECK_INPUT(width % heads == 0, name_, ": ", heads, " heads ",
                  said > 0 ? "(from " + beside.file + ") " : "(64 wide, as usual) ",
                  "do not divide the width ", width,
                  "; a config.json beside the file can say how many there are");
      return heads;
    };
    if (result_.vision) result_.vision->heads = choose(result_.vision->width, beside.vision_heads);
    if (result_.text) result_.text->heads = choose(result_.text->width, beside.text_heads);
    result_.heads_source = beside.vision_heads > 0 || beside.text_heads > 0 ? "from " + beside.file : "";
  }

  template <class... Parts>
  void complain(const Parts&... parts) {
    constexpr int kMostListed = 10;
    if (++problems_ <= kMostListed) problem_text_ += concat_text(problems_ > 1 ? "; " : "", parts...);
    if (problems_ == kMostListed + 1) problem_text_ += "; and more";
  }

  void take(const std::vector<ClipParameter>& parameters, nn::StateDict& weights) {
    for (const ClipParameter& parameter : parameters) {
      std::vector<Tensor> parts;
      for (const std::string& name : parameter.names) {
        used_.insert(name);
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) {
          complain("missing ", name, ' ', parameter.file_shape);
        } else if (found->second.shape() != parameter.file_shape) {
          complain("shape of ", name, " is ", found->second.shape(), ", expected ", parameter.file_shape);
        } else if (!is_floating(found->second.dtype())) {
          complain(name, " holds ", found->second.dtype(), ", expected floating-point numbers");
        } else {
          parts.push_back(found->second);
        }
      }
      if (problems_ == 0) weights[parameter.ours] = detail::to_tower(parameter, parts);
    }
  }

  void find_logit_scale() {
    const auto found = tensors_.find("logit_scale");
    if (found == tensors_.end()) return;
    used_.insert("logit_scale");
    if (found->second.numel() != 1) {
      complain("shape of logit_scale is ", found->second.shape(), ", expected []");
      return;
    }
    result_.logit_scale = found->second.item();
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
    for (const auto& [name, tensor] : tensors_) {
      if (!used_.contains(name) && !is_known_extra(name)) complain("surplus ", name, ' ', tensor.shape());
    }
  }

  void report_problems() const {
    CHECK_INPUT(problems_ == 0, name_, ": not a complete CLIP (", name_of(result_.layout),
                " names): ", problem_text_);
    CHECK_INPUT(!result_.vision || !result_.text || result_.vision->embed == result_.text->embed, name_,
                ": the image tower ends in ", result_.vision->embed, " numbers, the text tower in ",
                result_.text->embed);
  }

  std::filesystem::path path_;
  std::string name_;
  Tensors tensors_;
  ClipCheckpoint result_;
  std::string text_prefix_;
  std::string patch_name_;
  std::set<std::string> used_;
  int problems_ = 0;
  std::string problem_text_;
};

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

bool is_clip(const std::map<std::string, Tensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) {
    return entry.first.ends_with("visual.conv1.weight") || entry.first.ends_with("visual.class_embedding") ||
           entry.first.ends_with("vision_model.embeddings.class_embedding") ||
           entry.first.ends_with("token_embedding.weight");
  });
}

std::string ClipCheckpoint::describe() const {
  std::string text = concat_text(file, ": CLIP, ", name_of(layout), " names, ", format);
  if (vision) {
    text += concat_text("; image tower ViT ", vision->resolution, '/', vision->patch, ", width ",
                        vision->width, ", ", vision->layers, " layers, ", vision->heads, " heads");
  }
  if (this->text) {
    text += concat_text("; text tower width ", this->text->width, ", ", this->text->layers, " layers, ",
                        this->text->heads, " heads, ", this->text->vocab, " tokens");
  }
  if (!heads_source.empty()) text += concat_text(" (heads ", heads_source, ")");
  text += concat_text("; embedding ", vision ? vision->embed : this->text->embed);
  text += concat_text("; ", activation == Activation::gelu ? "GELU" : "QuickGELU", ' ', activation_source);
  return text;
}

ClipCheckpoint read_clip_checkpoint(TensorFile file, const std::filesystem::path& path,
                                    const ClipReadOptions& options) {
  return Reader(std::move(file), path).read(options);
}

ClipCheckpoint read_clip_checkpoint(const std::filesystem::path& path, const ClipReadOptions& options) {
  return read_clip_checkpoint(read_tensor_file(path), path, options);
}

std::map<std::string, Tensor> rename_clip(const ClipCheckpoint& checkpoint, ClipLayout layout) {
  std::map<std::string, Tensor> result;
  const auto add = [&](const std::vector<ClipParameter>& parameters, const nn::StateDict& weights) {
    for (const ClipParameter& parameter : parameters) {
      const std::vector<Tensor> parts = detail::from_tower(parameter, weights.at(parameter.ours));
      for (size_t i = 0; i < parts.size(); ++i) result[parameter.names[i]] = parts[i];
    }
  };
  if (checkpoint.vision)
    add(detail::vision_parameters(*checkpoint.vision, layout), checkpoint.vision_weights);
  if (checkpoint.text) add(detail::text_parameters(*checkpoint.text, layout, ""), checkpoint.text_weights);
  if (checkpoint.logit_scale) result["logit_scale"] = Tensor::full({}, *checkpoint.logit_scale);
  return result;
}

Clip load_clip(const ClipCheckpoint& checkpoint, const ClipLoadOptions& options) {
  Clip clip;
  Generator unused(0);
  const auto load = [&](nn::Module& tower, const nn::StateDict& weights) {
    nn::load_state_dict(tower, weights, checkpoint.file, {.share = options.pack});
    if (options.pack) nn::pack_for_inference(tower, *checkpoint.mapped);
    nn::set_requires_grad(tower, false);
  };
  if (options.vision && checkpoint.vision) {
    const nn::SkipInitialisation skip;
    clip.vision = std::make_unique<VisionTower>(*checkpoint.vision, checkpoint.activation, unused);
    load(*clip.vision, checkpoint.vision_weights);
  }
  if (options.text && checkpoint.text) {
    const nn::SkipInitialisation skip;
    clip.text = std::make_unique<TextTower>(*checkpoint.text, checkpoint.activation, unused);
    load(*clip.text, checkpoint.text_weights);
  }
  if (checkpoint.logit_scale) clip.logit_scale = std::exp(*checkpoint.logit_scale);
  return clip;
}

}  // namespace clipcap
