#include "clipcap/training/training_set.h"

#include "clipcap/encoders/encoder_file.h"
#include "clipcap/process/interrupt.h"

namespace clipcap {
namespace {

const std::vector<Annotation>& aspect_of(const Caption& caption, int k) {
  return k == 0 ? caption.intention : k == 1 ? caption.effect : caption.attribute;
}

// Everything in a configuration that texts, vocabularies and features depend on.
std::string identity_of(const Config& config) {
  const ModelConfig& m = config.model;
  const DataConfig& d = config.data;
  const EncoderConfig& e = config.encoder;
  std::string text = concat_text(d.split, '\n', d.eval_split, '\n', d.v2c_splits, '\n', d.caption_vocabulary,
                                 '\n', d.commonsense_vocabulary, '\n', d.features, '\n', d.sampling, '\n',
                                 m.frames, ' ', m.caption_length, ' ', m.intention_length, ' ',
                                 m.effect_length, ' ', m.attribute_length, ' ', config.train.min_count, ' ',
                                 config.train.train_encoder, '\n', config.loss.distill_target, '\n',
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
  std::vector<std::vector<std::string>> captions;
  std::vector<std::vector<std::string>> commonsense;
  for (const ClipEntry& clip : dataset.clips) {
    if (clip.split != config.data.split) continue;
    for (const Caption& caption : clip.captions) {
      captions.push_back(caption.caption.tokens);
      for (int k = 0; k < kAspects; ++k) {
        for (const Annotation& annotation : aspect_of(caption, k)) commonsense.push_back(annotation.tokens);
      }
    }
  }
  const auto choose = [&](const std::string& file, const std::vector<std::vector<std::string>>& sentences) {
    return file.empty() ? Vocabulary::build(sentences, config.train.min_count)
                        : Vocabulary::from_v2c_info(file);
  };
  return {choose(config.data.caption_vocabulary, captions),
          choose(config.data.commonsense_vocabulary, commonsense)};
}

TrainingSet::TrainingSet(const Config& config, const std::filesystem::path& data, ClipFeatures ready,
                         const Vocabularies* own)
    : identity_(identity_of(config)),
      features_name_(config.data.features),
      ready_(std::move(ready)),
      same_split_(config.data.split == config.data.eval_split) {
  const Dataset dataset = read_dataset(data, DatasetOptions{.v2c_splits = config.data.v2c_splits});
  vocabularies_ = own != nullptr ? *own : make_vocabularies(dataset, config);
  training_ = CaptionedClips(dataset, config.data.split, vocabularies_, config.model);
  CHECK_INPUT(training_.size() > 0, "training: the split \"", config.data.split, "\" has no captioned clips");
  if (!same_split_)
    evaluation_ = CaptionedClips(dataset, config.data.eval_split, vocabularies_, config.model);
}

bool TrainingSet::serves(const Config& config) const { return identity_ == identity_of(config); }

void TrainingSet::load(const Config& config, const FeatureExtractor& extractor, bool cache,
                       const Progress& progress) {
  CHECK(serves(config), "TrainingSet: loaded for another configuration of data or encoder");
  // The text encoder first: its files are looked at before hours of frames.
  std::unique_ptr<Teacher> teacher;
  if (config.loss.distill > 0 && !teacher_.defined())
    teacher = std::make_unique<Teacher>(config, vocabularies_);
  if (!config.train.train_encoder) {
    load_features(training_, extractor, training_features_, progress);
    if (!same_split_ && config.train.eval_every > 0)
      load_features(evaluation_, extractor, evaluation_features_, progress);
  }
  if (teacher) {
    teacher_ = TeacherFeatures::load(*teacher, training_, cache, [&](size_t done, size_t all) {
      if (progress) progress("captions", done, all);
    });
  }
}

void TrainingSet::load_features(const CaptionedClips& clips, const FeatureExtractor& extractor,
                                std::vector<Tensor>& features, const Progress& progress) const {
  if (features.size() == clips.size()) return;
  std::vector<Tensor> loaded;
  for (const CaptionedClips::Clip& clip : clips.clips()) {
    check_interrupted();
    if (ready_.empty()) {
      CHECK_INPUT(!clip.file.empty(), "clip ", clip.video_id,
                  ": no video, frame folder or feature file was found for it");
      loaded.push_back(extractor.features(clip.file));
    } else {
      const auto found = ready_.find(clip.video_id);
      CHECK_INPUT(found != ready_.end(), features_name_, ": no features of clip ", clip.video_id);
      loaded.push_back(found->second);
    }
    if (progress) progress("clips", loaded.size(), clips.size());
  }
  features = std::move(loaded);
}

}  // namespace clipcap
