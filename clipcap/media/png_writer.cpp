#include "clipcap/media/png_writer.h"

#include <string>

#include "tensor/check.h"
#include "tensor/io/mapped_file.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace clipcap {

void write_png(const std::filesystem::path& path, const Image& image) {
  std::string bytes;
  const auto append = [](void* context, void* data, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data), static_cast<size_t>(size));
  };
  const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
  CHECK(stbi_write_png_to_func(append, &bytes, width, height, 3, image.rgb.data(), width * 3) != 0,
        path.string(), ": the picture could not be encoded");
  write_text_file(path, bytes);
}

}  // namespace clipcap
