#include "clipcap/encoders/network_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "clipcap/encoders/model_family.h"
#include "tensor/io/checkpoint_files.h"
#include "tensor/io/json_text.h"
#include "tensor/problem_list.h"

namespace clipcap {
namespace {

using Tensors = std::map<std::string, Tensor>;
using Kind = NetworkWeights::Kind;

// Segments of a name that stand for a wrapper around a module, wherever they stand.
constexpr std::string_view kWrappers[] = {
    "module",      "_orig_mod",   "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
    "_fpw_module", "_flat_param", "_forward_module",      "_wrapped_module"};

bool is_wrapper(std::string_view segment) {
  return std::find(std::begin(kWrappers), std::end(kWrappers), segment) != std::end(kWrappers);
}

// `name` without wrappers, which are added to `removed`.
std::string unwrapped(const std::string& name, std::set<std::string>& removed) {
  std::string result;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view segment = std::string_view(name).substr(begin, end - begin);
    begin = end + 1;
    if (is_wrapper(segment) && end < name.size()) {
      removed.emplace(segment);
    } else {
      if (!result.empty()) result += '.';
      result += segment;
    }
  }
  return result;
}

// Whether a path leads to an average of the weights, an optimizer's state or another copy that is not the network
// itself.
bool is_copy(std::string_view path) {
  static const std::set<std::string_view> kWords{"ema",       "averaged", "average", "avg",
                                                 "swa",       "shadow",   "polyak",  "optim",
                                                 "optimizer", "momentum", "target",  "teacher"};
  for (size_t begin = 0; begin < path.size();) {
    size_t end = path.find_first_of("._", begin);
    end = std::min(end, path.size());
    std::string word(path.substr(begin, end - begin));
    for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (kWords.contains(word)) return true;
    begin = end + 1;
  }
  return path.find("encoder_k.") != std::string_view::npos;
}

// A network, or a tower of one, whose names begin with `root`.
struct Candidate {
  std::string root;
  bool resnet = false;
  bool sequential = false;  // nn.Sequential's numbers in place of torchvision's names
  ClipLayout layout = ClipLayout::openai;
  bool vision = false;
  bool text = false;
  std::string add;  // before every name below the root: a tower that was saved alone
};

class Finder {
 public:
  Finder(TensorFile file, std::string name, std::string family)
      : name_(std::move(name)),
        family_(std::move(family)),
        skipped_(std::move(file.skipped)),
        taken_said_(std::move(file.said)) {
    origin_.format = file.format;
    origin_.file = file.file;
    origin_.more = std::move(file.more);
    const auto format = file.metadata.find("format");
    CHECK_INPUT(format == file.metadata.end() || format->second != "clipcap", name_,
                ": the weights of a captioner, not an encoder's (its config.json says which encoder it has)");
    CHECK_INPUT(format == file.metadata.end() || format->second != "clipcap features", name_,
                ": features written by `clipcap features`, not an encoder's weights");
    for (auto& [own, tensor] : file.tensors) {
      std::string plain = unwrapped(own, removed_);
      // Where a wrapped and a plain copy lie side by side, the second keeps its wrapper and is another network.
      if (!tensors_.emplace(plain, tensor).second) tensors_.emplace(own, tensor);
    }
  }

  NetworkWeights find() {
    for (const auto& [name, tensor] : tensors_) look_at(name);
    std::vector<Candidate> candidates;
    for (auto& [key, candidate] : found_) candidates.push_back(candidate);
    if (candidates.empty()) refuse();
    candidates = best_of(std::move(candidates));
    NetworkWeights result = std::move(origin_);
    const Candidate& first = candidates.front();
    result.kind = first.resnet ? Kind::resnet : Kind::clip;
    result.layout = first.layout;
    for (const Candidate& candidate : candidates) check_family(candidate);
    size_t inside = 0;
    std::vector<std::string> roots;
    for (const Candidate& candidate : candidates) {
      inside += take(candidate, result);
      if (!candidate.root.empty()) roots.push_back("\"" + candidate.root + "\"");
    }
    std::string said = taken_said_.empty() ? "" : "; " + taken_said_;
    std::vector<std::string> wrappers;
    for (const std::string& wrapper : removed_) wrappers.push_back("\"" + wrapper + ".\"");
    if (!wrappers.empty()) said += concat_text("; ", list_names(wrappers), " taken out of the names");
    if (!roots.empty()) said += concat_text("; under ", list_names(roots));
    for (const auto& [name, tensor] : tensors_)
      inside += name.starts_with("constants.") ? 1 : 0;  // TorchScript's
    if (inside < tensors_.size())
      said += concat_text("; left out beside it: ", tensors_.size() - inside, " tensors");
    if (first.sequential) said += "; numbered as in nn.Sequential";
    if (!skipped_.empty()) {
      std::vector<std::string> names;
      for (const auto& [name, kind] : skipped_) names.push_back(name + " (" + kind + ")");
      said += "; skipped " + list_names(names);
    }
    result.said = said;
    return result;
  }

 private:
  [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }
  [[nodiscard]] bool any_below(const std::string& prefix) const {
    const auto at = tensors_.lower_bound(prefix);
    return at != tensors_.end() && at->first.starts_with(prefix);
  }

  // Notes the network that a tensor of this name is the mark of.
  void look_at(const std::string& name) {
    const auto root_before = [&](std::string_view ending) -> std::optional<std::string> {
      if (!std::string_view(name).ends_with(ending)) return std::nullopt;
      std::string root = name.substr(0, name.size() - ending.size());
      if (!root.empty() && root.back() != '.') return std::nullopt;
      return root;
    };
    if (const auto root = root_before("vision_model.embeddings.patch_embedding.weight")) {
      note(*root, ClipLayout::hugging_face).vision = true;
    } else if (const auto tower = root_before("embeddings.patch_embedding.weight");
               tower && has(*tower + "pre_layrnorm.weight")) {
      Candidate& candidate = note(*tower, ClipLayout::hugging_face);
      candidate.vision = true;
      candidate.add = "vision_model.";
    }
    if (const auto root = root_before("text_model.embeddings.token_embedding.weight")) {
      note(*root, ClipLayout::hugging_face).text = true;
    } else if (const auto tower = root_before("embeddings.token_embedding.weight");
               tower && has(*tower + "final_layer_norm.weight")) {
      Candidate& candidate = note(*tower, ClipLayout::hugging_face);
      candidate.text = true;
      candidate.add = "text_model.";
    }
    if (const auto root = root_before("visual.conv1.weight")) {
      note(*root, ClipLayout::openai).vision = true;
    } else if (const auto tower = root_before("class_embedding");
               tower && has(*tower + "conv1.weight") && !tower->ends_with("visual.")) {
      Candidate& candidate = note(*tower, ClipLayout::openai);
      candidate.vision = true;
      candidate.add = "visual.";
    }
    if (const auto root = root_before("token_embedding.weight");
        root && !root->ends_with("embeddings.") && has(*root + "positional_embedding")) {
      if (root->ends_with("text.")) {
        Candidate& candidate = note(root->substr(0, root->size() - 5), ClipLayout::openai);
        candidate.text = true;
        candidate.layout = ClipLayout::open_clip;
      } else {
        note(*root, ClipLayout::openai).text = true;
      }
    }
    if (const auto root = root_before("layer1.0.conv1.weight"); root && !root->ends_with("visual.")) {
      note(*root, ClipLayout::openai).resnet = true;
    } else if (const auto numbered = root_before("4.0.conv1.weight");
               numbered && has(*numbered + "0.weight")) {
      Candidate& candidate = note(*numbered, ClipLayout::openai);
      candidate.resnet = true;
      candidate.sequential = true;
    }
  }

  Candidate& note(const std::string& root, ClipLayout layout) {
    const bool hugging = layout == ClipLayout::hugging_face;
    Candidate& candidate = found_[root + (hugging ? "\nhf" : "\n")];
    candidate.root = root;
    if (candidate.layout != ClipLayout::open_clip) candidate.layout = layout;
    return candidate;
  }

  // The weights that were trained before averages of them, and of what is left the only one, or an image tower and
  // a text tower that belong together.
  std::vector<Candidate> best_of(std::vector<Candidate> all) {
    const bool any_original =
        std::any_of(all.begin(), all.end(), [](const Candidate& c) { return !is_copy(c.root); });
    if (any_original) std::erase_if(all, [](const Candidate& c) { return is_copy(c.root); });
    for (const char* key : {"state_dict.", "model_state_dict.", "model."}) {
      const auto below = [&](const Candidate& c) { return c.root.starts_with(key); };
      if (all.size() > 1 && std::any_of(all.begin(), all.end(), below))
        std::erase_if(all, [&](const Candidate& c) { return !below(c); });
    }
    const auto pair = [&] {
      return all.size() == 2 && all[0].layout == all[1].layout && !all[0].resnet && !all[1].resnet &&
             all[0].vision != all[1].vision && all[0].text != all[1].text;
    };
    // A backbone's ResNet beside a CLIP, or two networks: nobody can tell which one is meant.
    if (all.size() > 1 && !pair()) {
      std::vector<std::string> roots;
      for (const Candidate& candidate : all)
        roots.push_back(candidate.root.empty() ? "the top" : "\"" + candidate.root + "\"");
      fail_input(name_, ": holds ", all.size(), " networks, under ", list_names(roots),
                 "; save the one that is meant by itself");
    }
    return all;
  }

  void check_family(const Candidate& candidate) const {
    Tensors below;
    for (const auto& [name, tensor] : tensors_) {
      if (name.starts_with(candidate.root)) below.emplace(name.substr(candidate.root.size()), tensor);
    }
    std::string family = near_family(below);
    if (!family.empty() && !family_.empty()) family = family_;
    CHECK_INPUT(family.empty(), name_, ": ", family, "; a CLIP or one of torchvision's ResNets is read here");
  }

  // Moves what lies below a root into the result, and says how many tensors that were.
  size_t take(const Candidate& candidate, NetworkWeights& result) {
    static const std::set<std::string_view> kClip{"visual",
                                                  "text",
                                                  "transformer",
                                                  "token_embedding",
                                                  "positional_embedding",
                                                  "ln_final",
                                                  "text_projection",
                                                  "logit_scale",
                                                  "logit_bias",
                                                  "vision_model",
                                                  "text_model",
                                                  "visual_projection",
                                                  "input_resolution",
                                                  "context_length",
                                                  "vocab_size",
                                                  "attn_mask",
                                                  "cls_emb",
                                                  "text_decoder"};
    const auto belongs = [&](std::string_view own) {
      const std::string_view first = own.substr(0, own.find('.'));
      if (candidate.resnet)
        return first == "conv1" || first == "bn1" || first == "fc" || first.starts_with("layer");
      return kClip.contains(first);
    };
    const auto place = [&](const std::string& name) -> std::string {
      if (!name.starts_with(candidate.root)) return {};
      std::string own = name.substr(candidate.root.size());
      if (candidate.sequential) own = named(own);
      if (!candidate.add.empty() && belongs_to_tower(own)) own = candidate.add + own;
      return belongs(own) ? own : std::string();
    };
    size_t count = 0;
    for (const auto& [name, tensor] : tensors_) {
      const std::string own = place(name);
      if (own.empty() || !result.tensors.emplace(own, tensor).second) continue;
      ++count;
    }
    std::set<std::string> ignored;
    for (const auto& [name, kind] : skipped_) {
      const std::string own = place(unwrapped(name, ignored));
      if (!own.empty()) result.skipped.emplace(own, kind);
    }
    return count;
  }

  // First segments of a tower that was saved alone, without the name it has in the whole.
  static bool belongs_to_tower(std::string_view own) {
    static const std::set<std::string_view> kTower{"conv1",        "class_embedding", "positional_embedding",
                                                   "ln_pre",       "ln_post",         "transformer",
                                                   "proj",         "embeddings",      "encoder",
                                                   "pre_layrnorm", "post_layernorm",  "final_layer_norm",
                                                   "attnpool"};
    return kTower.contains(own.substr(0, own.find('.')));
  }

  // nn.Sequential(*resnet.children()): conv1, bn1, relu, maxpool, layer1 to layer4, avgpool, fc.
  static std::string named(const std::string& own) {
    static constexpr const char* kChildren[] = {"conv1",  "bn1",    "",       "", "layer1",
                                                "layer2", "layer3", "layer4", "", "fc"};
    const size_t dot = own.find('.');
    if (dot != 1 || own[0] < '0' || own[0] > '9') return own;
    const std::string child = kChildren[own[0] - '0'];
    return child.empty() ? own : child + own.substr(dot);
  }

  [[noreturn]] void refuse() const {
    const std::string family = family_.empty() ? family_of_tensors(tensors_) : family_;
    CHECK_INPUT(family.empty(), name_, ": ", family, "; a CLIP or one of torchvision's ResNets is read here");
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    for (const auto& [name, kind] : skipped_) names.push_back(name + " (" + kind + ")");
    CHECK_INPUT(!names.empty(), name_, ": no tensors in it");
    fail_input(name_, ": no CLIP tower and no ResNet of torchvision's in it; its tensors are ",
               list_names(names));
  }

  std::string name_;
  std::string family_;
  NetworkWeights origin_;
  Tensors tensors_;
  std::map<std::string, std::string> skipped_;
  std::string taken_said_;
  std::set<std::string> removed_;
  std::map<std::string, Candidate> found_;  // by root and whose names
};

}  // namespace

NetworkWeights find_network(TensorFile file, const std::string& name, const std::string& family) {
  return Finder(std::move(file), name, family).find();
}

std::string family_beside(const std::filesystem::path& checkpoint) {
  const std::filesystem::path config = main_checkpoint_file(checkpoint).parent_path() / "config.json";
  std::error_code error;
  if (!std::filesystem::is_regular_file(config, error)) return {};
  try {
    const nlohmann::json parsed = parse_json(read_text_file(config, 1U << 20U), config.string());
    if (!parsed.is_object() || !parsed.contains("model_type") || !parsed["model_type"].is_string()) return {};
    const std::string type = parsed["model_type"];
    if (type == "clip" || type == "clip_vision_model" || type == "clip_text_model") return {};
    return family_called(type) + " by the config.json beside it";
  } catch (const Error&) {
    return {};  // what is wrong with it is said where it is needed
  }
}

}  // namespace clipcap
