#include "clipcap/training/training_set.h"

#include <algorithm>

#include "clipcap/data/annotations.h"
#include "clipcap/data/feature_array.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/training/data_check.h"

namespace clipcap {
namespace {

// Everything in a configuration that texts, vocabularies and features depend on.
std::string identity_of(const Config& config) {
  const ModelConfig& m = config.model;
  const DataConfig& d = config.data;
  const EncoderConfig& e = config.encoder;
  std::string text = concat_text(d.split, '\n', d.eval_split, '\n', d.splits, d.v2c_splits, '\n',
                                 d.caption_vocabulary, '\n', d.commonsense_vocabulary, '\n', d.features, '\n',
                                 d.sampling, '\n', m.frames, ' ', m.caption_length, ' ', m.intention_length,
                                 ' ', m.effect_length, ' ', m.attribute_length, ' ', config.train.min_count,
                                 ' ', config.train.train_encoder, '\n', config.loss.distill_target, '\n',
                                 e.text_weights, '\n', e.tokenizer, '\n', encoder_name(config));
  if (e.weights.empty() && e.text_weights.empty()) {
    const TextGeometry& g = m.text;
    text += concat_text("\nrandom text tower, seed ", config.train.seed, ' ', g.width, ' ', g.layers, ' ',
                        g.heads, ' ', g.embed);
  }
  return text;
}

}  // namespace

Vocabularies make_vocabularies(const Dataset& dataset, const Config& config) {
  std::vector<int64_t> captions(dataset.words.size(), 0);
  std::vector<int64_t> commonsense(dataset.words.size(), 0);
  for (const Dataset::Clip& clip : dataset.clips) {
    if (dataset.split(clip) != config.data.split) continue;
    for (const Dataset::Rows& caption : dataset.captions_of(clip)) {
      for (const uint32_t word : dataset.tokens[caption.text]) ++captions[word];
      for (size_t k = 0; k < kAspects; ++k) {
        for (uint32_t i = 0; i < caption.count[k]; ++i) {
          for (const uint32_t word : dataset.annotations[k][caption.first[k] + i]) ++commonsense[word];
        }
      }
    }
  }
  const auto choose = [&](const std::string& file, const std::vector<int64_t>& counts) {
    if (!file.empty()) return Vocabulary::from_v2c_info(file);
    std::vector<std::pair<std::string, int64_t>> words;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > 0) words.emplace_back(dataset.words.word(static_cast<uint32_t>(i)), counts[i]);
    }
    return Vocabulary::from_counts(words, config.train.min_count);
  };
  return {choose(config.data.caption_vocabulary, captions),
          choose(config.data.commonsense_vocabulary, commonsense)};
}

TrainingSet::TrainingSet(const Config& config, const std::filesystem::path& data, ClipFeatures ready,
                         const Vocabularies* own)
    : config_(config),
      given_identity_(identity_of(config)),
      ready_(std::move(ready)),
      sampling_(frame_sampling(config)) {
  std::string places;
  Dataset dataset = read_dataset(
      data, {.find_media = ready_.empty(), .splits = config.data.v2c_splits ? "v2c" : config.data.splits},
      &places);
  settle_splits(config_, dataset, data.string());
  const std::vector<std::string> feature_lines =
      settle_features(config_, dataset, ready_, data.string(), places);
  if (config_.encoder.origin == "unknown" && !ready_.empty()) {
    const int64_t expected = make_features_only(config_)->feature_dim();
    const FeatureFile& file = ready_.files().front();
    CHECK_INPUT(file.feature_dim() == expected, file.name(), ": features of ", file.feature_dim(),
                " numbers; those of model.encoder \"", config_.model.encoder, "\" have ", expected);
  }
  const std::string subdecoder_line = settle_subdecoders(config_, dataset);
  vocabularies_ = own != nullptr ? *own : make_vocabularies(dataset, config_);
  same_split_ = config_.data.split == config_.data.eval_split;
  training_ = CaptionedClips(dataset, config_.data.split, vocabularies_, config_.model);
  check_vocabularies(config_, vocabularies_, training_);
  report_ = data_lines(dataset);
  report_.push_back(split_line(config_.data.split, dataset, training_));
  if (!same_split_ && !config_.data.eval_split.empty()) {
    evaluation_ = CaptionedClips(dataset, config_.data.eval_split, vocabularies_, config_.model);
    report_.push_back(split_line(config_.data.eval_split, dataset, evaluation_));
  }
  if (evaluation().size() == 0) {
    if (config_.train.eval_every > 0)
      report_.push_back(config_.data.eval_split.empty()
                            ? "no split validate: nothing is evaluated while training (data.eval_split)"
                            : "no captions in the split " + config_.data.eval_split +
                                  ": nothing is evaluated while training");
    config_.train.eval_every = 0;
  }
  if (!subdecoder_line.empty()) report_.push_back(subdecoder_line);
  report_.insert(report_.end(), feature_lines.begin(), feature_lines.end());
  settled_identity_ = identity_of(config_);
  if (!config_.train.train_encoder) {
    find_ready(training_, training_places_);
    find_ready(evaluation_, evaluation_places_);
    const auto unread = [](const Place& place) { return place.kind == Place::Kind::unread; };
    features_ready_ = std::none_of(training_places_.begin(), training_places_.end(), unread) &&
                      std::none_of(evaluation_places_.begin(), evaluation_places_.end(), unread);
  }
}

bool TrainingSet::serves(const Config& config) const {
  const std::string identity = identity_of(config);
  return identity == given_identity_ || identity == settled_identity_;
}

// Those in files of features; the others stay unread.
void TrainingSet::find_ready(const CaptionedClips& clips, std::vector<Place>& places) {
  places.resize(clips.size());
  for (size_t i = 0; i < clips.size(); ++i) {
    const CaptionedClips::Clip& clip = clips.clips()[i];
    Place& place = places[i];
    if (!ready_.empty()) {
      const std::optional<ClipFeatures::Place> found = ready_.find(clip.video_id);
      CHECK(found, "clip ", clip.video_id, " has no features");
      place = {Place::Kind::feature_file, found->file, static_cast<int32_t>(ready_.row_count(*found)),
               static_cast<int64_t>(found->clip)};
    } else if (is_feature_array(clip.file)) {
      place.kind = Place::Kind::array;
    }
  }
}

void TrainingSet::check_features(const FeatureExtractor& extractor, const Progress& progress) {
  if (checked_) return;
  feature_dim_ = extractor.feature_dim();
  for (const FeatureFile& file : ready_.files()) {
    CHECK_INPUT(file.size() == 0 || file.feature_dim() == feature_dim_, file.name(), ": features of ",
                file.feature_dim(), " numbers, but the encoder's have ", feature_dim_);
    file.check_finite();
  }
  size_t arrays = 0;
  size_t done = 0;
  for (const auto* places : {&training_places_, &evaluation_places_}) {
    for (const Place& place : *places) arrays += place.kind == Place::Kind::array ? 1 : 0;
  }
  for (const bool evaluated : {false, true}) {
    std::vector<Place>& places = evaluated ? evaluation_places_ : training_places_;
    const CaptionedClips& clips = evaluated ? evaluation_ : training_;
    for (size_t i = 0; i < places.size(); ++i) {
      if (places[i].kind != Place::Kind::array) continue;
      check_interrupted();
      const Tensor rows = read_feature_array(clips.clips()[i].file, feature_dim_, sampling_);
      places[i].rows = static_cast<int32_t>(rows.dim(0));
      if (progress) progress("features", ++done, arrays);
    }
  }
  checked_ = true;
}

void TrainingSet::load(const Config& config, const FeatureExtractor& extractor, bool cache,
                       const Progress& progress) {
  CHECK(serves(config), "TrainingSet: loaded for another configuration of data or encoder");
  // What is there already is looked at before hours of frames: features, then the text encoder's files.
  check_features(extractor, progress);
  std::unique_ptr<Teacher> teacher;
  if (config.loss.distill > 0 && !teacher_.defined())
    teacher = std::make_unique<Teacher>(config, vocabularies_);
  if (!config.train.train_encoder) {
    encode(training_, extractor, training_places_, progress);
    if (config.train.eval_every > 0) encode(evaluation_, extractor, evaluation_places_, progress);
  }
  if (teacher) {
    teacher_ = TeacherFeatures::load(*teacher, training_, cache, [&](size_t done, size_t all) {
      if (progress) progress("captions", done, all);
    });
  }
}

void TrainingSet::encode(const CaptionedClips& clips, const FeatureExtractor& extractor,
                         std::vector<Place>& places, const Progress& progress) {
  std::vector<size_t> unread;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i].kind == Place::Kind::unread) unread.push_back(i);
  }
  if (unread.empty()) return;
  if (!spill_) spill_ = std::make_unique<SpillFile>(extractor.feature_dim());
  std::vector<Place> found = places;
  extractor.features_in_order(
      unread.size(), [&](size_t i) { return std::filesystem::path(clips.clips()[unread[i]].file); },
      [&](size_t i, Tensor&& features, const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
        check_interrupted();
        found[unread[i]] = {Place::Kind::spill, 0, static_cast<int32_t>(features.dim(0)),
                            spill_->add(features)};
        if (progress) progress("clips", i + 1, unread.size());
      });
  places = std::move(found);
}

Tensor TrainingSet::features_of(const std::vector<Place>& places, size_t clip) const {
  const Place& place = places.at(clip);
  switch (place.kind) {
    case Place::Kind::feature_file:
      return ready_.rows({place.file, static_cast<size_t>(place.first)});
    case Place::Kind::spill:
      return spill_->rows(place.first, place.rows);
    case Place::Kind::array: {
      const std::string& file = (&places == &training_places_ ? training_ : evaluation_).clips()[clip].file;
      CHECK(checked_, "TrainingSet: the features of ", file, " are asked for before load");
      Tensor rows = read_feature_array(file, feature_dim_, sampling_);
      CHECK_INPUT(rows.dim(0) == place.rows, file, ": ", rows.dim(0), " rows, ", place.rows,
                  " when training began: the file was changed");
      return rows;
    }
    case Place::Kind::unread:
      break;
  }
  fail("TrainingSet: clip ", clip, " has no features yet");
}

}  // namespace clipcap
