#include "tests/fuzz/targets.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "clipcap/config/config.h"
#include "clipcap/data/annotations.h"
#include "clipcap/data/feature_file.h"
#include "clipcap/encoders/clip_checkpoint.h"
#include "clipcap/encoders/network_weights.h"
#include "clipcap/encoders/resnet.h"
#include "clipcap/media/image.h"
#include "clipcap/media/video.h"
#include "clipcap/text/tokenizer.h"
#include "clipcap/text/vocabulary.h"
#include "tensor/io/npy.h"
#include "tensor/io/pickle.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/torch_file.h"
#include "tests/fuzz/zip_writer.h"
#include "tests/temporary_folder.h"

namespace clipcap::fuzz {
namespace {

// Readers take paths: the bytes go through files in $TMPDIR, which should be in memory (/dev/shm).
const TemporaryFolder& folder() {
  static const TemporaryFolder instance("fuzz");
  return instance;
}

// Several files in one input: parts between lines "=====". Missing parts are empty.
template <size_t N>
std::array<std::string, N> parts(std::string_view bytes) {
  constexpr std::string_view kSeparator = "\n=====\n";
  std::array<std::string, N> result;
  for (size_t i = 0; i < N; ++i) {
    const size_t end = i + 1 < N ? bytes.find(kSeparator) : std::string_view::npos;
    result[i] = bytes.substr(0, end);
    if (end == std::string_view::npos) break;
    bytes.remove_prefix(end + kSeparator.size());
  }
  return result;
}

// A file that is there only when it has contents.
void put(const std::string& name, const std::string& bytes) {
  std::filesystem::remove(folder().path() / name);
  if (!bytes.empty()) folder().write(name, bytes);
}

// Reads every byte that the tensors claim, up to a bound that keeps an input fast.
void touch(const std::map<std::string, Tensor>& tensors) {
  int64_t left = 1 << 18;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.numel() == 0 || tensor.numel() > left) continue;
    left -= tensor.numel();
    static_cast<void>(tensor.to(DType::f64).contiguous());
  }
}

template <class Read>
void expect_input_error(Read&& read) {
  try {
    read();
  } catch (const InputError&) {
  }
  release_cached_host_memory();  // so that the sanitizer sees what is freed
}

// ---- tensors

void tensor_file(std::string_view bytes) {
  expect_input_error([&] { touch(read_tensor_file(folder().write("x.pt", std::string(bytes))).tensors); });
}

// The objects of a PyTorch zip: the input is its data.pkl.
void torch_objects(std::string_view bytes) {
  const std::string storage(64, '\1');
  const std::string zip =
      stored_zip({{"a/data.pkl", std::string(bytes)}, {"a/data/0", storage}, {"a/data/1", storage + "odd"}});
  tensor_file(zip);
}

void torch_legacy(std::string_view bytes) {
  expect_input_error([&] {
    const auto path = folder().write("x.pt", std::string(bytes));
    touch(read_torch_file(MappedFile::open(path), path.string()).tensors);
  });
}

void pickle(std::string_view bytes) {
  expect_input_error([&] {
    const Pickle read = read_pickle(std::as_bytes(std::span(bytes)), "pickle",
                                    [](std::string_view module, std::string_view) { return module != "os"; });
    const auto check = [&](PickleRef ref) { CHECK(ref < read.values.size(), "a reference to nowhere"); };
    check(read.root);
    size_t letters = 0;
    for (const PickleValue& value : read.values) {
      for (const PickleRef ref : value.elements) check(ref);
      for (const PickleRef ref : {value.callable, value.arguments, value.state}) check(ref);
      if (!value.text.empty()) letters += value.text.front() == value.text.back() ? 1 : 0;
    }
    CHECK(letters <= read.values.size() && read.bytes <= bytes.size(), "more than there is");
  });
}

void safetensors(std::string_view bytes) {
  expect_input_error([&] { touch(read_safetensors(folder().write("x", std::string(bytes))).tensors); });
}

void npy(std::string_view bytes) {
  expect_input_error([&] { touch({{"array", read_npy(folder().write("x", std::string(bytes)))}}); });
}

// ---- networks

// The weights and the configurations beside them.
void clip_checkpoint(std::string_view bytes) {
  const auto [weights, hugging_face, open_clip, pictures] = parts<4>(bytes);
  put("clip.bin", weights);
  put("config.json", hugging_face);
  put("open_clip_config.json", open_clip);
  put("preprocessor_config.json", pictures);
  expect_input_error([&] {
    const ClipCheckpoint checkpoint = read_clip_checkpoint(folder().path() / "clip.bin");
    static_cast<void>(checkpoint.describe());
    touch(checkpoint.vision_weights);
    touch(checkpoint.text_weights);
    for (const ClipLayout layout : {ClipLayout::openai, ClipLayout::hugging_face})
      touch(rename_clip(checkpoint, layout));
    static_cast<void>(load_clip(checkpoint));
  });
}

void resnet(std::string_view bytes) {
  expect_input_error([&] {
    const auto path = folder().write("resnet.pth", std::string(bytes));
    const NetworkWeights network = find_network(read_tensor_file(path), path.string());
    if (network.kind == NetworkWeights::Kind::resnet)
      static_cast<void>(load_torchvision_resnet(network.tensors, path.string()));
  });
}

// The index of a sharded checkpoint and two parts.
void checkpoint_index(std::string_view bytes) {
  const auto [index, first, second] = parts<3>(bytes);
  put("shards/m.safetensors.index.json", index);
  put("shards/m-1-of-2.safetensors", first);
  put("shards/m-2-of-2.safetensors", second);
  std::filesystem::create_directories(folder().path() / "shards");
  for (const char* name : {"shards/m.safetensors.index.json", "shards/m-2-of-2.safetensors", "shards"}) {
    expect_input_error([&] {
      const std::filesystem::path path = folder().path() / name;
      static_cast<void>(find_network(read_tensor_file(path), path.string()));
    });
  }
}

// ---- texts

void use(const ClipTokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  static_cast<void>(tokenizer.decode(ids));
  const TokenRows rows = tokenizer.encode_rows(std::span(&text, 1));
  CHECK(static_cast<int64_t>(rows.ids.size()) == rows.context, "a row of another length");
  static_cast<void>(tokenizer.row_text(rows.ids));
}

// The list of merges, compressed or not.
void tokenizer_merges(std::string_view bytes) {
  expect_input_error([&] {
    use(ClipTokenizer::load(folder().write("bpe.txt.gz", std::string(bytes))),
        "A cat's <|endoftext|> 42, caf\u00e9");
  });
}

// tokenizer.json, or vocab.json with the merges as a second part.
void tokenizer_json(std::string_view bytes) {
  const auto [vocabulary, merges] = parts<2>(bytes);
  put("vocab.json", vocabulary);
  put("merges.txt", merges);
  expect_input_error(
      [&] { use(ClipTokenizer::load(folder().path() / "vocab.json"), "A cat's 42, caf\u00e9"); });
}

void tokenizer_text(std::string_view bytes) {
  static const ClipTokenizer tokenizer = ClipTokenizer::load(folder().write(
      "small.txt", "#version: 0.2\nt h\nth e</w>\ni n\nin g</w>\na n\nan d</w>\n\xc3\x83 \xc2\xa9</w>"));
  expect_input_error([&] { use(tokenizer, std::string(bytes)); });
}

// What is read can be printed and read again.
void config(std::string_view bytes) {
  expect_input_error([&] {
    const Config read = parse_config(std::string(bytes), "config.json");
    const std::string printed = print_config(read);
    try {
      CHECK(print_config(parse_config(printed, "printed")) == printed, "printed differently");
    } catch (const InputError& error) {
      fail(error.what());
    }
  });
}

void vocabulary(std::string_view bytes) {
  expect_input_error(
      [&] { static_cast<void>(Vocabulary::from_v2c_info(folder().write("info.json", std::string(bytes)))); });
  const nlohmann::json value = nlohmann::json::parse(bytes, nullptr, false);
  if (value.is_discarded()) return;
  expect_input_error([&] {
    const Vocabulary read = Vocabulary::from_json(value, "vocab.json");
    CHECK(Vocabulary::from_json(read.to_json(), "again").size() == read.size(), "another size");
  });
}

// MSR-VTT's file, V2C's captions, V2C's information.
void annotations(std::string_view bytes) {
  const auto [msrvtt, captions, info] = parts<3>(bytes);
  put("data/videodatainfo.json", msrvtt);
  put("data/V2C_caption.json", captions);
  put("data/v2c_info.json", info);
  std::filesystem::create_directories(folder().path() / "data");
  expect_input_error([&, with_splits = !info.empty()] {
    static_cast<void>(read_dataset(folder().path() / "data", {.splits = with_splits ? "v2c" : "auto"}));
  });
}

void feature_file(std::string_view bytes) {
  expect_input_error([&] {
    const FeatureFile file = FeatureFile::open(folder().write("x", std::string(bytes)));
    for (size_t i = 0; i < file.size(); ++i) {
      CHECK(file.find(file.id(i)) == i, "an id is not found");
      CHECK(file.rows(i).dim(0) == file.row_count(i), "other rows");
    }
    file.check_finite();
  });
}

void picture(std::string_view bytes) {
  const std::filesystem::path path = folder().write("x.png", std::string(bytes));
  expect_input_error([&] {
    const Image image = read_picture(path);
    CHECK(static_cast<int64_t>(image.rgb.size()) == image.width * image.height * 3, "another size");
  });
  static_cast<void>(is_picture(path));
}

// Containers and codecs, without the name that FFmpeg would also go by; whole and in spans that go back.
void video(std::string_view bytes) {
  const std::filesystem::path path = folder().write("x", std::string(bytes));
  expect_input_error([&] {
    VideoSpans film(path);
    int64_t given = 0;
    const auto sink = [&](int64_t index, Image&& image) {
      CHECK(index == given++, "frame ", index, " after ", given);
      CHECK(static_cast<int64_t>(image.rgb.size()) == image.width * image.height * 3, "another size");
    };
    const double length = film.duration();
    CHECK(length >= 0, "a film of ", length, " seconds");
    CHECK(film.read({3}, sink) == given && given <= 3, given, " frames");
    given = 0;
    CHECK(film.read(length / 2, length, {2}, sink) == given && given <= 2, given, " frames");
    given = 0;
    CHECK(film.read(0, length / 4, {2, FrameSampling::Rule::linspace}, sink) == given && given <= 2, given,
          " frames");
  });
}

}  // namespace

std::span<const Target> targets() {
  static constexpr Target kTargets[] = {{"tensor_file", tensor_file},
                                        {"torch_objects", torch_objects},
                                        {"torch_legacy", torch_legacy},
                                        {"pickle", pickle},
                                        {"safetensors", safetensors},
                                        {"npy", npy},
                                        {"clip_checkpoint", clip_checkpoint},
                                        {"resnet", resnet},
                                        {"checkpoint_index", checkpoint_index},
                                        {"tokenizer_merges", tokenizer_merges},
                                        {"tokenizer_json", tokenizer_json},
                                        {"tokenizer_text", tokenizer_text},
                                        {"config", config},
                                        {"vocabulary", vocabulary},
                                        {"annotations", annotations},
                                        {"feature_file", feature_file},
                                        {"picture", picture},
                                        {"video", video}};
  return kTargets;
}

}  // namespace clipcap::fuzz
