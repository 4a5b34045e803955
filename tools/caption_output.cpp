#include "tools/caption_output.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <set>

#include "clipcap/terminal/console.h"
#include "tools/output.h"

namespace clipcap::tools {
namespace {

namespace fs = std::filesystem;

struct Format {
  const char* name;
  const char* ending;
  CaptionFormat format;
};
constexpr std::array<Format, 5> kFormats{{{"text", ".txt", CaptionFormat::text},
                                          {"json", ".json", CaptionFormat::json},
                                          {"jsonl", ".jsonl", CaptionFormat::jsonl},
                                          {"srt", ".srt", CaptionFormat::srt},
                                          {"vtt", ".vtt", CaptionFormat::vtt}}};

const Format& format_of(const CaptionOutputOptions& options) {
  const std::string ending = fs::path(options.out).extension().string();
  for (const Format& format : kFormats) {
    if (options.format.empty() ? ending == format.ending : options.format == format.name) return format;
  }
  return kFormats[0];
}

fs::path name_of(const std::string& input) {
  const fs::path name = fs::path(input).lexically_normal();
  return name.has_filename() ? name : name.parent_path();  // "frames/"
}

}  // namespace

CaptionOutput::CaptionOutput(CaptionOutputOptions options)
    : options_(std::move(options)), format_(format_of(options_).format) {
  std::error_code error;
  const std::string& out = options_.out;
  folder_ = !out.empty() && (out.ends_with('/') || fs::is_directory(out, error));
  CHECK_INPUT(!needs_times() || folder_ || options_.inputs.size() == 1, "--format ", format_of(options_).name,
              ": one file holds the subtitles of one film, and there are ", options_.inputs.size(),
              " inputs; --out FOLDER/ writes a file for each");
  if (folder_) {
    fs::create_directories(out, error);
    CHECK_INPUT(!error, out, ": cannot make this folder (", error.message(), ")");
    for (const std::string& input : options_.inputs) ++stems_[name_of(input).stem().string()];
    std::set<std::string> files;
    for (const std::string& input : options_.inputs) {
      const std::string file = file_for(input);
      CHECK_INPUT(files.insert(file).second, file, ": two inputs would write it; ", input, " is the second");
    }
  } else if (!out.empty()) {
    path_ = out;
    const fs::path parent = fs::path(out).parent_path();
    CHECK_INPUT(parent.empty() || fs::is_directory(parent, error), out, ": no folder ", parent.string());
  }
  for (const std::vector<std::string>* files : {&options_.inputs, &options_.read}) {
    for (const std::string& file : *files) {
      const std::string target = folder_ && files == &options_.inputs ? file_for(file) : path_;
      CHECK_INPUT(target.empty() || !fs::exists(target, error) || !fs::equivalent(file, target, error),
                  "--out ", target, ": is read here; choose another name");
    }
  }
}

CaptionOutput::~CaptionOutput() {
  try {
    if (writer_) writer_->finish(false);
  } catch (const std::exception&) {  // what ended the program is said already
  }
}

bool CaptionOutput::needs_times() const {
  return format_ == CaptionFormat::srt || format_ == CaptionFormat::vtt;
}

// Players look for film.srt beside film.mkv; a.mkv and a.mp4 keep their endings.
std::string CaptionOutput::file_for(const std::string& input) const {
  const fs::path name = name_of(input);
  const bool only = stems_.at(name.stem().string()) == 1;
  return (fs::path(options_.out) / (only ? name.stem() : name.filename())).string() +
         format_of(options_).ending;
}

void CaptionOutput::begin(const std::string& input) {
  if (folder_) path_ = file_for(input);
  if (!writer_)
    writer_ = std::make_unique<CaptionWriter>(format_, [this](std::string_view text) { write(text); });
}

void CaptionOutput::add(const CaptionResult& result) { writer_->add(result); }

void CaptionOutput::end() {
  if (folder_) close();
}

void CaptionOutput::finish() { close(); }

void CaptionOutput::close() {
  if (!writer_) return;
  writer_->finish();
  writer_.reset();
  if (!file_) return;
  errno = 0;
  const int code = std::fclose(file_.release());
  CHECK(code == 0, path_, ": cannot write (", std::strerror(errno), ")");
}

void CaptionOutput::open(const std::string& path) {
  file_.reset(std::fopen(path.c_str(), "wb"));
  CHECK_INPUT(file_ != nullptr, "--out ", path, ": cannot write (", std::strerror(errno), ")");
}

void CaptionOutput::write(std::string_view text) {
  if (on_stdout()) {
    console().around_bar([&] { print(text, true); });
    return;
  }
  if (!file_) open(path_);
  errno = 0;
  CHECK(std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size() && std::fflush(file_.get()) == 0,
        path_, ": cannot write (", std::strerror(errno), ")");
}

}  // namespace clipcap::tools
