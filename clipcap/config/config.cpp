#include "clipcap/config/config.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "clipcap/config/config_effect.h"
#include "clipcap/terminal/nearest.h"
#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

using nlohmann::json;

struct Field {
  std::string key;
  std::string comment;
  std::function<json()> get;
  std::function<void(const json&, const std::string& where)> set;
};

const char* kind_of(const json& value) { return value.type_name(); }

Field field(std::string key, int64_t& target, int64_t least, int64_t most, std::string comment) {
  return {std::move(key), std::move(comment), [&target] { return json(target); },
          [&target, least, most](const json& value, const std::string& where) {
            CHECK_INPUT(value.is_number_integer(), where, ": expected an integer, found ", shown(value));
            CHECK_INPUT(value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(most)
                                                   : value.get<int64_t>() <= most,
                        where, ": ", shown(value), " is above ", most);
            target = value.get<int64_t>();
            CHECK_INPUT(target >= least, where, ": ", target, " is below ", least);
          }};
}

Field field(std::string key, double& target, double least, double most, std::string comment) {
  return {std::move(key), std::move(comment), [&target] { return json(target); },
          [&target, least, most](const json& value, const std::string& where) {
            CHECK_INPUT(value.is_number(), where, ": expected a number, found ", shown(value));
            target = value.get<double>();
            CHECK_INPUT(target >= least && target <= most, where, ": ", target, " is outside [", least, ", ",
                        most, "]");
          }};
}

Field field(std::string key, bool& target, std::string comment) {
  return {std::move(key), std::move(comment), [&target] { return json(target); },
          [&target](const json& value, const std::string& where) {
            CHECK_INPUT(value.is_boolean(), where, ": expected true or false, found ", shown(value));
            target = value.get<bool>();
          }};
}

Field field(std::string key, std::string& target, std::vector<std::string> allowed, std::string comment) {
  return {std::move(key), std::move(comment), [&target] { return json(target); },
          [&target, allowed](const json& value, const std::string& where) {
            CHECK_INPUT(value.is_string(), where, ": expected a string, found ", shown(value));
            const std::string text = value.get<std::string>();
            std::string list;
            for (const std::string& word : allowed) list += (list.empty() ? "" : ", ") + word;
            CHECK_INPUT(allowed.empty() || std::find(allowed.begin(), allowed.end(), text) != allowed.end(),
                        where, ": \"", text, "\"; expected one of ", list);
            target = text;
          }};
}

Field subdecoder_field(std::string key, std::vector<std::string>& target, std::string comment) {
  return {std::move(key), std::move(comment), [&target] { return json(target); },
          [&target](const json& value, const std::string& where) {
            CHECK_INPUT(value.is_array(), where, ": expected a list, found ", shown(value));
            std::vector<std::string> chosen;
            for (const char* name : {"intention", "effect", "attribute"}) {  // kept in this order
              if (std::find(value.begin(), value.end(), json(name)) != value.end()) chosen.emplace_back(name);
            }
            CHECK_INPUT(chosen.size() == value.size(), where, ": ", shown(value),
                        "; expected any of \"intention\", \"effect\", \"attribute\", each once");
            target = chosen;
          }};
}

Field alpha_field(std::string key, std::vector<double>& target, std::string comment) {
  return {std::move(key), std::move(comment), [&target] { return json(target); },
          [&target](const json& value, const std::string& where) {
            bool good = value.is_array() && value.size() == 4;
            for (size_t i = 0; good && i < 4; ++i) {
              good = value[i].is_number() && value[i].get<double>() >= 0 && value[i].get<double>() <= 1e6;
            }
            CHECK_INPUT(good, where, ": expected four numbers from 0 on, found ", shown(value));
            target = value.get<std::vector<double>>();
          }};
}

// The table: what can be configured, in the order in which it is printed.
std::vector<Field> fields(Config& c) {
  ModelConfig& m = c.model;
  constexpr int64_t kMany = 1'000'000'000;
  return {
      field("model.encoder", m.encoder, {"vit-b-16", "vit-b-32", "vit-l-14", "resnet152", "custom"},
            "image encoder, or an object with the keys below; encoder.weights decides where it is given"),
      field("model.encoder.resolution", m.geometry.resolution, 1, 4096,
            "pixels a side of a preprocessed frame"),
      field("model.encoder.patch", m.geometry.patch, 1, 1024, "pixels a side of a ViT patch"),
      field("model.encoder.width", m.geometry.width, 1, 16384, "width of the ViT"),
      field("model.encoder.layers", m.geometry.layers, 0, 256, "layers of the ViT"),
      field("model.encoder.heads", m.geometry.heads, 1, 256, "attention heads of the ViT"),
      field("model.encoder.embed", m.geometry.embed, 1, 16384,
            "size of a frame's feature, and of the text feature"),
      field("model.encoder.hidden", m.geometry.hidden, 0, 65536,
            "width inside the ViT's MLPs; 0 = 4 x width"),
      field("model.text.width", m.text.width, 1, 16384,
            "width of the text tower (teacher of the distillation)"),
      field("model.text.layers", m.text.layers, 0, 256, "layers of the text tower"),
      field("model.text.heads", m.text.heads, 1, 256, "attention heads of the text tower"),
      field("model.text.embed", m.text.embed, 1, 16384, "size of the text feature; a ViT's is its own embed"),
      field("model.frames", m.frames, 1, 4096, "frames taken from a clip (n)"),
      field("model.dim", m.dim, 8, 16384, "width of the captioner (d)"),
      field("model.fusion.kind", m.fusion_kind, {"lstm", "transformer", "conv1d"},
            "fusion block of every scale"),
      field("model.fusion.scales", m.fusion_scales, 1, 3, "temporal scales"),
      field("model.fusion.bidirectional", m.fusion_bidirectional, "LSTM fusion in both directions"),
      field("model.fusion.heads", m.fusion_heads, 1, 256, "attention heads of a Transformer fusion"),
      field("model.vis2text.final_activation", m.vis2text_activation, {"relu", "none"},
            "last activation of Vis2Text; relu as printed in the paper"),
      subdecoder_field("model.subdecoders", m.subdecoders, "any of intention, effect, attribute"),
      field("model.decoder.layers", m.decoder_layers, 1, 64, "layers of the caption decoder"),
      field("model.subdecoder.layers", m.subdecoder_layers, 1, 64, "layers of each sub-decoder"),
      field("model.heads", m.heads, 1, 256, "attention heads of the decoders"),
      field("model.hidden", m.hidden, 1, 65536, "width of the decoders' feed-forward halves"),
      field("model.dropout", m.dropout, 0.0, 0.95, "dropout of the decoders and of a Transformer fusion"),
      field("model.length.caption", m.caption_length, 3, 512,
            "most tokens of a caption, start and end included"),
      field("model.length.intention", m.intention_length, 3, 512, "the same for intentions"),
      field("model.length.effect", m.effect_length, 3, 512, "for effects"),
      field("model.length.attribute", m.attribute_length, 3, 512, "for attributes"),
      field("encoder.weights", c.encoder.weights, {}, "CLIP or ResNet checkpoint; empty: random and frozen"),
      field("encoder.text_weights", c.encoder.text_weights, {},
            "CLIP checkpoint with the distillation's text tower; empty: encoder.weights"),
      field("encoder.tokenizer", c.encoder.tokenizer, {}, "CLIP's vocabulary file, for that text tower"),
      field("encoder.activation", c.encoder.activation, {"auto", "quick_gelu", "gelu", "gelu_tanh", "relu"},
            "of the checkpoint's towers; auto: a config.json beside it, or the family of its names"),
      field("encoder.settings", c.encoder.settings, {},
            "of its image tower beyond the shapes, recorded by training; empty: the configuration beside it"),
      field("encoder.text_settings", c.encoder.text_settings, {}, "the same for the text tower"),
      field("encoder.sha256", c.encoder.sha256, {},
            "of encoder.weights, recorded by training; another file is refused"),
      field("encoder.origin", c.encoder.origin, {"", "unknown"},
            "recorded by training on features of which nothing says what made them; empty otherwise"),
      field("loss.distill", c.loss.distill, 0.0, 1e6, "weight of the distillation loss (lambda)"),
      field("loss.distill_target", c.loss.distill_target, {"pooled", "tokens"},
            "one text feature a clip, or one a token"),
      alpha_field("loss.alpha", c.loss.alpha, "weights of caption, intention, effect, attribute"),
      field("loss.label_smoothing", c.loss.label_smoothing, 0.0, 0.99, "label smoothing of all text losses"),
      field("train.steps", c.train.steps, 1, kMany, "optimizer steps"),
      field("train.batch", c.train.batch, 1, 65536, "clips a step"),
      field("train.accumulate", c.train.accumulate, 1, 65536,
            "parts that a batch is computed in, one after the other: less memory, the same gradient"),
      field("train.lr", c.train.lr, 0.0, 10.0, "peak learning rate"),
      field("train.warmup", c.train.warmup, 0, kMany, "steps of linear warm-up"),
      field("train.lr_floor", c.train.lr_floor, 0.0, 1.0, "last learning rate, as a fraction of the peak"),
      field("train.weight_decay", c.train.weight_decay, 0.0, 10.0, "AdamW's decay, on matrices only"),
      field("train.clip_norm", c.train.clip_norm, 0.0, 1e9, "gradient norm limit; 0 = none"),
      field("train.checkpoint_every", c.train.checkpoint_every, 0, kMany,
            "steps between checkpoints; 0 = only at the end"),
      field("train.eval_every", c.train.eval_every, 0, kMany, "steps between validation decodes; 0 = never"),
      field("train.log_every", c.train.log_every, 1, kMany, "steps between progress lines"),
      field("train.seed", c.train.seed, 0, kMany, "seed of everything random"),
      field("train.min_count", c.train.min_count, 0, kMany,
            "a word enters the vocabulary when it occurs more often"),
      field("train.train_encoder", c.train.train_encoder, "fine-tune the image encoder end to end"),
      field("train.encoder_lr_scale", c.train.encoder_lr_scale, 0.0, 1e3,
            "its learning rate, as a fraction of train.lr"),
      field("data.sampling", c.data.sampling, {"middles", "linspace"},
            "frames at the middles of n equal spans, or V2C's linspace"),
      field("data.split", c.data.split, {}, "split to train on"),
      field("data.eval_split", c.data.eval_split, {},
            "split to decode while training; empty: validate, where the data has it"),
      field("data.splits", c.data.splits, {},
            "first there is of own, v2c, 9k, 7k, CSV files joined by +; auto: CSV lists, else own"),
      field("data.v2c_splits", c.data.v2c_splits, "the same as data.splits=v2c"),
      field("data.caption_vocabulary", c.data.caption_vocabulary, {},
            "V2C info file with the caption words; empty: built from the training captions"),
      field("data.commonsense_vocabulary", c.data.commonsense_vocabulary, {},
            "V2C info file with the commonsense words; empty: built likewise"),
      field("data.features", c.data.features, {},
            "files written by `clipcap features`, separated by commas; empty: clips are read and encoded"),
  };
}

// The key that was probably meant: the one that reads most alike, with or without its groups.
std::string nearest_key(const std::vector<Field>& table, const std::string& typed) {
  const bool grouped = typed.find('.') != std::string::npos;
  const auto distance = [&](const Field& f) {
    const size_t whole = edit_distance(f.key, typed);
    return grouped ? whole : std::min(whole, edit_distance(f.key.substr(f.key.rfind('.') + 1), typed));
  };
  return std::min_element(table.begin(), table.end(),
                          [&](const Field& a, const Field& b) { return distance(a) < distance(b); })
      ->key;
}

// `given` collects the keys that were set.
void assign(std::vector<Field>& table, const std::string& key, const json& value, const std::string& name,
            std::vector<std::string>& given);

void assign_members(std::vector<Field>& table, const std::string& prefix, const json& object,
                    const std::string& name, std::vector<std::string>& given) {
  for (const auto& [key, value] : object.items())
    assign(table, prefix.empty() ? key : prefix + "." + key, value, name, given);
}

void assign(std::vector<Field>& table, const std::string& key, const json& value, const std::string& name,
            std::vector<std::string>& given) {
  const bool group =
      std::any_of(table.begin(), table.end(), [&](const Field& f) { return f.key.starts_with(key + "."); });
  if (value.is_object() && group) {
    if (key == "model.encoder") assign(table, key, json("custom"), name, given);
    return assign_members(table, key, value, name, given);
  }
  for (Field& f : table) {
    if (f.key != key) continue;
    f.set(value, name + ": " + key);
    given.push_back(key);
    return;
  }
  if (group) fail_input(name, ": ", key, ": expected an object, found ", kind_of(value));
  const std::string begin = key.substr(0, 60);
  fail_input(name, ": unknown key \"", begin, "\"; did you mean \"", nearest_key(table, begin), "\"?");
}

std::vector<std::string> assign_text(Config& config, const std::string& text, const std::string& name) {
  const json parsed = parse_json(text, name, true);
  CHECK_INPUT(parsed.is_object(), name, ": expected an object, found ", kind_of(parsed));
  std::vector<Field> table = fields(config);
  std::vector<std::string> given;
  assign_members(table, "", parsed, name, given);
  return given;
}

std::vector<std::string> assign_one(Config& config, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  CHECK_INPUT(equals != std::string::npos && equals > 0, "--set ", assignment, ": expected key=value");
  const std::string text = assignment.substr(equals + 1);
  json value = text;  // a bare word
  if (json::accept(text, true)) value = parse_json(text, "--set " + assignment.substr(0, equals), true);
  std::vector<Field> table = fields(config);
  std::vector<std::string> given;
  assign(table, assignment.substr(0, equals), value, "--set", given);
  return given;
}

std::string text_of(const std::string& source) {
  for (const Preset& preset : presets()) {
    if (source == preset.name) return preset.text;
  }
  std::error_code error;
  if (!std::filesystem::exists(source, error)) {
    std::vector<std::string> names;
    std::string list;
    for (const Preset& preset : presets()) {
      names.emplace_back(preset.name);
      list += concat_text(list.empty() ? "" : ", ", preset.name);
    }
    const std::string nearest = nearest_name(source, names);
    fail_input(source, ": no such file, and no preset of that name (presets: ", list, ")",
               nearest.empty() ? "" : concat_text("; did you mean \"", nearest, "\"?"));
  }
  return read_text_file(source, 1 << 20);
}

json value_of(const Config& config, const std::string& key) {
  Config copy = config;
  for (const Field& f : fields(copy)) {
    if (f.key == key) return f.get();
  }
  return nullptr;
}

// A file may leave a key without effect where that loses nothing: its value is the one in effect, or nobody's
// choice. So may a file that lists every key, as --print-config and a model directory have them.
void check_effect_of_file(const std::vector<std::string>& keys, const Config& written, const Config& finished,
                          const Config& last, const std::string& name) {
  Config defaults;
  const bool whole = keys.size() >= fields(defaults).size() * 3 / 4;
  for (const std::string& key : keys) {
    const std::string why = why_without_effect(finished, key);
    if (why.empty() || why_without_effect(last, key).empty()) continue;
    const json value = value_of(written, key);
    const bool filled = key.starts_with("model.encoder.") || key == "model.text.embed";  // by fill_config
    if (filled ? value == value_of(finished, key) : whole || value == value_of(defaults, key)) continue;
    fail_input(name, ": ", key, " has no effect: ", why);
  }
}

}  // namespace

Config parse_config(const std::string& text, const std::string& name) {
  Config config;
  static_cast<void>(assign_text(config, text, name));
  finish_config(config, name);
  return config;
}

Config load_config(const std::string& source, std::span<const std::string> assignments) {
  Config written;
  const std::vector<std::string> in_file = assign_text(written, text_of(source), source);
  Config config = written;
  std::vector<std::string> set;
  for (const std::string& assignment : assignments) {
    for (std::string& key : assign_one(config, assignment)) set.push_back(std::move(key));
  }
  fill_config(config);
  for (const std::string& key : set) {
    if (value_of(config, key) == "") continue;  // cleared
    const std::string why = why_without_effect(config, key);
    CHECK_INPUT(why.empty(), "--set ", key, " has no effect: ", why);
  }
  finish_config(config, assignments.empty() ? source : source + " with --set");
  Config alone = written;
  fill_config(alone);
  check_effect_of_file(in_file, written, alone, config, source);
  return config;
}

void set_config_key(Config& config, const std::string& assignment) {
  static_cast<void>(assign_one(config, assignment));
  finish_config(config, "--set");
}

VitGeometry named_geometry(const std::string& encoder) {
  if (encoder == "vit-b-16") return {224, 16, 768, 12, 12, 512};
  if (encoder == "vit-b-32") return {224, 32, 768, 12, 12, 512};
  CHECK(encoder == "vit-l-14", "no geometry is called ", encoder);
  return {224, 14, 1024, 24, 16, 768};
}

void fill_config(Config& config) {
  ModelConfig& m = config.model;
  if (m.encoder.starts_with("vit-")) m.geometry = named_geometry(m.encoder);
  if (m.encoder != "resnet152") m.text.embed = m.geometry.embed;
}

void finish_config(Config& config, const std::string& name) {
  fill_config(config);
  const ModelConfig& m = config.model;
  CHECK_INPUT(m.geometry.resolution % m.geometry.patch == 0, name,
              ": model.encoder.resolution: ", m.geometry.resolution, " is not a multiple of the patch ",
              m.geometry.patch);
  CHECK_INPUT(m.geometry.width % m.geometry.heads == 0, name, ": model.encoder.heads: ", m.geometry.heads,
              " do not divide the width ", m.geometry.width);
  CHECK_INPUT(m.text.width % m.text.heads == 0, name, ": model.text.heads: ", m.text.heads,
              " do not divide the width ", m.text.width);
  CHECK_INPUT(m.dim % m.heads == 0, name, ": model.heads: ", m.heads, " do not divide model.dim ", m.dim);
  CHECK_INPUT(m.fusion_kind != "transformer" || m.dim % m.fusion_heads == 0, name,
              ": model.fusion.heads: ", m.fusion_heads, " do not divide model.dim ", m.dim);
  CHECK_INPUT(m.encoder != "resnet152" || !config.train.train_encoder, name,
              ": train.train_encoder: ResNet-152 is for frozen features only; the ViTs can be trained");
  CHECK_INPUT(config.train.accumulate <= config.train.batch, name,
              ": train.accumulate: ", config.train.accumulate, " parts of a batch of ", config.train.batch,
              " (train.batch)");
}

json config_to_json(const Config& config) {
  Config copy = config;
  json root = json::object();
  for (const Field& f : fields(copy)) {
    const bool geometry = f.key.starts_with("model.encoder.");
    if (f.key == "model.encoder" && copy.model.encoder == "custom") continue;
    if (geometry && copy.model.encoder != "custom") continue;
    json* at = &root;
    size_t start = 0;
    for (size_t dot = f.key.find('.'); dot != std::string::npos; dot = f.key.find('.', start)) {
      at = &(*at)[f.key.substr(start, dot - start)];
      start = dot + 1;
    }
    (*at)[f.key.substr(start)] = f.get();
  }
  return root;
}

namespace {

// JSON objects in the table's order, one key a line with its comment.
void print_object(std::string& out, const json& object, const std::string& prefix,
                  const std::vector<Field>& table, int depth) {
  std::vector<std::string> keys;
  for (const Field& f : table) {
    if (!f.key.starts_with(prefix)) continue;
    const std::string key = f.key.substr(prefix.size(), f.key.find('.', prefix.size()) - prefix.size());
    if (object.contains(key) && std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  const std::string indent(static_cast<size_t>(2 * depth), ' ');
  out += "{\n";
  for (size_t i = 0; i < keys.size(); ++i) {
    const json& value = object[keys[i]];
    out += indent + "  \"" + keys[i] + "\": ";
    const char* comma = i + 1 < keys.size() ? "," : "";
    if (value.is_object()) {
      print_object(out, value, prefix + keys[i] + ".", table, depth + 1);
      out += comma;
      out += '\n';
      continue;
    }
    const auto f =
        std::find_if(table.begin(), table.end(), [&](const Field& x) { return x.key == prefix + keys[i]; });
    out += value.dump() + comma + "  // " + f->comment + "\n";
  }
  out += indent + "}";
}

}  // namespace

std::string print_config(const Config& config) {
  Config copy = config;
  std::string out;
  print_object(out, config_to_json(config), "", fields(copy), 0);
  return out + "\n";
}

}  // namespace clipcap
