// Training and captioning as they go wrong in practice: what the tests of ../shared/cases/training share. Every case
// there trains `tiny.json` on a small data set through the program; its README says what is right for each kind.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/program.h"
#include "tests/temporary_folder.h"

namespace clipcap::testing {

/// ../shared/cases/training
[[nodiscard]] std::filesystem::path training_cases();

/// The entries of expected.json of one kind; at least one. Call it only where training_cases() is there.
[[nodiscard]] std::vector<nlohmann::json> cases_of(const std::string& kind);

/// One case at work: a scratch folder, and the program called as every run of the cases is.
class TrainingCase {
 public:
  explicit TrainingCase(nlohmann::json entry);

  [[nodiscard]] const nlohmann::json& entry() const { return entry_; }
  /// A path in the scratch folder.
  [[nodiscard]] std::filesystem::path at(const std::string& name) const { return scratch_.path() / name; }
  /// A data folder of the cases: the entry's own, or the named one.
  [[nodiscard]] std::string data(const std::string& name = "") const;
  /// Arguments of `clipcap train` on `data` into `out`, with the entry's keys and then `set`.
  [[nodiscard]] std::vector<std::string> arguments(const std::string& data, const std::filesystem::path& out,
                                                   const std::vector<std::string>& set = {},
                                                   const std::vector<std::string>& flags = {}) const;
  Ran train(const std::string& data, const std::filesystem::path& out,
            const std::vector<std::string>& set = {}, const std::vector<std::string>& flags = {}) const;
  Ran caption(const std::filesystem::path& model, const std::string& input,
              const std::vector<std::string>& flags = {"--json"}) const;
  [[nodiscard]] RunOptions options() const;

 private:
  nlohmann::json entry_;
  TemporaryFolder scratch_{"case-training"};
};

/// Every regular expression of the entry's `names` is in the last line on stderr, and the exit code is 2.
void check_refused(const Ran& ran, const nlohmann::json& entry);

/// Names of all files below `folder`, sorted.
[[nodiscard]] std::vector<std::string> files_below(const std::filesystem::path& folder);

/// The first number of the safetensors file that is NaN or infinite, as "tensor[index]"; "" when all are finite.
[[nodiscard]] std::string first_nonfinite(const std::filesystem::path& file);
/// The same for every .safetensors below the folder.
[[nodiscard]] std::string first_nonfinite_below(const std::filesystem::path& folder);

/// Writes NaN over every number of each f32 tensor whose name contains `part`; how many tensors that were.
int poison(const std::filesystem::path& file, const std::string& part);

[[nodiscard]] std::string file_bytes(const std::filesystem::path& file);
[[nodiscard]] bool same_bytes(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace clipcap::testing

// Runs the block once for every case of the kind, each as a section of its own.
#define FOR_EACH_CASE(KIND, NAME)                          \
  for (const nlohmann::json& case_entry : cases_of(KIND))  \
    DYNAMIC_SECTION(case_entry["case"].get<std::string>()) \
  if (const TrainingCase NAME(case_entry); true)
