// Networks inside files of tensors: wrappers, prefixes, keys, averages, optimizers, nn.Sequential's numbers; and files of
// other models, by their names.
#include "clipcap/encoders/network_weights.h"

#include "clipcap/encoders/clip_checkpoint.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/encoders/model_family.h"
#include "clipcap/encoders/resnet.h"
#include "tensor/io/safetensors.h"
#include "tests/error_message.h"
#include "tests/golden_file.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Tensors = std::map<std::string, Tensor>;
using Kind = NetworkWeights::Kind;

// Read once: tensors are told apart by where they lie.
const Tensors& read_once(const std::filesystem::path& path) {
  static std::map<std::string, TensorFile> files;
  const auto found = files.find(path.string());
  if (found != files.end()) return found->second.tensors;
  return files.emplace(path.string(), read_tensor_file(path)).first->second.tensors;
}
const Tensors& clip() { return read_once(testing::golden_path("clip") / "hf/model.safetensors"); }
const Tensors& openai() { return read_once(testing::golden_path("clip") / "openai.pt"); }
const Tensors& resnet() { return read_once(testing::golden_path("resnet.pth")); }

template <class Rename>
Tensors renamed(const Tensors& tensors, Rename&& rename) {
  Tensors result;
  for (const auto& [name, tensor] : tensors) result[rename(name)] = tensor;
  return result;
}
Tensors prefixed(const Tensors& tensors, const std::string& prefix) {
  return renamed(tensors, [&](const std::string& name) { return prefix + name; });
}
Tensors operator+(Tensors a, const Tensors& b) {
  a.insert(b.begin(), b.end());
  return a;
}
// Another network of the same shapes.
Tensors zeros_like(const Tensors& tensors) {
  Tensors result;
  for (const auto& [name, tensor] : tensors) result[name] = Tensor::zeros(tensor.shape(), tensor.dtype());
  return result;
}

NetworkWeights find(Tensors tensors) {
  TensorFile file;
  file.tensors = std::move(tensors);
  return find_network(std::move(file), "file.pt");
}
std::string refusal(Tensors tensors) {
  const std::string message = message_of<InputError>([&] { static_cast<void>(find(std::move(tensors))); });
  CHECK(message.starts_with("file.pt: "));
  CHECK(message.size() < 400);
  return message;
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Whether the network has these tensors, values included.
bool same(const Tensors& found, const Tensors& expected) {
  if (found.size() != expected.size()) return false;
  for (const auto& [name, tensor] : expected) {
    if (!found.contains(name) || found.at(name).raw() != tensor.raw()) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("network weights: wrappers and any one prefix come off and are said", "[network_weights]") {
  const Tensors plain = clip();
  const Tensors net = resnet();
  CHECK(find(plain).said.empty());
  for (const char* prefix :
       {"module.", "_orig_mod.", "_fsdp_wrapped_module.", "module._orig_mod.", "_orig_mod.module.",
        "clip_model.", "model.clip.", "state_dict.", "state_dict.module.net._orig_mod.", "a.b.c.d.e."}) {
    INFO(prefix);
    const NetworkWeights found = find(prefixed(plain, prefix));
    CHECK(found.kind == Kind::clip);
    CHECK(found.layout == ClipLayout::hugging_face);
    CHECK(same(found.tensors, plain));
    CHECK(has(found.said, "\""));
    const NetworkWeights backbone = find(prefixed(net, prefix));
    CHECK(backbone.kind == Kind::resnet);
    CHECK(same(backbone.tensors, net));
    CHECK_FALSE(backbone.said.empty());
  }
  // In the middle of names.
  const NetworkWeights inside = find(renamed(plain, [](std::string name) {
    const size_t at = name.find("layers.1.");
    if (at != std::string::npos) name.insert(at + 9, "_checkpoint_wrapped_module._orig_mod.");
    return name;
  }));
  CHECK(same(inside.tensors, plain));
  CHECK(has(inside.said, "\"_checkpoint_wrapped_module.\", \"_orig_mod.\""));
  CHECK(same(find(renamed(openai(),
                          [](const std::string& name) {
                            return name.starts_with("visual.") ? "visual.module." + name.substr(7) : name;
                          }))
                 .tensors,
             openai()));
}

TEST_CASE("network weights: what was trained comes before its averages, and optimizers are left out",
          "[network_weights]") {
  const Tensors plain = clip();
  const Tensors other = zeros_like(plain);
  const Tensors optimizer{{"optimizer.state.0.exp_avg", Tensor::zeros({3})},
                          {"optimizer_states.0.state.1.step", Tensor::zeros({})}};
  for (const auto& [own, average] : {std::pair{"model.", "model_ema."},
                                     {"state_dict.", "ema_state_dict."},
                                     {"model.", "ema."},
                                     {"state_dict.clip.", "state_dict.clip_ema."},
                                     {"net.", "averaged_net.module."},
                                     {"student.", "teacher."},
                                     {"z.", "swa_model."},
                                     {"", "ema."}}) {
    INFO(own << " and " << average);
    const NetworkWeights found = find(prefixed(plain, own) + prefixed(other, average) + optimizer);
    CHECK(same(found.tensors, plain));
    CHECK(has(found.said, "left out beside it: "));
  }
  // An average alone is better than nothing.
  const NetworkWeights average = find(prefixed(plain, "ema_model.") + optimizer);
  CHECK(same(average.tensors, plain));
  CHECK(has(average.said, "\"ema_model.\""));
  CHECK(
      same(find(prefixed(resnet(), "module.encoder_q.") + prefixed(zeros_like(resnet()), "module.encoder_k."))
               .tensors,
           resnet()));
  const Tensors head{{"head.weight", Tensor::zeros({3})}, {"loss.scale", Tensor::zeros({1})}};
  CHECK(same(find(prefixed(plain, "backbone.") + head).tensors, plain));
  CHECK(same(find(plain + head).tensors, plain));
  // Two of a kind: which one is meant, nobody can say.
  CHECK(has(refusal(prefixed(plain, "a.") + prefixed(other, "b.")), "2 networks, under \"a.\", \"b.\""));
  CHECK(has(refusal(prefixed(plain, "clip.") + prefixed(resnet(), "resnet.")), "2 networks"));
}

TEST_CASE("network weights: a tower by itself, and towers under names of their own", "[network_weights]") {
  Tensors vision;
  Tensors text;
  Tensors apart;
  for (const auto& [name, tensor] : clip()) {
    if (name.starts_with("vision_model.")) vision[name] = tensor;
    if (name.starts_with("text_model.")) text[name] = tensor;
    apart[(name.starts_with("vis") ? "image_encoder." : "text_encoder.") + name] = tensor;
  }
  const auto bare = [](const Tensors& tensors) {
    return renamed(tensors, [](const std::string& name) { return name.substr(name.find('.') + 1); });
  };
  CHECK(same(find(bare(vision)).tensors, vision));
  CHECK(same(find(bare(text)).tensors, text));
  CHECK(same(find(prefixed(bare(vision), "module.encoder.")).tensors, vision));
  CHECK(same(find(prefixed(apart, "state_dict.")).tensors, clip()));
  Tensors visual;
  for (const auto& [name, tensor] : openai()) {
    if (name.starts_with("visual.")) visual[name] = tensor;
  }
  CHECK(same(find(bare(visual) + Tensors{{"optimizer.x", Tensor::zeros({1})}}).tensors, visual));
}

TEST_CASE("network weights: nn.Sequential's numbers are torchvision's children", "[network_weights]") {
  const Tensors net = resnet();
  Tensors body = net;
  std::erase_if(body, [](const auto& entry) { return entry.first.starts_with("fc."); });
  const auto numbered = [](const Tensors& tensors) {
    return renamed(tensors, [](const std::string& name) {
      const size_t dot = name.find('.');
      const std::string child = name.substr(0, dot);
      const std::string number = child == "conv1" ? "0"
                                 : child == "bn1" ? "1"
                                 : child == "fc"  ? "9"
                                                  : std::string(1, static_cast<char>(child.back() + 3));
      return number + name.substr(dot);
    });
  };
  REQUIRE(numbered(net).contains("4.0.conv1.weight"));
  CHECK(same(find(numbered(body)).tensors, body));
  CHECK(same(find(numbered(net)).tensors, net));
  CHECK(same(find(prefixed(numbered(body), "state_dict.encoder.")).tensors, body));
  CHECK(has(find(numbered(body)).said, "nn.Sequential"));
  // The features are those of the file with names.
  const TemporaryFolder folder("sequential");
  write_safetensors(folder.path() / "x.safetensors", prefixed(numbered(body), "module."));
  write_safetensors(folder.path() / "y.safetensors", net);
  const Encoders one = load_encoders(folder.path() / "x.safetensors");
  const Encoders two = load_encoders(folder.path() / "y.safetensors");
  const Tensor frames = Tensor::full({1, 3, 224, 224}, 0.5);
  CHECK(one.image->encode(frames).to_vector<float>() == two.image->encode(frames).to_vector<float>());
}

TEST_CASE("network weights: other models are named, and long lists are cut", "[network_weights]") {
  const Tensor x = Tensor::zeros({2, 2});
  const std::pair<const char*, const char*> marks[] = {
      {"vision_model.head.probe", "SigLIP"},
      {"base_model.model.layer.lora_A.weight", "LoRA"},
      {"visual.attnpool.k_proj.weight", "ResNet as image tower"},
      {"visual.trunk.blocks.0.norm1.weight", "timm"},
      {"visual.blocks.0.attn.q_proj.weight", "EVA-CLIP"},
      {"visual_encoder.blocks.0.attn.qkv.weight", "BLIP"},
      {"qformer.layer.0.weight", "BLIP-2"},
      {"resnet.embedder.embedder.convolution.weight", "Hugging Face's ResNet"},
      {"blocks.0.attn.qkv.weight", "timm ViT"},
      {"embeddings.token_type_embeddings.weight", "BERT"},
      {"features.0.0.weight", "MobileNet"},
      {"optimizer.state.0.exp_avg", "optimizer's state"},
      {"model.layers.0.self_attn.q_proj.weight", "language model"},
      {"model.diffusion_model.input_blocks.0.0.weight", "Stable Diffusion"}};
  for (const auto& [name, called] : marks) {
    INFO(name);
    CHECK(has(refusal({{name, x}}), called));
    // Such tensors below a CLIP's own names are no CLIP either.
    if (std::string(name).starts_with("vision_model.head"))
      CHECK(has(refusal(clip() + Tensors{{name, x}}), called));
  }
  CHECK(has(refusal(openai() + Tensors{{"visual.attnpool.x", x}}), "ResNet as image tower"));
  Tensors many;
  for (int i = 0; i < 200; ++i) many["some.rather.long.name.of.a.tensor." + std::to_string(i)] = x;
  const std::string message = refusal(many);
  CHECK(has(message, "no CLIP tower and no ResNet"));
  CHECK(has(message, "more"));
  CHECK(has(refusal({}), "no tensors"));
  TensorFile captioner;
  captioner.metadata["format"] = "clipcap";
  CHECK(has(message_of<InputError>([&] { static_cast<void>(find_network(captioner, "model.safetensors")); }),
            "a captioner"));
  CHECK(family_called("siglip2") == "SigLIP 2");
  // The configuration beside a file knows better.
  const TemporaryFolder folder("family");
  write_safetensors(folder.path() / "model.safetensors",
                    {{"vision_model.embeddings.patch_embedding.bias", x}});
  folder.write("config.json", R"({"model_type": "blip-2"})");
  CHECK(has(message_of<InputError>([&] { static_cast<void>(load_encoders(folder.path())); }),
            "BLIP-2 by the config.json beside it"));
  CHECK(family_called("xyz") == "\"xyz\"");
}

TEST_CASE(
    "network weights: tensors of kinds that are not read stand in the way of nothing that does not need them",
    "[network_weights]") {
  TensorFile file;
  file.tensors = prefixed(clip(), "module.");
  file.skipped = {{"module.freqs", "complex64"}, {"optimizer.x", "quantized"}};
  const NetworkWeights found = find_network(file, "file.pt");
  CHECK(same(found.tensors, clip()));
  CHECK(has(found.said, "skipped module.freqs (complex64), optimizer.x (quantized)"));
  const std::string needed = "vision_model.post_layernorm.weight";
  file.tensors.erase("module." + needed);
  file.skipped["module." + needed] = "float8_e5m2";
  const std::string message = message_of<InputError>(
      [&] { static_cast<void>(read_clip_checkpoint(find_network(file, "file.pt"), "file.pt")); });
  CHECK(has(message, needed + " is of a kind that is not read: float8_e5m2"));
}

TEST_CASE("network weights: ResNets that are not torchvision's bottlenecks are named", "[network_weights]") {
  const auto message = [](const Tensors& tensors) {
    return message_of<InputError>([&] { static_cast<void>(load_torchvision_resnet(tensors, "file")); });
  };
  Tensors basic = resnet();
  std::erase_if(basic,
                [](const auto& entry) { return has(entry.first, "conv3") || has(entry.first, "bn3"); });
  CHECK(has(message(basic), "basic blocks"));
  Tensors grouped = resnet();
  Tensor& spatial = grouped.at("layer1.0.conv2.weight");
  spatial = Tensor::zeros({spatial.dim(0), spatial.dim(1) / 2, 3, 3});
  CHECK(has(message(grouped), "ResNeXt"));
  Tensors few = resnet();
  std::erase_if(few,
                [](const auto& entry) { return has(entry.first, "layer4") && has(entry.first, "running"); });
  const std::string text = message(few);
  CHECK(has(text, "missing layer4.0.bn1.running_mean"));
  CHECK(text.size() < 400);
}

}  // namespace clipcap
