// A data set of a few clips in a temporary folder: annotations in both layouts, features as .npy files, and a
// configuration of a captioner that trains on it in seconds.
#pragma once

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clipcap/data/annotations.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/training/training_set.h"
#include "tests/compare.h"
#include "tests/temporary_folder.h"

namespace clipcap::testing {

struct SmallCaption {
  std::string text;
  std::array<std::vector<std::string>, kAspects> aspects;
};

struct SmallClip {
  std::string id;
  int64_t frames = 3;
  std::vector<SmallCaption> captions;
  std::string split = "train";
};

inline constexpr int64_t kSmallFeatures = 20;  // d_v

inline std::string npy_bytes(const std::vector<float>& values, int64_t rows, int64_t columns) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(columns) + "), }";
  header.append(63 - (header.size() + 10) % 64, ' ');
  header += '\n';
  std::string bytes = std::string("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() % 256);
  bytes += static_cast<char>(header.size() / 256);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return bytes;
}

/// Feature rows of a clip: normal numbers from the clip's id, so that two clips never look alike.
inline std::vector<float> small_features(const SmallClip& clip) {
  uint64_t seed = 1;
  for (const char c : clip.id) seed = seed * 131 + static_cast<unsigned char>(c);
  return random_values<float>(clip.frames * kSmallFeatures, seed);
}

inline void write_small_data(const TemporaryFolder& folder, const std::vector<SmallClip>& clips,
                             bool with_features = true) {
  using nlohmann::json;
  json info{{"videos", json::array()}, {"sentences", json::array()}};
  json commonsense = json::object();
  const auto words = [](const std::string& text) {
    json list = json::array({"<sos>"});
    for (const std::string& word : split_words(text)) list.push_back(word);
    list.push_back("<eos>");
    return list;
  };
  for (const SmallClip& clip : clips) {
    info["videos"].push_back({{"video_id", clip.id}, {"split", clip.split}});
    for (const SmallCaption& caption : clip.captions) {
      info["sentences"].push_back({{"video_id", clip.id}, {"caption", caption.text}});
      json entry{{"caption", caption.text}, {"final_caption", words(caption.text)}};
      for (size_t k = 0; k < kAspects; ++k) {
        entry[kAspectNames[k]] = json::array();
        for (const std::string& text : caption.aspects[k])
          entry[kAspectNames[k]].push_back(json::array({text, words(text)}));
      }
      commonsense[clip.id].push_back(entry);
    }
    if (with_features) {
      folder.write("features/" + clip.id + ".npy",
                   npy_bytes(small_features(clip), clip.frames, kSmallFeatures));
    }
  }
  folder.write("videodatainfo.json", info.dump());
  folder.write("V2C_caption.json", commonsense.dump());
}

/// Captions and annotations whose words say which clip, caption and annotation they are.
inline std::vector<SmallClip> numbered_clips(int count) {
  std::vector<SmallClip> clips;
  for (int i = 0; i < count; ++i) {
    SmallClip clip{"clip" + std::to_string(i), 1 + i % 5, {}};
    for (int j = 0; j < 1 + i % 4; ++j) {
      const std::string name = std::to_string(i) + "x" + std::to_string(j);
      SmallCaption caption{"caption c" + name, {}};
      for (int more = 0; more < (i + j) % 4; ++more) caption.text += " more";
      for (size_t k = 0; k < kAspects; ++k) {
        const int annotations = (i + j + static_cast<int>(k)) % 4;
        for (int a = 0; a < annotations; ++a) {
          std::string text = std::string(kAspectNames[k]) + " a" + name + "x" + std::to_string(a);
          for (int more = 0; more < a; ++more) text += " again";
          caption.aspects[k].push_back(text);
        }
      }
      clip.captions.push_back(caption);
    }
    clips.push_back(clip);
  }
  return clips;
}

inline Config small_training_config() {
  Config config = parse_config(
      R"({"model": {"encoder": {"resolution": 32, "patch": 16, "width": 24, "layers": 1, "heads": 2, "embed": 20},
           "text": {"width": 16, "layers": 1, "heads": 2}, "frames": 5, "dim": 32, "heads": 4, "hidden": 48,
           "fusion": {"scales": 2}, "decoder": {"layers": 2}, "subdecoder": {"layers": 1}, "dropout": 0},
          "train": {"steps": 20, "batch": 4, "warmup": 4, "lr": 1e-3, "min_count": 0, "checkpoint_every": 0,
                    "eval_every": 0, "log_every": 1},
          "data": {"eval_split": "train"}})",
      "small");
  return config;
}

/// What a run of the configuration learns from, loaded; nothing is cached.
inline std::unique_ptr<TrainingSet> small_training_set(const Config& config, const TemporaryFolder& folder) {
  auto set = std::make_unique<TrainingSet>(config, folder.path());
  Generator generator(1);
  const auto encoder = make_image_encoder(config, generator, false);
  set->load(config, FeatureExtractor(*encoder, config, ""), false, {});
  return set;
}

}  // namespace clipcap::testing
