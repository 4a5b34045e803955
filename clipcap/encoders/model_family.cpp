#include "clipcap/encoders/model_family.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "tensor/check.h"

namespace clipcap {
namespace {

struct Type {
  const char* type;
  const char* called;
};
constexpr Type kTypes[] = {{"siglip", "SigLIP"},
                           {"siglip_vision_model", "SigLIP"},
                           {"siglip_text_model", "SigLIP"},
                           {"siglip2", "SigLIP 2"},
                           {"siglip2_vision_model", "SigLIP 2"},
                           {"blip", "BLIP"},
                           {"blip-2", "BLIP-2"},
                           {"blip_2_vision_model", "BLIP-2"},
                           {"blip_text_model", "BLIP"},
                           {"blip_vision_model", "BLIP"},
                           {"instructblip", "InstructBLIP"},
                           {"altclip", "AltCLIP"},
                           {"chinese_clip", "Chinese-CLIP"},
                           {"clipseg", "CLIPSeg"},
                           {"clvp", "CLVP"},
                           {"metaclip_2", "MetaCLIP 2"},
                           {"mlcd_vision_model", "MLCD"},
                           {"align", "ALIGN"},
                           {"clap", "CLAP"},
                           {"xclip", "X-CLIP"},
                           {"groupvit", "GroupViT"},
                           {"owlvit", "OWL-ViT"},
                           {"owlv2", "OWLv2"},
                           {"flava", "FLAVA"},
                           {"vision-text-dual-encoder", "a vision-text dual encoder"},
                           {"vision-encoder-decoder", "a vision encoder-decoder"},
                           {"vit", "a plain ViT"},
                           {"deit", "DeiT"},
                           {"beit", "BEiT"},
                           {"swin", "Swin"},
                           {"dinov2", "DINOv2"},
                           {"dinov3_vit", "DINOv3"},
                           {"resnet", "Hugging Face's ResNet"},
                           {"convnext", "ConvNeXt"},
                           {"bert", "BERT"},
                           {"roberta", "RoBERTa"},
                           {"t5", "T5"},
                           {"gpt2", "GPT-2"},
                           {"llama", "LLaMA"},
                           {"llava", "LLaVA"},
                           {"git", "GIT"},
                           {"paligemma", "PaliGemma"},
                           {"whisper", "Whisper"}};

// A name that only this family has: a piece of it, and where it stands.
enum class Where { start, within, end };
struct Mark {
  Where where;
  const char* text;
  const char* called;
};
// The first that is met decides, so narrow ones come first. These have names of CLIP's too.
constexpr Mark kNear[] = {
    {Where::within, "lora_A.", "a LoRA adapter: the weights it belongs to are in another file"},
    {Where::within, "lora_up.", "a LoRA adapter: the weights it belongs to are in another file"},
    {Where::within, "vision_model.head.probe", "SigLIP"},
    {Where::within, "message_attn.", "X-CLIP"},
    {Where::start, "visual_projection.0.", "GroupViT"},
    {Where::start, "vision_model.pre_layernorm.", "OWL-ViT"},
    {Where::within, "visual.attnpool.", "CLIP with a ResNet as image tower; the ViTs are read"},
    {Where::start, "attnpool.", "CLIP's ResNet tower; the ViTs are read"},
    {Where::within, "visual.layer1.", "CLIP with a ResNet as image tower; the ViTs are read"},
    {Where::within, "visual.trunk.",
     "an open_clip model on one of timm's image towers; CLIP's own ViT is read"},
    {Where::within, "visual.attn_pool.", "CoCa, or an open_clip model with attentional pooling"},
    {Where::start, "text_decoder.", "CoCa or BLIP"},
    {Where::within, "visual.blocks.", "EVA-CLIP"},
    {Where::within, "visual_encoder.blocks.", "BLIP"},
    {Where::within, "vision_model.encoder.layers.0.self_attn.qkv.weight", "BLIP"},
    {Where::within, "qformer.", "BLIP-2"},
    {Where::within, "Qformer.", "BLIP-2"},
    {Where::within, "text_model.encoder.layer.0.", "Chinese-CLIP, or another CLIP on BERT"},
    {Where::within, "text_model.roberta.", "AltCLIP"},
    {Where::within, "text.transformer.encoder.layer.0.", "an open_clip model on a Hugging Face text tower"},
};
// These do not.
constexpr Mark kFar[] = {
    {Where::start, "bert.encoder.layer.0.", "Chinese-CLIP, or BERT"},
    {Where::within, "model.diffusion_model.", "Stable Diffusion"},
    {Where::start, "down_blocks.", "a diffusion model's UNet"},
    {Where::within, "resnet.embedder.embedder.", "Hugging Face's ResNet; torchvision's names are read"},
    {Where::start, "embedder.embedder.convolution", "Hugging Face's ResNet; torchvision's names are read"},
    {Where::within, "blocks.0.ls1.gamma", "DINOv2"},
    {Where::within, "embeddings.mask_token", "DINOv2, or a ViT trained with masks"},
    {Where::within, "embeddings.patch_embeddings.projection.", "a plain ViT of Hugging Face's"},
    {Where::within, "embeddings.token_type_embeddings.", "BERT"},
    {Where::within, "h.0.attn.c_attn.", "GPT-2"},
    {Where::within, "relative_position_bias_table", "Swin"},
    {Where::within, "features.0.0.weight", "torchvision's MobileNet, EfficientNet or another of the kind"},
    {Where::within, "features.0.weight", "torchvision's VGG or AlexNet"},
    {Where::within, "blocks.0.0.", "timm's EfficientNet or MobileNet"},
    {Where::end, ".exp_avg", "an optimizer's state and no weights of such a model"},
    {Where::within, "encoder.layer.0.attention.attention.query", "a plain ViT of Hugging Face's"},
    {Where::within, "encoder.layers.encoder_layer_0.", "torchvision's ViT"},
    {Where::within, "blocks.0.attn.qkv.", "a timm ViT"},
    {Where::within, "stages.0.blocks.0.", "ConvNeXt or another of timm's"},
    {Where::within, "self_attn.q_proj.weight", "a language model, or a transformer of other names"},
    {Where::within, "fusion.", "a captioner, not an encoder"},
};

bool matches(const Mark& mark, std::string_view name) {
  switch (mark.where) {
    case Where::start:
      return name.starts_with(mark.text);
    case Where::end:
      return name.ends_with(mark.text);
    case Where::within:
      break;
  }
  return name.find(mark.text) != std::string_view::npos;
}

std::string first_match(std::span<const Mark> marks, const std::map<std::string, Tensor>& tensors) {
  for (const Mark& mark : marks) {
    if (std::any_of(tensors.begin(), tensors.end(),
                    [&](const auto& entry) { return matches(mark, entry.first); }))
      return mark.called;
  }
  return {};
}

}  // namespace

std::string family_called(const std::string& model_type) {
  for (const Type& known : kTypes) {
    if (model_type == known.type) return known.called;
  }
  return "\"" + model_type.substr(0, 60) + "\"";
}

std::string near_family(const std::map<std::string, Tensor>& tensors) {
  if (const std::string family = first_match(kNear, tensors); !family.empty()) return family;
  // CLIP's patches have no bias.
  const bool bias = std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) {
    return entry.first.ends_with("embeddings.patch_embedding.bias");
  });
  return bias ? "SigLIP" : "";
}

std::string family_of_tensors(const std::map<std::string, Tensor>& tensors) {
  const std::string near = near_family(tensors);
  return near.empty() ? first_match(kFar, tensors) : near;
}

}  // namespace clipcap
