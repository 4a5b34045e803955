#include "clipcap/config/config_difference.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

namespace clipcap {
namespace {

using nlohmann::json;

// Everything else is refused, keys to come included.
constexpr std::array<std::string_view, 24> kMayChange{"train.steps",
                                                      "train.batch",
                                                      "train.accumulate",
                                                      "train.lr",
                                                      "train.warmup",
                                                      "train.lr_floor",
                                                      "train.weight_decay",
                                                      "train.clip_norm",
                                                      "train.checkpoint_every",
                                                      "train.eval_every",
                                                      "train.log_every",
                                                      "train.min_count",
                                                      "train.encoder_lr_scale",
                                                      "loss.distill",
                                                      "loss.alpha",
                                                      "loss.label_smoothing",
                                                      "encoder.weights",
                                                      "encoder.text_weights",
                                                      "encoder.text_settings",
                                                      "encoder.tokenizer",
                                                      "data.split",
                                                      "data.eval_split",
                                                      "data.splits",
                                                      "data.v2c_splits"};
constexpr std::array<std::string_view, 3> kFilesOfData{"data.features", "data.caption_vocabulary",
                                                       "data.commonsense_vocabulary"};

void flatten(const json& value, const std::string& key, json& into) {
  if (!value.is_object()) {
    into[key] = value;
    return;
  }
  for (const auto& [name, member] : value.items())
    flatten(member, key.empty() ? name : key + "." + name, into);
}

json flat(const Config& config) {
  json result = json::object();
  flatten(config_to_json(config), "", result);
  return result;
}

bool holds(const auto& list, const std::string& key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

}  // namespace

std::vector<ChangedKey> changed_keys(const Config& before, const Config& now) {
  const json a = flat(before);
  const json b = flat(now);
  json all = a;
  all.update(b);
  std::vector<ChangedKey> changed;
  for (const auto& [key, unused] : all.items()) {
    const auto shown_value = [&name = key](const json& values) {
      return values.contains(name) ? values[name].dump() : std::string("nothing");
    };
    ChangedKey entry{key, shown_value(a), shown_value(b), holds(kMayChange, key) || holds(kFilesOfData, key)};
    // Runs of before did not record what they found beside the weights.
    if (key == "encoder.settings" && entry.before == "\"\"") continue;
    if (entry.before != entry.now) changed.push_back(std::move(entry));
  }
  return changed;
}

}  // namespace clipcap
