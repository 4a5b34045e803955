// Where captions go: to stdout, into one file, or into a file for each input.
#pragma once

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clipcap/report/caption_writer.h"

namespace clipcap::tools {

struct CaptionOutputOptions {
  std::string format;               // its name; empty: by the ending of `out`, or text
  std::string out;                  // file or folder; empty: stdout
  std::vector<std::string> inputs;  // all of them
  std::vector<std::string> read;    // other files that must not be written over
};

class CaptionOutput {
 public:
  /// Throws InputError for what cannot work: subtitles of several films in one file, a file that is also an
  /// input. Nothing is written or emptied before the first result.
  explicit CaptionOutput(CaptionOutputOptions options);
  /// Ends what was begun, so that JSON is whole after an error too.
  ~CaptionOutput();
  CaptionOutput(const CaptionOutput&) = delete;
  CaptionOutput& operator=(const CaptionOutput&) = delete;

  [[nodiscard]] bool on_stdout() const { return options_.out.empty(); }
  /// Subtitles need the times of what they caption.
  [[nodiscard]] bool needs_times() const;

  void begin(const std::string& input);
  void add(const CaptionResult& result);
  void end();
  /// All inputs are done.
  void finish();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  [[nodiscard]] std::string file_for(const std::string& input) const;
  void open(const std::string& path);
  void write(std::string_view text);
  void close();

  CaptionOutputOptions options_;
  CaptionFormat format_ = CaptionFormat::text;
  bool folder_ = false;
  std::map<std::string, size_t> stems_;  // how many inputs have this name without its ending
  std::unique_ptr<CaptionWriter> writer_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string path_;  // of the file that is or will be open
};

}  // namespace clipcap::tools
