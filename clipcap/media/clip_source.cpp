#include "clipcap/media/clip_source.h"

#include "tensor/check.h"

namespace clipcap {

int64_t load_clip(const std::filesystem::path& path, const FrameSampling& sampling, const FrameSink& sink) {
  std::error_code error;
  CHECK_INPUT(std::filesystem::exists(path, error), path.string(), ": no such file or folder");
  if (std::filesystem::is_directory(path, error)) {
    const std::vector<std::filesystem::path> frames = list_frame_folder(path);
    int64_t given = 0;
    for (const int64_t i : sample_indices(static_cast<int64_t>(frames.size()), sampling)) {
      sink(given++, read_picture(frames[static_cast<size_t>(i)]));
    }
    return given;
  }
  if (is_picture(path)) {
    sink(0, read_picture(path));
    return 1;
  }
  return read_video(path, sampling, sink);
}

}  // namespace clipcap
