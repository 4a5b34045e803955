#include "clipcap/data/feature_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "clipcap/process/output_folder.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"

namespace clipcap {
namespace {

using nlohmann::json;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void write_all(int file, const void* data, size_t bytes, const std::filesystem::path& folder) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(file, at, bytes);
    if (written < 0 && errno == EINTR) continue;
    CHECK(written > 0, folder.string(), ": cannot write: ", std::strerror(errno));
    at += written;
    bytes -= static_cast<size_t>(written);
  }
}

int open_in(const std::filesystem::path& folder, const char* name) {
  const int file = ::open((folder / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  CHECK_INPUT(file >= 0, (folder / name).string(), ": cannot be written: ", std::strerror(errno));
  return file;
}

json first_line(const FeatureOrigin& origin, int64_t dim) {
  return {{"format", "clipcap features in the making"},
          {"sha256", origin.sha256},
          {"activation", origin.activation},
          {"frames", origin.frames},
          {"sampling", origin.sampling},
          {"settings", origin.settings},
          {"feature_dim", dim}};
}

constexpr const char* kOther =
    ": holds features of another encoder, frame count or sampling; choose another --out or remove it";

}  // namespace

FeatureWriter::FeatureWriter(std::filesystem::path out, FeatureOrigin origin, int64_t feature_dim)
    : out_(std::move(out)), origin_(std::move(origin)), dim_(feature_dim) {
  folder_ = out_;
  folder_ += ".partial";
  std::error_code error;
  const std::filesystem::path parent = out_.has_parent_path() ? out_.parent_path() : ".";
  CHECK_INPUT(std::filesystem::is_directory(parent, error), out_.string(),
              ": cannot be written: no such folder");
  CHECK_INPUT(!std::filesystem::is_directory(out_, error), out_.string(),
              ": cannot be written: it is a folder");
  if (std::filesystem::exists(out_, error)) {
    before_ = FeatureFile::open(out_);
    CHECK_INPUT(
        before_->origin().same_features(origin_) && (before_->size() == 0 || before_->feature_dim() == dim_),
        out_.string(), kOther);
  }
  std::filesystem::create_directories(folder_, error);
  CHECK_INPUT(!error, folder_.string(), ": cannot be made: ", error.message());
  clips_file_ = open_in(folder_, "clips");
  try {
    CHECK_INPUT(::flock(clips_file_, LOCK_EX | LOCK_NB) == 0, folder_.string(),
                ": another process is writing it");
    remove_dead_leftovers(parent, out_.filename().string());
    rows_file_ = open_in(folder_, "rows");
    read_journal();
  } catch (...) {
    ::close(clips_file_);
    if (rows_file_ >= 0) ::close(rows_file_);
    throw;
  }
  flushed_ = now();
}

FeatureWriter::~FeatureWriter() {
  try {
    flush();
  } catch (const Error&) {  // what is lost is encoded again
  }
  ::close(rows_file_);
  ::close(clips_file_);
  if (rows_ > 0) return;
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

// Lines are written after their rows, so what a line speaks of is there; a line that a kill cut off is not.
void FeatureWriter::read_journal() {
  const std::filesystem::path clips = folder_ / "clips";
  const std::string name = clips.string();
  const std::string text = read_text_file(clips, size_t{1} << 36U);
  const auto row_bytes = static_cast<int64_t>(sizeof(float)) * dim_;
  const int64_t there = static_cast<int64_t>(::lseek(rows_file_, 0, SEEK_END)) / row_bytes;
  size_t good = 0;
  for (size_t begin = 0, number = 1; begin < text.size(); ++number) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    const json entry = parse_json(line, concat_text(name, ": line ", number));
    if (number == 1) {
      CHECK_INPUT(entry == first_line(origin_, dim_), folder_.string(), kOther);
    } else {
      CHECK_INPUT(entry.is_object() && entry.contains("id") && entry["id"].is_string() &&
                      entry.contains("rows") && entry["rows"].is_number_unsigned() &&
                      entry["rows"].get<uint64_t>() > 0 &&
                      entry["rows"].get<uint64_t>() <= static_cast<uint64_t>(origin_.frames),
                  name, ": line ", number, ": expected {\"id\", \"rows\"}");
      const auto rows = entry["rows"].get<int64_t>();
      if (rows_ + rows > there) break;
      added_[entry["id"].get<std::string>()] = {rows_, rows};
      rows_ += rows;
    }
    good = begin = end + 1;
  }
  CHECK(::ftruncate(clips_file_, static_cast<off_t>(good)) == 0 &&
            ::ftruncate(rows_file_, static_cast<off_t>(rows_ * row_bytes)) == 0 &&
            ::lseek(clips_file_, 0, SEEK_END) >= 0 && ::lseek(rows_file_, 0, SEEK_END) >= 0,
        folder_.string(), ": ", std::strerror(errno));
  if (good == 0) lines_ = first_line(origin_, dim_).dump() + "\n";
}

bool FeatureWriter::contains(const std::string& id) const {
  return added_.contains(id) || (before_ && before_->find(id));
}

void FeatureWriter::add(const std::string& id, const Tensor& features) {
  CHECK(features.dtype() == DType::f32 && features.rank() == 2 && features.dim(1) == dim_ &&
            features.dim(0) > 0,
        "FeatureWriter: ", id, " is ", features.shape());
  const Tensor own = features.contiguous();
  write_all(rows_file_, own.host<float>(), static_cast<size_t>(own.numel()) * sizeof(float), folder_);
  lines_ += json{{"id", id}, {"rows", own.dim(0)}}.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
  added_[id] = {rows_, own.dim(0)};
  rows_ += own.dim(0);
  constexpr double kSeconds = 1;
  if (now() - flushed_ >= kSeconds) flush();
}

void FeatureWriter::flush() {
  if (lines_.empty()) return;
  CHECK(::fdatasync(rows_file_) == 0, folder_.string(), ": ", std::strerror(errno));
  write_all(clips_file_, lines_.data(), lines_.size(), folder_);
  lines_.clear();
  flushed_ = now();
}

void FeatureWriter::finish() {
  flush();
  std::vector<FeatureFileEntry> clips;
  for (const auto& [id, entry] : added_) clips.push_back({id, entry.rows});
  if (before_) {
    for (size_t i = 0; i < before_->size(); ++i) {
      std::string id(before_->id(i));
      if (!added_.contains(id)) clips.push_back({std::move(id), before_->row_count(i)});
    }
    for (const std::string& id : before_->skipped()) skipped_.push_back(id);
  }
  std::sort(clips.begin(), clips.end(),
            [](const FeatureFileEntry& a, const FeatureFileEntry& b) { return a.id < b.id; });
  std::set<std::string> skipped;
  for (const std::string& id : skipped_) {
    if (!contains(id)) skipped.insert(id);
  }
  std::shared_ptr<const MappedFile> journal;
  if (rows_ > 0) journal = MappedFile::open(folder_ / "rows");
  const auto storage =
      journal ? std::make_shared<Storage>(journal->bytes().data(), journal->bytes().size(), journal)
              : std::shared_ptr<Storage>();
  size_t written = 0;
  write_feature_file(out_, origin_, dim_, clips,
                     [&](size_t i) {
                       constexpr size_t kClipsAtOnce = 1024;
                       if (++written % kClipsAtOnce == 0 && journal) journal->forget_pages();
                       const auto own = added_.find(clips[i].id);
                       if (own == added_.end()) return before_->rows(*before_->find(clips[i].id));
                       const Shape shape{own->second.rows, dim_};
                       return Tensor::view(storage, shape, contiguous_strides(shape),
                                           own->second.first * dim_, DType::f32);
                     },
                     {skipped.begin(), skipped.end()});
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace clipcap
