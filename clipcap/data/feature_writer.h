// A feature file (feature_file.h) that takes hours to make: clips are added one by one to a journal beside it,
// OUT.partial/, from which a killed run goes on, and which becomes OUT when all are there. However many clips
// there are, their features are on the disk only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "clipcap/data/feature_file.h"
#include "clipcap/data/spill_file.h"

namespace clipcap {

class FeatureWriter {
 public:
  /// Goes on from the journal beside `out`, and keeps the clips of an `out` that is there. InputError when one
  /// of them has features of another origin or size, when another process is writing them, or when the folder
  /// cannot be written.
  FeatureWriter(std::filesystem::path out, FeatureOrigin origin, int64_t feature_dim);
  ~FeatureWriter();
  FeatureWriter(const FeatureWriter&) = delete;
  FeatureWriter& operator=(const FeatureWriter&) = delete;

  [[nodiscard]] bool contains(const std::string& id) const;
  /// f32 [n,d_v], n > 0, of a clip that is not there yet. On the disk within a second: a kill loses no more.
  void add(const std::string& id, const Tensor& features);
  /// A clip that is left out; `out` will say so.
  void skip(const std::string& id) { skipped_.push_back(id); }
  /// Writes `out`, complete or not at all, and removes the journal. The bytes depend on the clips alone, not
  /// on the order in which they came or on how often the work was interrupted.
  void finish();

 private:
  struct Entry {
    int64_t first = 0;  // row of the journal
    int64_t rows = 0;
  };
  void read_journal();
  void flush();

  std::filesystem::path out_;
  std::filesystem::path folder_;
  FeatureOrigin origin_;
  int64_t dim_;
  std::optional<FeatureFile> before_;  // what `out` held
  std::unordered_map<std::string, Entry> added_;
  std::vector<std::string> skipped_;
  std::string lines_;  // of clips whose rows are not yet on the disk for sure
  int64_t rows_ = 0;
  int rows_file_ = -1;
  int clips_file_ = -1;
  double flushed_ = 0;  // seconds of the monotonic clock
};

}  // namespace clipcap
