// Where clips are looked for, and under which names.
#include "clipcap/data/media_files.h"

#include <nlohmann/json.hpp>

#include "clipcap/data/annotations.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Files = std::vector<std::string>;

// Where the clips of these ids are found, below the folder.
Files found(const TemporaryFolder& folder, const std::vector<std::string>& ids,
            std::string* places = nullptr) {
  nlohmann::json info{{"videos", nlohmann::json::array()}, {"sentences", nlohmann::json::array()}};
  for (const std::string& id : ids) info["videos"].push_back({{"video_id", id}});
  folder.write("videodatainfo.json", info.dump());
  const Dataset dataset = read_dataset(folder.path(), {}, places);
  Files files;
  for (const Dataset::Clip& clip : dataset.clips)
    files.push_back(clip.folder == Dataset::kNowhere
                        ? ""
                        : dataset.file(clip).lexically_relative(folder.path()).string());
  return files;
}

}  // namespace

TEST_CASE("a clip is found under every spelling of its id", "[media_files]") {
  for (const auto& [id, file] :
       std::vector<std::pair<std::string, std::string>>{{"video5", "video5.mp4"},
                                                        {"video5.mp4", "video5.mp4"},
                                                        {"video5.mp4", "video5.avi"},
                                                        {"Video5", "video5.mp4"},
                                                        {"video5", "VIDEO5.MP4"},
                                                        {"VIDEO5.AVI", "video5.npy"},
                                                        {"TrainValVideo/video5.mp4", "video5.mp4"},
                                                        {"5", "video5.mp4"},
                                                        {"video5", "5.mp4"},
                                                        {"a.b", "a.b.webm"},
                                                        {"a.b", "A.B.MKV"}}) {
    INFO(id << " in " << file);
    const TemporaryFolder folder("media_spelling");
    folder.write("videos/" + file, "x");
    CHECK(found(folder, {id, "other"}) == Files{"videos/" + file, ""});
  }
  // A folder of frames has no ending.
  const TemporaryFolder folder("media_frames");
  folder.write("frames/clip.one/1.jpg", "x");
  folder.write("frames/Clip.Two/1.jpg", "x");
  CHECK(found(folder, {"clip.one", "clip.two"}) == Files{"frames/clip.one", "frames/Clip.Two"});
}

TEST_CASE("a clip is found in the folders that people keep clips in", "[media_files]") {
  for (const char* place :
       {"", "videos/", "frames/", "features/", "TrainValVideo/", "TestVideo/", "videos/all/",
        "trainvalvideo/", "train_val_videos/TrainValVideo/", "MSRVTT/videos/all/", "my clips/"}) {
    INFO(place);
    const TemporaryFolder folder("media_places");
    folder.write(std::string(place) + "video5.mp4", "x");
    std::string places;
    CHECK(found(folder, {"video5"}, &places) == Files{std::string(place) + "video5.mp4"});
    CHECK(contains(places, folder.path().string()));
  }
  const TemporaryFolder folder("media_no_places");
  folder.write("a/b/c/d/video5.mp4", "x");        // too deep
  folder.write("thumbnails/video5.jpg", "x");     // a picture that nobody placed as a clip
  folder.write("videos/video5.srt", "x");         // no media
  folder.write("videos/.video5.mp4", "x");        // hidden
  folder.write("videos/video5.mp4.part", "x");    // not all there
  folder.write("frames/video6/video5.mp4", "x");  // video6's frames
  std::string places;
  CHECK(found(folder, {"video5", "video6"}, &places) == Files{"", "frames/video6"});
  CHECK(contains(places, "videos/"));
  CHECK(contains(places, "thumbnails/"));
}

TEST_CASE("of several files the named, the nearest and the same-named one is taken", "[media_files]") {
  const TemporaryFolder folder("media_order");
  for (const char* file :
       {"videos/video1.avi", "videos/video1.mp4", "features/video1.npy", "videos/VIDEO1.aaa.mp4",
        "videos/Video2.avi", "videos/video2.mp4", "features/video3.npy", "TestVideo/video3.mp4"})
    folder.write(file, "x");
  CHECK(found(folder, {"video1", "video2", "video3"}) ==
        Files{"videos/video1.avi", "videos/video2.mp4", "features/video3.npy"});
  // Ids that differ by letter case alone have their own files only.
  const TemporaryFolder twins("media_twins");
  twins.write("videos/a.mp4", "x");
  CHECK(found(twins, {"a", "A"}) == Files{"videos/a.mp4", ""});
  CHECK(found(twins, {"A", "A.mp4"}) == Files{"", ""});
}

}  // namespace clipcap
