#include "clipcap/media/clip_source.h"

#include <utility>

#include "clipcap/media/content.h"
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
  int64_t begun = 0;
  try {
    return read_video(path, sampling, [&](int64_t index, Image&& image) {
      ++begun;
      sink(index, std::move(image));
    });
  } catch (const InputError&) {
    // A picture is never called a video, however damaged.
    if (begun == 0 && has_picture_ending(path)) static_cast<void>(read_picture(path));
    throw;
  }
}

}  // namespace clipcap
