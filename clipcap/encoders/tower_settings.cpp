#include "clipcap/encoders/tower_settings.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/io/json_text.h"

namespace clipcap {
namespace {

using nlohmann::json;

constexpr std::pair<Activation, const char*> kActivations[] = {{Activation::quick_gelu, "quick_gelu"},
                                                               {Activation::gelu, "gelu"},
                                                               {Activation::gelu_tanh, "gelu_tanh"},
                                                               {Activation::relu, "relu"}};

// Reads the keys of a record one by one; what is left at the end is not known.
class Record {
 public:
  Record(const std::string& text, std::string where)
      : where_(std::move(where)), object_(parse_json(text, where_)) {
    CHECK_INPUT(object_.is_object(), where_, ": ", shown(object_), " is no record of an encoder's settings");
  }
  template <class T>
  void take(const char* key, T& value) {
    const auto found = object_.find(key);
    if (found == object_.end()) return;
    try {
      found->get_to(value);
    } catch (const json::exception&) {
      fail_input(where_, ": ", key, " is ", shown(*found));
    }
    object_.erase(found);
  }
  void finish() const {
    CHECK_INPUT(object_.empty(), where_, ": settings that this program does not know: ", shown(object_));
  }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  std::string where_;
  json object_;
};

template <class Settings>
void take_common(Record& record, Settings& settings, int64_t& heads) {
  std::string activation = name_of(settings.activation);
  record.take("activation", activation);
  settings.activation = parse_activation(activation, record.where());
  record.take("heads", heads);
  record.take("eps", settings.eps);
  record.take("projection", settings.projection);
  CHECK_INPUT(heads > 0 && heads <= 65536 && std::isfinite(settings.eps) && settings.eps >= 0, record.where(),
              ": ", heads, " heads, eps ", settings.eps);
}

template <class Settings>
json common(const Settings& settings, int64_t heads) {
  json record{{"activation", name_of(settings.activation)}, {"heads", heads}};
  if (settings.eps != 1e-5) record["eps"] = settings.eps;
  if (!settings.projection) record["projection"] = false;
  return record;
}

bool same(const std::array<float, 3>& a, const std::array<float, 3>& b) { return a == b; }

}  // namespace

Preprocessing VisionSettings::preprocessing(int64_t resolution) const {
  Preprocessing result = preprocess;
  result.crop = resolution;
  result.resize = std::max(resize, resolution);
  return result;
}

const char* name_of(Activation activation) {
  for (const auto& [known, name] : kActivations) {
    if (known == activation) return name;
  }
  return "none";
}

Activation parse_activation(const std::string& name, const std::string& where) {
  for (const auto& [known, called] : kActivations) {
    if (name == called) return known;
  }
  fail_input(where, ": activation \"", name.substr(0, 60),
             "\": expected quick_gelu, gelu, gelu_tanh or relu");
}

std::string record_settings(const VisionSettings& s, int64_t heads) {
  json record = common(s, heads);
  const VisionSettings usual;
  if (s.pool == VisionSettings::Pool::average) record["pool"] = "average";
  if (!s.norm_before) record["norm_before"] = false;
  if (s.norm_pooled) record["norm_pooled"] = true;
  if (s.resize > 0) record["resize"] = s.resize;
  if (s.preprocess.filter != usual.preprocess.filter) record["filter"] = "bilinear";
  if (!same(s.preprocess.mean, usual.preprocess.mean)) record["mean"] = s.preprocess.mean;
  if (!same(s.preprocess.deviation, usual.preprocess.deviation)) record["deviation"] = s.preprocess.deviation;
  return record.dump();
}

std::string record_settings(const TextSettings& s, int64_t heads) {
  json record = common(s, heads);
  if (!s.causal) record["causal"] = false;
  if (s.pool != TextSettings::Pool::end)
    record["pool"] = s.pool == TextSettings::Pool::first ? "first" : "last";
  if (s.projection_bias) record["projection_bias"] = true;
  if (s.end_token >= 0) record["end_token"] = s.end_token;
  return record.dump();
}

void recall_settings(const std::string& text, const std::string& where, VisionSettings& s, int64_t& heads) {
  Record record(text, where);
  take_common(record, s, heads);
  std::string pool = "class";
  record.take("pool", pool);
  CHECK_INPUT(pool == "class" || pool == "average", where, ": pool \"", pool.substr(0, 60), '"');
  s.pool = pool == "average" ? VisionSettings::Pool::average : VisionSettings::Pool::class_token;
  record.take("norm_before", s.norm_before);
  record.take("norm_pooled", s.norm_pooled);
  record.take("resize", s.resize);
  std::string filter = "bicubic";
  record.take("filter", filter);
  CHECK_INPUT(filter == "bicubic" || filter == "bilinear", where, ": filter \"", filter.substr(0, 60), '"');
  s.preprocess.filter = filter == "bilinear" ? ResizeFilter::bilinear : ResizeFilter::bicubic;
  record.take("mean", s.preprocess.mean);
  record.take("deviation", s.preprocess.deviation);
  CHECK_INPUT(s.resize >= 0 && s.resize <= 65536, where, ": resize ", s.resize);
  record.finish();
}

void recall_settings(const std::string& text, const std::string& where, TextSettings& s, int64_t& heads) {
  Record record(text, where);
  take_common(record, s, heads);
  record.take("causal", s.causal);
  std::string pool = "end";
  record.take("pool", pool);
  CHECK_INPUT(pool == "end" || pool == "first" || pool == "last", where, ": pool \"", pool.substr(0, 60),
              '"');
  s.pool = pool == "end"     ? TextSettings::Pool::end
           : pool == "first" ? TextSettings::Pool::first
                             : TextSettings::Pool::last;
  record.take("projection_bias", s.projection_bias);
  record.take("end_token", s.end_token);
  record.finish();
}

std::string describe_settings(const VisionSettings& s) {
  std::string text;
  const VisionSettings usual;
  if (s.eps != usual.eps) text += concat_text(", eps ", s.eps);
  if (s.pool == VisionSettings::Pool::average) text += ", patches averaged";
  if (!s.norm_before) text += ", no norm before the layers";
  if (!s.projection) text += ", no projection: its pooled output";
  if (s.resize > 0) text += concat_text(", pictures scaled to ", s.resize, " first");
  if (s.preprocess.filter != usual.preprocess.filter) text += ", bilinear resizing";
  if (!same(s.preprocess.mean, usual.preprocess.mean) ||
      !same(s.preprocess.deviation, usual.preprocess.deviation))
    text += ", a pixel mean and deviation of its own";
  return text;
}

std::string describe_settings(const TextSettings& s) {
  std::string text;
  if (s.eps != TextSettings().eps) text += concat_text(", eps ", s.eps);
  if (!s.causal) text += ", no causal mask";
  if (s.pool == TextSettings::Pool::first) text += ", pooled at the first position";
  if (s.pool == TextSettings::Pool::last) text += ", pooled at the last position";
  if (!s.projection) text += ", no projection: its pooled output";
  return text;
}

}  // namespace clipcap
