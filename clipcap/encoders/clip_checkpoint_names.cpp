#include "clipcap/encoders/clip_checkpoint_names.h"

namespace clipcap::detail {
namespace {

class Table {
 public:
  Table(ClipLayout layout, std::string prefix) : layout_(layout), prefix_(std::move(prefix)) {}

  void add(const std::string& ours, const Shape& shape, const std::string& openai,
           const std::string& hugging_face, ClipChange openai_change = ClipChange::none,
           ClipChange hugging_face_change = ClipChange::none) {
    const bool hugging = layout_ == ClipLayout::hugging_face;
    ClipParameter parameter{ours, shape, {}, shape, hugging ? hugging_face_change : openai_change};
    const std::string& name = hugging ? hugging_face : openai;
    if (parameter.change == ClipChange::split_qkv) {
      parameter.file_shape.set(0, shape[0] / 3);
      for (const char* part : {"q", "k", "v"}) {
        std::string own = name;
        own.replace(own.find('?'), 1, part);
        parameter.names.push_back(own);
      }
    } else {
      parameter.names.push_back(prefix_ + name);
    }
    if (parameter.change == ClipChange::transposed) parameter.file_shape = {shape[1], shape[0]};
    parameters_.push_back(std::move(parameter));
  }
  // A layer's weight and bias.
  void add_pair(const std::string& ours, const Shape& weight, const std::string& openai,
                const std::string& hugging_face) {
    add(ours + ".weight", weight, openai + ".weight", hugging_face + ".weight");
    add(ours + ".bias", {weight[0]}, openai + ".bias", hugging_face + ".bias");
  }
  void add_layers(int64_t layers, int64_t width, int64_t hidden, const std::string& openai,
                  const std::string& hugging_face) {
    for (int64_t i = 0; i < layers; ++i) {
      const std::string number = std::to_string(i) + ".";
      const std::string ours = "layers." + number;
      const std::string theirs = openai + number;
      const std::string hf = hugging_face + number;
      add(ours + "attention.in_proj.weight", {3 * width, width}, theirs + "attn.in_proj_weight",
          hf + "self_attn.?_proj.weight", ClipChange::none, ClipChange::split_qkv);
      add(ours + "attention.in_proj.bias", {3 * width}, theirs + "attn.in_proj_bias",
          hf + "self_attn.?_proj.bias", ClipChange::none, ClipChange::split_qkv);
      add_pair(ours + "attention.out_proj", {width, width}, theirs + "attn.out_proj",
               hf + "self_attn.out_proj");
      add_pair(ours + "norm_attention", {width}, theirs + "ln_1", hf + "layer_norm1");
      add_pair(ours + "norm_mlp", {width}, theirs + "ln_2", hf + "layer_norm2");
      add_pair(ours + "mlp.up", {hidden, width}, theirs + "mlp.c_fc", hf + "mlp.fc1");
      add_pair(ours + "mlp.down", {width, hidden}, theirs + "mlp.c_proj", hf + "mlp.fc2");
    }
  }
  [[nodiscard]] std::vector<ClipParameter> take() { return std::move(parameters_); }
  [[nodiscard]] ClipParameter& last() { return parameters_.back(); }

 private:
  ClipLayout layout_;
  std::string prefix_;
  std::vector<ClipParameter> parameters_;
};

}  // namespace

std::vector<ClipParameter> vision_parameters(const VitGeometry& g, const VisionSettings& settings,
                                             ClipLayout layout) {
  const int64_t grid = g.resolution / g.patch;
  Table table(layout, "");
  table.add("class_embedding", {g.width}, "visual.class_embedding",
            "vision_model.embeddings.class_embedding");
  table.add("position_embedding", {1 + grid * grid, g.width}, "visual.positional_embedding",
            "vision_model.embeddings.position_embedding.weight");
  table.add("patch_embedding.weight", {g.width, 3 * g.patch * g.patch}, "visual.conv1.weight",
            "vision_model.embeddings.patch_embedding.weight", ClipChange::patches, ClipChange::patches);
  table.last().file_shape = {g.width, 3, g.patch, g.patch};
  if (settings.norm_before)
    table.add_pair("norm_before", {g.width}, "visual.ln_pre", "vision_model.pre_layrnorm");  // their spelling
  table.add_layers(g.layers, g.width, g.mlp_width(), "visual.transformer.resblocks.",
                   "vision_model.encoder.layers.");
  table.add_pair("norm_after", {g.width}, "visual.ln_post", "vision_model.post_layernorm");
  if (settings.projection) {
    table.add("projection.weight", {g.embed, g.width}, "visual.proj", "visual_projection.weight",
              ClipChange::transposed);
  }
  return table.take();
}

std::vector<ClipParameter> text_parameters(const TextGeometry& g, const TextSettings& settings,
                                           ClipLayout layout, const std::string& prefix) {
  Table table(layout, layout == ClipLayout::hugging_face ? "" : prefix);
  table.add("token_embedding.weight", {g.vocab, g.width}, "token_embedding.weight",
            "text_model.embeddings.token_embedding.weight");
  table.add("position_embedding", {g.context, g.width}, "positional_embedding",
            "text_model.embeddings.position_embedding.weight");
  table.add_layers(g.layers, g.width, g.mlp_width(), "transformer.resblocks.", "text_model.encoder.layers.");
  table.add_pair("norm_after", {g.width}, "ln_final", "text_model.final_layer_norm");
  if (settings.projection && settings.projection_bias) {  // open_clip's, a Linear's own names
    table.add("projection.weight", {g.embed, g.width}, "text_projection.weight", "text_projection.weight");
    table.add("projection.bias", {g.embed}, "text_projection.bias", "text_projection.bias");
  } else if (settings.projection) {
    table.add("projection.weight", {g.embed, g.width}, "text_projection", "text_projection.weight",
              ClipChange::transposed);
  }
  return table.take();
}

Tensor to_tower(const ClipParameter& parameter, const std::vector<Tensor>& tensors) {
  switch (parameter.change) {
    case ClipChange::none:
      break;
    case ClipChange::transposed:
      return tensors[0].transpose(0, 1);
    case ClipChange::patches:
      return tensors[0].reshape(parameter.shape);
    case ClipChange::split_qkv: {
      const bool same = tensors[0].dtype() == tensors[1].dtype() && tensors[0].dtype() == tensors[2].dtype();
      const DType dtype = same ? tensors[0].dtype() : DType::f32;
      const Tensor joined = Tensor::empty(parameter.shape, dtype);
      const int64_t rows = parameter.file_shape[0];
      for (int64_t i = 0; i < 3; ++i)
        joined.slice(0, i * rows, rows).copy_from(tensors[static_cast<size_t>(i)].to(dtype));
      return joined;
    }
  }
  return tensors[0];
}

std::vector<Tensor> from_tower(const ClipParameter& parameter, const Tensor& tensor) {
  switch (parameter.change) {
    case ClipChange::none:
      break;
    case ClipChange::transposed:
      return {tensor.transpose(0, 1)};
    case ClipChange::patches:
      return {tensor.reshape(parameter.file_shape)};
    case ClipChange::split_qkv: {
      const int64_t rows = parameter.file_shape[0];
      return {tensor.slice(0, 0, rows), tensor.slice(0, rows, rows), tensor.slice(0, 2 * rows, rows)};
    }
  }
  return {tensor};
}

}  // namespace clipcap::detail
