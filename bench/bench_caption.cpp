// From a video file to its caption with ViT-B/16 geometry, 32 frames, greedy; beside the image encoder's
// GEMMs alone, run by the GEMM library on packed weights of the same shapes. What matters is the ratio of
// the two.
#include <benchmark/benchmark.h>

#include <filesystem>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/decoding/describe.h"
#include "clipcap/media/video_writer.h"
#include "clipcap/model_directory.h"
#include "tensor/kernels/matmul.h"

namespace {

using namespace clipcap;

constexpr int64_t kFrames = 32;

const std::filesystem::path& folder() {
  static const std::filesystem::path path = [] {
    const auto made = std::filesystem::temp_directory_path() / "clipcap-bench";
    std::filesystem::create_directories(made);
    std::vector<Image> frames;
    for (int i = 0; i < 96; ++i) {
      Image image{640, 360, std::vector<uint8_t>(640 * 360 * 3)};
      for (size_t j = 0; j < image.rgb.size(); ++j)
        image.rgb[j] = static_cast<uint8_t>((j / 7 + static_cast<size_t>(i) * 3) % 251);
      frames.push_back(std::move(image));
    }
    write_video(made / "clip.mp4", frames, {});
    Config config = parse_config(R"({"model": {"encoder": "vit-b-16", "frames": 32}})", "bench");
    std::vector<std::string> words;
    for (int i = 0; i < 10000; ++i) words.push_back("w" + std::to_string(i));
    const Vocabulary vocabulary = Vocabulary::build({words}, 0);
    const auto model = make_model(config, {vocabulary, vocabulary});
    save_model(made, *model, {vocabulary, vocabulary});
    return made;
  }();
  return path;
}

// What `clipcap caption` does, file to text, model loading included.
void whole_caption(benchmark::State& state) {
  (void)folder();
  for (auto _ : state) {
    const LoadedModel loaded = load_model(folder());
    const FeatureExtractor extractor(*loaded.model->encoder, loaded.config, "");
    const std::vector<Tensor> features{extractor.features(folder() / "clip.mp4")};
    const FeatureBatch batch = stack_features(features);
    benchmark::DoNotOptimize(describe_clips(*loaded.model, batch.features, batch.lengths, {}));
  }
  state.counters["weight_MB"] =
      static_cast<double>(std::filesystem::file_size(folder() / "model.safetensors")) / 1e6;
}
BENCHMARK(whole_caption)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(5);

void without_loading(benchmark::State& state) {
  const LoadedModel loaded = load_model(folder());
  const FeatureExtractor extractor(*loaded.model->encoder, loaded.config, "");
  for (auto _ : state) {
    const std::vector<Tensor> features{extractor.features(folder() / "clip.mp4")};
    const FeatureBatch batch = stack_features(features);
    benchmark::DoNotOptimize(describe_clips(*loaded.model, batch.features, batch.lengths, {}));
  }
}
BENCHMARK(without_loading)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(5);

// The floor: patch embedding and twelve layers' four products for 32 frames, four frames at a time (as fast
// as any chunk here). The program itself does a little less: its last layer finishes the class token only.
void encoder_gemms_alone(benchmark::State& state) {
  struct Product {
    int64_t n;
    int64_t k;
  };
  const Product products[] = {{2304, 768}, {768, 768}, {3072, 768}, {768, 3072}};
  constexpr int64_t kRows = 4 * 197;
  std::vector<float> weight(3072 * 768, 0.01F);
  std::vector<float> bias(3072, 0.1F);
  struct Layer {
    Product size;
    std::shared_ptr<const PreparedWeight> weight;
  };
  const auto prepare = [&](const Product& size) {
    Layer layer{size, nullptr};
    prepare_matmul(kCpu, {.b = weight.data(), .n = size.n, .k = size.k, .prepared = &layer.weight});
    return layer;
  };
  const Layer patches = prepare({768, 768});
  std::vector<Layer> layers;
  for (int layer = 0; layer < 12; ++layer) {
    for (const Product& p : products) layers.push_back(prepare(p));
  }
  std::vector<float> x(static_cast<size_t>(kRows * 3072), 0.5F);
  std::vector<float> y(static_cast<size_t>(kRows * 3072));
  const auto run = [&](const Layer& layer, int64_t rows, const float* layer_bias) {
    matmul(kCpu, {.a = x.data(),
                  .bias = layer_bias,
                  .c = y.data(),
                  .m = rows,
                  .n = layer.size.n,
                  .k = layer.size.k,
                  .prepared = layer.weight.get()});
  };
  for (auto _ : state) {
    for (int64_t chunk = 0; chunk < kFrames / 4; ++chunk) {
      run(patches, 4 * 196, nullptr);
      for (const Layer& layer : layers) run(layer, kRows, bias.data());
    }
  }
}
BENCHMARK(encoder_gemms_alone)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(5);

}  // namespace

BENCHMARK_MAIN();
