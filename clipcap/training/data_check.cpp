#include "clipcap/training/data_check.h"

#include <algorithm>
#include <cstdio>

#include "clipcap/data/feature_array.h"

namespace clipcap {
namespace {

constexpr size_t kMostNames = 10;  // in one message

std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
    text += (i == 0 ? "" : ", ") + names[i].substr(0, 60);
  if (names.size() > kMostNames) text += concat_text(" and ", names.size() - kMostNames, " more");
  return text;
}

std::string counted(size_t count, const char* what) {
  return concat_text(count, ' ', what, count == 1 ? "" : "s");
}

std::string percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", value);
  return text;
}

// "train (6513 clips), validate (497 clips)"
std::string splits_there_are(const Dataset& dataset) {
  std::vector<std::string> names;
  for (const std::string& split : dataset.splits) {
    const size_t clips = dataset.clips_in(split);
    if (clips > 0)
      names.push_back(concat_text(split.empty() ? "none" : split, " (", counted(clips, "clip"), ")"));
  }
  return names.empty() ? "none, for there are no clips" : some_of(names);
}

size_t captioned(const Dataset& dataset, const std::string& split) {
  size_t count = 0;
  for (const Dataset::Clip& clip : dataset.clips)
    count += dataset.split(clip) == split && clip.captions > 0 ? 1 : 0;
  return count;
}

}  // namespace

void check_losses(const Config& config) {
  const LossConfig& loss = config.loss;
  const auto& on = config.model.subdecoders;
  double sum = loss.distill + loss.alpha[0];
  for (size_t k = 0; k < kAspects; ++k)
    sum += std::find(on.begin(), on.end(), kAspectNames[k]) != on.end() ? loss.alpha[k + 1] : 0.0;
  CHECK_INPUT(sum > 0, "train: every loss is off (loss.distill and loss.alpha are 0",
              on.empty() ? " and there are no sub-decoders" : "", "): nothing would be learnt");
  CHECK_INPUT(
      loss.alpha[0] > 0,
      "train: loss.alpha: the caption's weight is 0, so the model would write captions that nothing trained");
  for (size_t k = 0; k < kAspects; ++k) {
    CHECK_INPUT(
        std::find(on.begin(), on.end(), kAspectNames[k]) == on.end() || loss.alpha[k + 1] > 0,
        "train: loss.alpha: the weight of ", kAspectNames[k],
        " is 0, so its sub-decoder would write texts that nothing trained; give it a weight or take it out "
        "of model.subdecoders");
  }
}

void settle_splits(Config& config, const Dataset& dataset, const std::string& data) {
  DataConfig& d = config.data;
  const auto there = [&](const std::string& split) { return !split.empty() && dataset.clips_in(split) > 0; };
  const auto settle = [&](std::string& split, const char* key) {
    if (!there(split)) split = there(split_name(split)) ? split_name(split) : split;
    CHECK_INPUT(there(split), data, ": ", key, ": there is no split \"", split.substr(0, 60),
                "\"; those there are, by ", dataset.split_source, ": ", splits_there_are(dataset));
  };
  settle(d.split, "data.split");
  if (d.eval_split.empty()) {
    if (there("validate")) d.eval_split = "validate";
  } else {
    settle(d.eval_split, "data.eval_split");
  }
  if (captioned(dataset, d.split) > 0) return;
  size_t empty = 0;
  for (const Dataset::Clip& clip : dataset.clips)
    empty += dataset.split(clip) == d.split ? clip.empty_captions : 0;
  fail_input(data, ": none of the ", dataset.clips_in(d.split), " clips of the split \"", d.split,
             "\" has a caption with words in videodatainfo.json or V2C's file",
             empty > 0 ? concat_text(" (", empty, " captions are empty)") : "");
}

std::string settle_subdecoders(Config& config, const Dataset& dataset) {
  std::vector<std::string>& on = config.model.subdecoders;
  if (on.empty()) return {};
  for (const V2cCoverage& file : dataset.commonsense) {
    CHECK_INPUT(file.clips > 0 || file.unknown == 0, file.file,
                ": V2C's annotations are of other clips: none of its ", file.unknown, " ids (", file.example,
                file.unknown > 1 ? ", …" : "",
                ") is a clip of this data set; take the file away or train with model.subdecoders=[]");
  }
  std::vector<std::string> off;
  std::vector<std::string> left;
  for (const std::string& name : on) {
    const auto k = static_cast<size_t>(std::find(kAnnotationNames.begin(), kAnnotationNames.end(), name) -
                                       kAnnotationNames.begin());
    size_t count = 0;
    for (const Dataset::Clip& clip : dataset.clips) {
      if (dataset.split(clip) != config.data.split) continue;
      for (const Dataset::Rows& caption : dataset.captions_of(clip)) count += caption.count[k];
    }
    (count > 0 ? left : off).push_back(name);
  }
  on = left;
  if (off.empty()) return {};
  const std::string names = some_of(off);
  return concat_text("no annotations of ", names, " in the split \"", config.data.split,
                     "\" (V2C's caption file ", dataset.commonsense.empty() ? "is not there" : "has none",
                     "): ", off.size() == 1 ? "this sub-decoder is" : "these sub-decoders are", " off");
}

std::vector<std::string> settle_features(Config& config, Dataset& dataset, const ClipFeatures& ready,
                                         const std::string& data, const std::string& places) {
  std::vector<std::string> missing;
  std::vector<std::string> skipped;
  size_t arrays = 0;
  size_t media = 0;
  std::string array;
  std::string medium;
  for (Dataset::Clip& clip : dataset.clips) {
    const std::string& split = dataset.split(clip);
    if (clip.captions == 0 || (split != config.data.split && split != config.data.eval_split)) continue;
    if (split.empty()) continue;
    if (!ready.empty()) {
      if (ready.find(clip.video_id)) continue;
      const bool left_out = ready.skipped(clip.video_id);
      (left_out ? skipped : missing).push_back(clip.video_id);
      if (left_out) clip.split = 0;
      continue;
    }
    if (clip.folder == Dataset::kNowhere) {
      missing.push_back(clip.video_id);
      continue;
    }
    const bool is_array = is_feature_array(clip.file);
    if ((is_array ? arrays : media)++ == 0) (is_array ? array : medium) = dataset.file(clip).string();
  }
  if (!missing.empty()) {
    const std::string which =
        concat_text(counted(missing.size(), "clip"), " of the splits ", config.data.split,
                    config.data.eval_split.empty() || config.data.eval_split == config.data.split
                        ? ""
                        : " and " + config.data.eval_split);
    throw MissingClips(
        ready.empty() ? concat_text(data, ": no video, frame folder or .npy of ", which, ": ",
                                    some_of(missing), " (looked in ", places, ")")
                      : concat_text(config.data.features, ": no features of ", which, ": ", some_of(missing)),
        missing);
  }
  std::vector<std::string> lines;
  if (!skipped.empty()) {
    lines.push_back(concat_text(config.data.features, ": ", counted(skipped.size(), "clip"),
                                " left out by `features --keep-going`, and here: ", some_of(skipped)));
    CHECK_INPUT(captioned(dataset, config.data.split) > 0, config.data.features,
                ": every clip of the split \"", config.data.split, "\" was left out");
  }
  if (arrays == 0) return lines;
  CHECK_INPUT(!config.train.train_encoder, array,
              ": features instead of a video, which train.train_encoder needs");
  if (!config.encoder.weights.empty()) {
    lines.push_back(concat_text(counted(arrays, "clip"), " have a .npy (", array, "), taken for features of ",
                                config.encoder.weights));
    return lines;
  }
  CHECK_INPUT(media == 0, array, ": features of an unknown encoder, but ", counted(media, "clip"),
              " of the same splits have to be encoded (", medium,
              "); encoder.weights names the checkpoint that made the features");
  config.encoder.origin = "unknown";
  lines.push_back(concat_text("features: ", counted(arrays, "clip"), " as .npy (", array,
                              "); nothing says which encoder made them: unknown"));
  return lines;
}

void check_vocabularies(const Config& config, const Vocabularies& vocabularies,
                        const CaptionedClips& training) {
  const auto check = [&](const Vocabulary& vocabulary, const WordCoverage& coverage, const char* what,
                         const std::string& file, const char* key) {
    if (file.empty()) {
      CHECK_INPUT(vocabulary.plain_words() > 0, "train.min_count: no ", what, " word occurs more than ",
                  config.train.min_count, " times: the vocabulary would be empty");
    }
    CHECK_INPUT(vocabulary.plain_words() > 0 && coverage.unknown < coverage.words,
                file.empty() ? "the run's vocabulary" : concat_text(key, ": ", file), ": none of the ",
                coverage.words, " ", what, " words of the split \"", config.data.split, "\" is in it");
  };
  check(vocabularies.caption, training.caption_words(), "caption", config.data.caption_vocabulary,
        "data.caption_vocabulary");
  if (!config.model.subdecoders.empty())
    check(vocabularies.commonsense, training.commonsense_words(), "commonsense",
          config.data.commonsense_vocabulary, "data.commonsense_vocabulary");
}

std::string split_line(const std::string& name, const Dataset& dataset, const CaptionedClips& clips) {
  size_t all = 0;
  size_t empty = 0;
  for (const Dataset::Clip& clip : dataset.clips) {
    if (dataset.split(clip) != name) continue;
    ++all;
    empty += clip.empty_captions;
  }
  size_t matched = 0;
  std::array<size_t, kAspects> annotations{};
  for (int k = 0; k < kAspects; ++k) annotations[static_cast<size_t>(k)] = clips.annotations(k);
  for (size_t c = 0; c < clips.captions(); ++c) {
    bool some = false;
    for (int k = 0; k < kAspects; ++k) some = some || clips.annotations(c, k) > 0;
    matched += some ? 1 : 0;
  }
  std::string line =
      concat_text(name, ": ", counted(clips.size(), "clip"), ", ", counted(clips.captions(), "caption"),
                  "; commonsense: ", matched, " matched, ", clips.captions() - matched, " unmatched");
  if (matched > 0) {
    line += " (";
    for (size_t k = 0; k < kAspects; ++k)
      line += concat_text(k == 0 ? "" : ", ", annotations[k], ' ', kAspectNames[k]);
    line += ")";
  }
  line += concat_text("; ", empty, " empty captions dropped");
  if (all > clips.size())
    line += concat_text(", ", counted(all - clips.size(), "clip"), " without captions left out");
  line += "; <UNK>: " + percent(clips.caption_words().percent()) + " of caption words";
  if (matched > 0) line += ", " + percent(clips.commonsense_words().percent()) + " of commonsense words";
  return line;
}

std::vector<std::string> data_lines(const Dataset& dataset) {
  std::vector<std::string> lines;
  lines.push_back(concat_text("splits by ", dataset.split_source, ": ", splits_there_are(dataset)));
  for (const V2cCoverage& file : dataset.commonsense) {
    std::string line =
        concat_text(file.file, ": V2C's annotations of ", counted(file.clips, "clip"), "; ", file.matched,
                    " captions matched, ", file.added, " not in videodatainfo.json added");
    if (file.renamed > 0)
      line += concat_text("; ", file.renamed, " ids read as others (", file.renamed_example, ")");
    if (file.unknown > 0)
      line += concat_text("; ", counted(file.unknown, "clip"), " not in this data set (", file.example,
                          file.unknown > 1 ? ", …)" : ")");
    if (file.empty > 0) line += concat_text("; ", file.empty, " annotations without words dropped");
    lines.push_back(line);
  }
  for (const std::string& note : dataset.notes) lines.push_back(note);
  return lines;
}

}  // namespace clipcap
