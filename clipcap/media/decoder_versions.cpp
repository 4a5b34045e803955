#include "clipcap/media/decoder_versions.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <cstdio>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include "clipcap/media/image.h"
#include "tensor/check.h"

namespace clipcap {

std::string decoder_versions(const std::filesystem::path& clip) {
  std::string text =
      concat_text("decoding ", kDecodingVersion, "; FFmpeg ", av_version_info(), " avformat ",
                  avformat_version(), " avcodec ", avcodec_version(), " swscale ", swscale_version());
  std::error_code error;
  if (!std::filesystem::is_directory(clip, error) && !is_picture(clip)) return text;
  // libjpeg tells its release only when something is compiled against it.
  text += concat_text("; libjpeg ", JPEG_LIB_VERSION);
#ifdef LIBJPEG_TURBO_VERSION_NUMBER
  text += concat_text(" turbo ", LIBJPEG_TURBO_VERSION_NUMBER);
#endif
  return text;
}

}  // namespace clipcap
