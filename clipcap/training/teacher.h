// The distillation's teacher (eq. 5): CLIP's frozen text tower, and its features of every training caption.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "clipcap/encoders/towers.h"
#include "clipcap/text/tokenizer.h"
#include "clipcap/training/captioned_clips.h"

namespace clipcap {

/// With encoder.weights (or encoder.text_weights) the tower is CLIP's own and reads the captions through
/// CLIP's tokenizer; without, it is random from train.seed and reads the captions' own word ids.
class Teacher {
 public:
  /// InputError when the checkpoint has no text tower, or the tokenizer is missing or another vocabulary's.
  Teacher(const Config& config, const Vocabularies& vocabularies);

  /// The tower's ids of a caption; the last one is where it pools. `ids`: sos, words, eos.
  [[nodiscard]] std::vector<int32_t> tokens(std::string_view text, std::span<const int32_t> ids) const;
  /// Features of several captions at once, one below the other: [rows,e]. Pooled: one row a caption;
  /// "tokens": one row a token, as many as the caption has.
  [[nodiscard]] Tensor encode(const std::vector<std::vector<int32_t>>& captions) const;
  /// Says which tower, which weights and which target: for the cache.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int64_t feature_dim() const { return tower_->geometry().embed; }
  [[nodiscard]] bool pooled() const { return pooled_; }

 private:
  std::unique_ptr<TextTower> tower_;
  std::unique_ptr<ClipTokenizer> tokenizer_;  // null: the captions' own ids
  std::string name_;
  bool pooled_ = true;
};

/// T_CLIP of every caption of a split.
class TeacherFeatures {
 public:
  /// Undefined.
  TeacherFeatures() = default;
  /// Encodes all captions, in shards of kCaptionsAShard, each kept in the cache (cache/cache_folder.h) when
  /// `cache`: a shard that is there, for the same tower and the same token ids, is mapped instead of
  /// encoded, so that a killed run finds what it had. `progress(done, all)` is called after every shard that
  /// had to be encoded.
  [[nodiscard]] static TeacherFeatures load(const Teacher& teacher, const CaptionedClips& clips, bool cache,
                                            const std::function<void(size_t, size_t)>& progress);

  [[nodiscard]] bool defined() const { return !shards_.empty(); }
  /// Features of a caption: [1,e] pooled, [L,e] for tokens; a view.
  [[nodiscard]] Tensor rows(size_t caption) const;
  /// T_CLIP of a batch: [B,e], or, for tokens, [B,n,e] resampled to each clip's lengths[b] real frames.
  [[nodiscard]] Tensor batch(std::span<const size_t> captions, const std::vector<int32_t>& lengths,
                             int64_t n) const;
  static constexpr size_t kCaptionsAShard = 1024;

 private:
  struct Shard {
    Tensor features;            // [rows,e], in memory or mapped
    std::vector<int32_t> ends;  // by caption: the end of its rows
  };
  std::vector<Shard> shards_;
  bool pooled_ = true;
};

}  // namespace clipcap
