#include "clipcap/encoders/clip_settings.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>

#include "clipcap/encoders/model_family.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/problem_list.h"

namespace clipcap {
namespace {

using nlohmann::json;

// One object of a configuration. Keys are taken one after the other; what is left over is judged at the end.
class Section {
 public:
  Section(json object, std::string file, std::string label)
      : object_(std::move(object)), file_(std::move(file)), label_(std::move(label)) {}

  // The value of a key, and the key is done with; null where it is absent.
  json take(const char* key) {
    const auto found = object_.find(key);
    if (found == object_.end()) return json();
    json value = std::move(*found);
    object_.erase(found);
    return value;
  }
  // A key that must be a whole number; 0 where it is absent or null.
  int64_t take_count(const char* key) {
    const json value = take(key);
    if (value.is_null()) return 0;
    if (value.is_number_unsigned() && value.get<uint64_t>() > 0 && value.get<uint64_t>() < (1U << 20U))
      return value.get<int64_t>();
    refuse(key, value, "a number above 0 is expected");
    return 0;
  }
  void take_eps(const char* key, double& eps) {
    const json value = take(key);
    if (value.is_null()) return;
    if (value.is_number() && value.get<double>() >= 0 && value.get<double>() < 1) {
      eps = value.get<double>();
    } else {
      refuse(key, value, "a number from 0 to 1 is expected");
    }
  }
  // A number that the tensors tell too.
  void compare(const char* key, int64_t found, bool known = true) {
    const json value = take(key);
    if (value.is_null() || !known || value == json(found)) return;
    mismatches_.add(name(key), " is ", shown(value), ", the tensors say ", found);
  }
  void drop(std::initializer_list<const char*> keys) {
    for (const char* key : keys) object_.erase(key);
  }
  bool flag(const char* key) {
    const json value = take(key);
    if (value.is_null()) return false;
    if (value.is_boolean()) return value.get<bool>();
    refuse(key, value, "true or false is expected");
    return false;
  }
  // Only this value (or none at all) is computed here.
  void require(const char* key, std::initializer_list<json> usual, const char* why) {
    const json value = take(key);
    if (value.is_null() || std::find(usual.begin(), usual.end(), value) != usual.end()) return;
    refuse(key, value, why);
  }
  void refuse(const char* key, const json& value, const std::string& why) {
    refusals_.add(name(key), " is ", shown(value), why.empty() ? "" : ": ", why);
  }
  // What nobody took: fine where it is known to change nothing, or switches something off.
  void judge_rest(const std::set<std::string>& harmless) {
    for (const auto& [key, value] : object_.items()) {
      const bool off = value.is_null() || value == json(false) || value == json(0) || value == json("") ||
                       ((value.is_array() || value.is_object()) && value.empty());
      if (off || key.starts_with("_") || harmless.contains(key)) continue;
      refuse(key.substr(0, 60).c_str(), value, "not known here");
    }
  }
  [[nodiscard]] bool mismatched() const { return !mismatches_.empty(); }
  [[nodiscard]] std::string mismatch() const { return file_ + ": " + mismatches_.text(); }
  [[nodiscard]] std::string refusal() const {
    if (!mismatches_.empty()) return mismatch() + " (another model's file?)";
    return refusals_.empty() ? std::string() : file_ + ": " + refusals_.text();
  }
  [[nodiscard]] const std::string& file() const { return file_; }

 private:
  [[nodiscard]] std::string name(const std::string& key) const {
    return label_.empty() ? key : label_ + "." + key;
  }
  json object_;
  std::string file_;
  std::string label_;
  ProblemList refusals_;
  ProblemList mismatches_;
};

json json_beside(const std::filesystem::path& weights, const char* name, std::string& file) {
  const std::filesystem::path path = weights.parent_path() / name;
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return json();
  file = path.string();
  return parse_json(read_text_file(path, 1U << 20U), file);
}

json object_in(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_object() ? object[key] : json();
}

// ---- Hugging Face

// Keys of transformers' configurations (every release writes others) that change no feature.
const std::set<std::string>& harmless_hugging_face() {
  static const std::set<std::string> keys{"add_cross_attention",
                                          "architectures",
                                          "attention_dropout",
                                          "attn_implementation",
                                          "auto_map",
                                          "bad_words_ids",
                                          "begin_suppress_tokens",
                                          "bos_token_id",
                                          "chunk_size_feed_forward",
                                          "cross_attention_hidden_size",
                                          "decoder_start_token_id",
                                          "diversity_penalty",
                                          "do_sample",
                                          "dropout",
                                          "dtype",
                                          "early_stopping",
                                          "encoder_no_repeat_ngram_size",
                                          "exponential_decay_length_penalty",
                                          "finetuning_task",
                                          "forced_bos_token_id",
                                          "forced_eos_token_id",
                                          "gradient_checkpointing",
                                          "hidden_dropout_prob",
                                          "id2label",
                                          "initializer_factor",
                                          "initializer_range",
                                          "is_composition",
                                          "is_decoder",
                                          "is_encoder_decoder",
                                          "label2id",
                                          "length_penalty",
                                          "logit_scale_init_value",
                                          "max_length",
                                          "min_length",
                                          "model_type",
                                          "no_repeat_ngram_size",
                                          "num_beam_groups",
                                          "num_beams",
                                          "num_labels",
                                          "num_return_sequences",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_scores",
                                          "pad_token_id",
                                          "prefix",
                                          "problem_type",
                                          "projection_dim",
                                          "remove_invalid_values",
                                          "repetition_penalty",
                                          "return_dict",
                                          "return_dict_in_generate",
                                          "sep_token_id",
                                          "suppress_tokens",
                                          "task_specific_params",
                                          "temperature",
                                          "text_config",
                                          "tf_legacy_loss",
                                          "tie_encoder_decoder",
                                          "tie_word_embeddings",
                                          "tokenizer_class",
                                          "top_k",
                                          "top_p",
                                          "torch_dtype",
                                          "torchscript",
                                          "transformers_version",
                                          "typical_p",
                                          "use_bfloat16",
                                          "use_cache",
                                          "vision_config",
                                          "text_config_dict",
                                          "vision_config_dict"};
  return keys;
}

std::optional<Activation> hugging_face_activation(Section& section) {
  const json value = section.take("hidden_act");
  if (value.is_null()) return std::nullopt;
  const std::string name = value.is_string() ? value.get<std::string>() : "";
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "gelu" || name == "gelu_python") return Activation::gelu;
  if (name == "relu") return Activation::relu;
  for (const char* tanh :
       {"gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"}) {
    if (name == tanh) return Activation::gelu_tanh;
  }
  section.refuse("hidden_act", value, "quick_gelu, gelu, gelu_new, gelu_pytorch_tanh and relu are computed");
  return std::nullopt;
}

// What transformers' classes have where a file leaves a key out: it leaves out what is as in the class.
template <class Settings>
void take_hugging_face(Section& section, TowerConfig<Settings>& tower, int64_t width, int64_t usual_heads) {
  tower.file = section.file();
  tower.activation = hugging_face_activation(section);
  if (!tower.activation) tower.activation = Activation::quick_gelu;
  tower.heads = section.take_count("num_attention_heads");
  if (tower.heads == 0 && width % usual_heads == 0) tower.heads = usual_heads;
  section.take_eps("layer_norm_eps", tower.settings.eps);
  section.require("model_type", {json("clip"), json("clip_vision_model"), json("clip_text_model")},
                  "not one of CLIP's towers");
  section.require("quantization_config", {}, "quantized weights are not read");
  section.require("pruned_heads", {json::object()}, "pruned heads are not read");
}

void take_vision(Section& section, TowerConfig<VisionSettings>& tower,
                 const std::optional<VitGeometry>& found) {
  const VitGeometry g = found.value_or(VitGeometry{});
  const bool known = found.has_value();
  section.compare("hidden_size", g.width, known);
  section.compare("intermediate_size", g.mlp_width(), known && g.layers > 0);
  section.compare("num_hidden_layers", g.layers, known);
  section.compare("image_size", g.resolution, known);
  section.compare("patch_size", g.patch, known);
  section.compare("num_channels", 3, known);
  take_hugging_face(section, tower, g.width, 12);
  section.judge_rest(harmless_hugging_face());
}

void take_text(Section& section, TowerConfig<TextSettings>& tower, const std::optional<TextGeometry>& found) {
  const TextGeometry g = found.value_or(TextGeometry{});
  const bool known = found.has_value();
  section.compare("hidden_size", g.width, known);
  section.compare("intermediate_size", g.mlp_width(), known && g.layers > 0);
  section.compare("num_hidden_layers", g.layers, known);
  section.compare("vocab_size", g.vocab, known);
  section.compare("max_position_embeddings", g.context, known);
  take_hugging_face(section, tower, g.width, 8);
  // 2 stands for files before transformers 4.31: the class then takes the highest id, which is the end token.
  const json end = section.take("eos_token_id");
  if (end.is_number_unsigned() && end != json(2) && end.get<uint64_t>() < (1U << 20U))
    tower.settings.end_token = end.get<int64_t>();
  if (!end.is_null() && !end.is_number_unsigned()) section.refuse("eos_token_id", end, "one id is expected");
  section.judge_rest(harmless_hugging_face());
}

// A tower's section as transformers puts it together: "*_config_dict", where it is there, stands for the whole.
json hugging_face_tower(const json& config, const char* key, const char* old_key) {
  const json old = object_in(config, old_key);
  if (!old.is_null()) {
    json whole = object_in(config, key);
    if (!whole.is_object()) whole = json::object();
    for (const char* own : {"hidden_act", "num_attention_heads", "layer_norm_eps"}) whole.erase(own);
    whole.update(old);
    return whole;
  }
  return object_in(config, key);
}

bool names_class(const json& config, const char* part) {
  if (!config.contains("architectures") || !config["architectures"].is_array()) return false;
  return std::any_of(config["architectures"].begin(), config["architectures"].end(), [&](const json& name) {
    return name.is_string() && name.get<std::string>().find(part) != std::string::npos;
  });
}

enum class Verdict { none, taken, foreign };

Verdict read_hugging_face(const json& config, const std::string& file, ClipLayout layout,
                          const std::optional<VitGeometry>& vision, const std::optional<TextGeometry>& text,
                          ClipConfig& result) {
  if (!config.is_object()) return Verdict::none;
  const std::string type = config.contains("model_type") && config["model_type"].is_string()
                               ? config["model_type"].get<std::string>()
                               : "";
  json image_part = hugging_face_tower(config, "vision_config", "vision_config_dict");
  json text_part = hugging_face_tower(config, "text_config", "text_config_dict");
  std::string image_label = "vision_config";
  std::string text_label = "text_config";
  const bool whole = !image_part.is_null() || !text_part.is_null();
  if (!type.empty() && type != "clip" && type != "clip_vision_model" && type != "clip_text_model") {
    // Under OpenAI's names it is some other model's file in the same folder.
    if (layout != ClipLayout::hugging_face) return Verdict::foreign;
    fail_input(file, ": model_type is ", shown(config["model_type"]), ": ", family_called(type),
               " is not one of the CLIP models that are read");
  }
  if (!whole) {
    const bool flat_vision =
        type == "clip_vision_model" || names_class(config, "CLIPVisionModel") ||
        (type.empty() && config.contains("hidden_size") && config.contains("patch_size"));
    const bool flat_text = type == "clip_text_model" || names_class(config, "CLIPTextModel") ||
                           (type.empty() && config.contains("hidden_size") && config.contains("vocab_size"));
    if (!flat_vision && !flat_text) return Verdict::none;  // some other program's config.json
    (flat_vision ? image_label : text_label).clear();
    (flat_vision ? image_part : text_part) = config;
  } else {
    Section top(config, file, "");
    top.require("quantization_config", {}, "quantized weights are not read");
    top.judge_rest(harmless_hugging_face());
    result.vision.refusal = result.text.refusal = top.refusal();
  }
  result.has_projection = names_class(config, "WithProjection") || names_class(config, "CLIPModel");
  bool foreign = false;
  const auto tower = [&](const json& part, const std::string& label, auto& own, const auto& found,
                         auto take) {
    if (part.is_null()) return;
    Section section(part, file, label);
    take(section, own, found);
    foreign = foreign || section.mismatched();
    if (own.refusal.empty()) own.refusal = section.refusal();
  };
  tower(image_part, image_label, result.vision, vision, take_vision);
  tower(text_part, text_label, result.text, text, take_text);
  if (foreign && layout != ClipLayout::hugging_face) {
    result = {};
    return Verdict::foreign;
  }
  return Verdict::taken;
}

// ---- preprocessing

void take_colours(Section& section, const char* mean, const char* deviation, Preprocessing& p) {
  for (const auto& [key, values] : {std::pair{mean, &p.mean}, {deviation, &p.deviation}}) {
    const json value = section.take(key);
    if (value.is_null()) continue;
    bool good = value.is_array() && value.size() == 3;
    for (size_t i = 0; good && i < 3; ++i) {
      good = value[i].is_number() && std::isfinite(value[i].get<float>());
      if (good) (*values)[i] = value[i].get<float>();
      good = good && (values != &p.deviation || (*values)[i] > 0);
    }
    if (!good) section.refuse(key, value, "three numbers are expected");
  }
}

// preprocessor_config.json of CLIPImageProcessor.
void read_image_processor(const json& config, const std::string& file, const std::string& label,
                          const VitGeometry& vision, TowerConfig<VisionSettings>& tower) {
  if (!config.is_object() || !(config.contains("image_mean") || config.contains("size"))) return;
  Section section(config, file, label);
  VisionSettings& settings = tower.settings;
  take_colours(section, "image_mean", "image_std", settings.preprocess);
  const json filter = section.take("resample");
  if (filter == json(2)) {
    settings.preprocess.filter = ResizeFilter::bilinear;
  } else if (!filter.is_null() && filter != json(3)) {
    section.refuse("resample", filter, "2 (bilinear) and 3 (bicubic) are computed");
  }
  for (const char* key : {"do_resize", "do_center_crop", "do_rescale"})
    section.require(key, {json(true)}, "pictures are always resized, cropped and scaled here");
  if (const json normalise = section.take("do_normalize"); normalise == json(false)) {
    settings.preprocess.mean = {0, 0, 0};
    settings.preprocess.deviation = {1, 1, 1};
  }
  const json factor = section.take("rescale_factor");
  if (!factor.is_null() && !(factor.is_number() && std::abs(factor.get<double>() * 255 - 1) < 1e-6))
    section.refuse("rescale_factor", factor, "1/255 is computed");
  const json size = section.take("size");
  const json edge =
      size.is_object() && size.size() == 1 && size.contains("shortest_edge") ? size["shortest_edge"] : size;
  if (edge.is_number_unsigned() && edge.get<uint64_t>() < 65536) {
    if (edge.get<int64_t>() > vision.resolution) settings.resize = edge.get<int64_t>();
    if (edge.get<int64_t>() < vision.resolution)
      section.refuse("size", size, "smaller than the model's pictures");
  } else if (!size.is_null()) {
    section.refuse("size", size, "the shortest edge is expected");
  }
  const json crop = section.take("crop_size");
  const json side =
      crop.is_object() && crop.contains("height") && crop.contains("width") && crop["height"] == crop["width"]
          ? crop["height"]
          : crop;
  if (!crop.is_null() && side != json(vision.resolution))
    section.refuse("crop_size", crop, concat_text("the model takes ", vision.resolution));
  section.judge_rest({"image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb",
                      "data_format", "input_data_format", "default_to_square", "device", "return_tensors",
                      "do_pad", "size_divisor", "image_seq_length"});
  if (tower.refusal.empty()) tower.refusal = section.refusal();
}

// ---- open_clip

std::optional<Activation> open_clip_activation(Section& section, bool quick) {
  const json arguments = section.take("act_kwargs");
  if (arguments.is_null()) return quick ? Activation::quick_gelu : Activation::gelu;
  const bool known = arguments.is_object() && !quick &&
                     (arguments.empty() || (arguments.size() == 1 && arguments.contains("approximate")));
  if (known && (arguments.empty() || arguments["approximate"] == json("none"))) return Activation::gelu;
  if (known && arguments["approximate"] == json("tanh")) return Activation::gelu_tanh;
  section.refuse("act_kwargs", arguments,
                 quick ? "QuickGELU has no arguments" : "approximate: none or tanh is computed");
  return std::nullopt;
}

template <class Settings>
void take_open_clip(Section& section, TowerConfig<Settings>& tower, bool quick) {
  tower.file = section.file();
  tower.activation = open_clip_activation(section, quick);
  const json norm = section.take("norm_kwargs");
  if (norm.is_object()) {
    Section arguments(norm, section.file(), "norm_kwargs");
    arguments.take_eps("eps", tower.settings.eps);
    arguments.require("elementwise_affine", {json(true)}, "");
    arguments.require("bias", {json(true)}, "");
    arguments.judge_rest({});
    if (!arguments.refusal().empty()) section.refuse("norm_kwargs", norm, "eps is computed");
  } else if (!norm.is_null()) {
    section.refuse("norm_kwargs", norm, "an object is expected");
  }
  section.require("block_type", {json("default")}, "plain blocks are computed");
  section.drop({"ls_init_value", "output_tokens"});  // the first shows in the tensors
}

void take_open_clip_vision(Section& section, TowerConfig<VisionSettings>& tower,
                           const std::optional<VitGeometry>& found, bool quick) {
  const VitGeometry g = found.value_or(VitGeometry{});
  const bool known = found.has_value();
  section.compare("width", g.width, known);
  section.compare("layers", g.layers, known);
  section.compare("patch_size", g.patch, known);
  const json size = section.take("image_size");
  if (known && !size.is_null() && size != json(g.resolution) && size != json{g.resolution, g.resolution})
    section.refuse("image_size", size, concat_text("the tensors say ", g.resolution));
  const int64_t head = section.take_count("head_width");
  tower.heads = std::max<int64_t>(1, g.width / (head > 0 ? head : 64));
  take_open_clip(section, tower, quick);
  const json pool = section.take("pool_type");
  if (pool == json("avg")) {
    tower.settings.pool = VisionSettings::Pool::average;
  } else if (!pool.is_null() && pool != json("tok")) {
    section.refuse("pool_type", pool, "tok and avg are computed");
  }
  tower.settings.norm_pooled =
      section.flag("final_ln_after_pool") && tower.settings.pool == VisionSettings::Pool::average;
  tower.settings.norm_before = !section.flag("no_ln_pre");
  section.require("pos_embed_type", {json("learnable"), json("sin_cos_2d")}, "");
  section.judge_rest({"mlp_ratio", "patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "timm_pool",
                      "timm_proj", "timm_drop", "timm_model_pretrained"});
}

void take_open_clip_text(Section& section, TowerConfig<TextSettings>& tower,
                         const std::optional<TextGeometry>& found, bool quick) {
  const TextGeometry g = found.value_or(TextGeometry{});
  const bool known = found.has_value();
  section.compare("width", g.width, known);
  section.compare("layers", g.layers, known);
  section.compare("context_length", g.context, known);
  section.compare("vocab_size", g.vocab, known);
  const int64_t heads = section.take_count("heads");
  tower.heads = heads > 0 ? heads : 8;
  take_open_clip(section, tower, quick);
  TextSettings& settings = tower.settings;
  settings.causal = !section.flag("no_causal_mask");
  const json pool = section.take("pool_type");
  const json end = section.take("eos_id");
  if (pool == json("first")) {
    settings.pool = TextSettings::Pool::first;
  } else if (pool == json("last")) {
    settings.pool = TextSettings::Pool::last;
  } else if (pool == json("eos")) {
    settings.end_token =
        end.is_number_unsigned() && end.get<uint64_t>() < (1U << 20U) ? end.get<int64_t>() : 2;
  } else if (!pool.is_null() && pool != json("argmax")) {
    section.refuse("pool_type", pool, "argmax, eos, first and last are computed");
  }
  settings.projection_bias = section.flag("proj_bias");
  if (const json kind = section.take("proj_type"); kind == json("none")) {
    settings.projection = false;
  } else if (!kind.is_null() && kind != json("linear")) {
    section.refuse("proj_type", kind, "linear and none are computed");
  }
  section.judge_rest({"mlp_ratio", "pad_id", "final_ln_after_pool", "tokenizer_mode", "hf_model_pretrained",
                      "hf_proj_type", "hf_pooler_type"});
}

Verdict read_open_clip(json config, const std::string& file, const std::optional<VitGeometry>& vision,
                       const std::optional<TextGeometry>& text, ClipConfig& result) {
  if (!config.is_object()) return Verdict::none;
  const json pictures = object_in(config, "preprocess_cfg");
  if (config.contains("model_cfg")) config = json(config["model_cfg"]);
  if (!config.is_object() || !config.contains("vision_cfg")) return Verdict::none;
  result.open_clip = true;
  Section top(config, file, "");
  const bool quick = top.flag("quick_gelu");
  if (vision) top.compare("embed_dim", vision->embed);
  top.require("multimodal_cfg", {}, "CoCa is not read");
  top.drop({"vision_cfg", "text_cfg", "custom_text", "cast_dtype", "embed_dim", "init_logit_scale",
            "init_logit_bias", "nonscalar_logit_scale", "force_custom_text"});
  top.judge_rest({});
  const json image_part = object_in(config, "vision_cfg");
  const json text_part = object_in(config, "text_cfg");
  bool foreign = top.mismatched();
  if (image_part.is_object()) {
    Section section(image_part, file, "vision_cfg");
    take_open_clip_vision(section, result.vision, vision, quick);
    foreign = foreign || section.mismatched();
    result.vision.refusal = section.refusal();
  }
  if (text_part.is_object()) {
    Section section(text_part, file, "text_cfg");
    take_open_clip_text(section, result.text, text, quick);
    foreign = foreign || section.mismatched();
    result.text.refusal = section.refusal();
  } else {
    result.text.file = file;
    result.text.activation = quick ? Activation::quick_gelu : Activation::gelu;
  }
  if (pictures.is_object()) {
    Section section(pictures, file, "preprocess_cfg");
    take_colours(section, "mean", "std", result.vision.settings.preprocess);
    const json filter = section.take("interpolation");
    if (filter == json("bilinear")) {
      result.vision.settings.preprocess.filter = ResizeFilter::bilinear;
    } else if (!filter.is_null() && filter != json("bicubic") && filter != json("random")) {
      section.refuse("interpolation", filter, "bicubic and bilinear are computed");
    }
    section.require("resize_mode", {json("shortest")}, "pictures are scaled by their short side here");
    section.require("mode", {json("RGB")}, "");
    section.judge_rest({"size", "fill_color"});
    if (result.vision.refusal.empty()) result.vision.refusal = section.refusal();
  }
  if (!top.refusal().empty()) {
    if (result.vision.refusal.empty()) result.vision.refusal = top.refusal();
    if (result.text.refusal.empty()) result.text.refusal = top.refusal();
  }
  return foreign ? Verdict::foreign : Verdict::taken;
}

}  // namespace

ClipConfig read_clip_config(const std::filesystem::path& weights, ClipLayout layout,
                            const std::optional<VitGeometry>& vision,
                            const std::optional<TextGeometry>& text) {
  ClipConfig result;
  const bool hugging = layout == ClipLayout::hugging_face;
  std::string passed_over;
  // Each library's file may say it for the other's names; the names' own comes first.
  std::array<const char*, 2> names{"config.json", "open_clip_config.json"};
  if (!hugging) std::swap(names[0], names[1]);
  for (const char* name : names) {
    std::string file;
    const json config = json_beside(weights, name, file);
    if (config.is_null()) continue;
    ClipConfig own;
    Verdict verdict = read_open_clip(config, file, vision, text, own);
    const bool open_clips = verdict != Verdict::none;
    if (!open_clips) verdict = read_hugging_face(config, file, layout, vision, text, own);
    // A file of the names' own library that does not fit is an error, another one is some other model's.
    const bool fits_names = open_clips != hugging;
    if (verdict == Verdict::taken || (verdict == Verdict::foreign && fits_names && open_clips)) {
      result = own;
      break;
    }
    if (verdict == Verdict::foreign && passed_over.empty()) passed_over = file;
  }
  if (!result.open_clip && vision && (hugging || !result.vision.file.empty())) {
    std::string file;
    json pictures = json_beside(weights, "preprocessor_config.json", file);
    std::string label;
    if (!pictures.is_object()) {
      pictures = object_in(json_beside(weights, "processor_config.json", file), "image_processor");
      label = "image_processor";
    }
    read_image_processor(pictures, file, label, *vision, result.vision);
  }
  result.passed_over = passed_over;
  return result;
}

}  // namespace clipcap
