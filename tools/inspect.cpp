// clipcap inspect: the tensors of a checkpoint, or the module tree of a model directory.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/model_directory.h"
#include "clipcap/report/model_flops.h"
#include "clipcap/terminal/json_text.h"
#include "clipcap/terminal/printable.h"
#include "tensor/io/tensor_file.h"
#include "tools/command.h"
#include "tools/output.h"

namespace clipcap::tools {
namespace {

using nlohmann::json;

struct Options {
  std::string path;
  bool as_json = false;
};

json shape_json(const Shape& shape) {
  json sizes = json::array();
  for (int i = 0; i < shape.rank(); ++i) sizes.push_back(shape[i]);
  return sizes;
}

std::string upper(DType dtype) {
  std::string text(name_of(dtype));
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return text;
}

int inspect_file(const Options& options) {
  const TensorFile file = read_tensor_file(options.path);
  if (options.as_json) {
    json list = json::array();
    for (const auto& [name, tensor] : file.tensors) {
      list.push_back({{"name", name},
                      {"dtype", upper(tensor.dtype())},
                      {"shape", shape_json(tensor.shape())},
                      {"bytes", tensor.bytes()}});
    }
    json skipped = json::object();
    for (const auto& [name, kind] : file.skipped) skipped[name] = kind;
    print(json_text(json{{"file", options.path},
                         {"format", file.format},
                         {"tensors", list},
                         {"not_read", skipped},
                         {"metadata", file.metadata}},
                    2) +
          "\n");
    return 0;
  }
  int64_t bytes = 0;
  int64_t numbers = 0;
  for (const auto& [name, tensor] : file.tensors) {
    std::printf("%-60s %-5s %-24s %12lld\n", printable(name).c_str(), upper(tensor.dtype()).c_str(),
                concat_text(tensor.shape()).c_str(), static_cast<long long>(tensor.bytes()));
    bytes += tensor.bytes();
    numbers += tensor.numel();
  }
  for (const auto& [name, kind] : file.skipped)
    std::printf("%-60s not read: %s\n", printable(name).c_str(), printable(kind).c_str());
  std::printf("%s: %zu tensors, %lld numbers, %lld bytes\n", file.format.c_str(), file.tensors.size(),
              static_cast<long long>(numbers), static_cast<long long>(bytes));
  return 0;
}

// One row a module: what it is, its own and its children's parameters.
class TreePrinter : public nn::Visitor {
 public:
  struct Row {
    std::string name;
    std::string what;
    int64_t parameters = 0;
    std::vector<std::pair<std::string, Shape>> own;
  };
  std::vector<Row> rows;

 private:
  void on_parameter(const std::string& name, Variable& parameter) override {
    for (Row& row : rows) {
      if (!row.name.empty() && !name.starts_with(row.name + ".")) continue;
      row.parameters += parameter.value().numel();
    }
    // The innermost module that holds it is the last row whose name is its prefix.
    for (size_t i = rows.size(); i-- > 0;) {
      if (rows[i].name.empty() || name.starts_with(rows[i].name + ".")) {
        rows[i].own.emplace_back(name.substr(rows[i].name.empty() ? 0 : rows[i].name.size() + 1),
                                 parameter.shape());
        break;
      }
    }
  }
  void on_module(const std::string& name, nn::Module& module) override {
    rows.push_back({name, module.describe(), 0, {}});
  }
};

json flops_json(const ModelFlops& flops) {
  json decoders = json::object();
  for (const ModelFlops::Decoder& decoder : flops.decoders) {
    decoders[decoder.name] = {{"memory_rows", decoder.memory_rows},
                              {"memory", decoder.memory},
                              {"tokens", decoder.tokens},
                              {"text", decoder.text}};
  }
  const ModelFlops::Decoder& caption = flops.decoders.back();
  return {{"clip", flops.clip},
          {"encoder", flops.encoder},
          {"projection", flops.projection},
          {"fusion", flops.fusion},
          {"fusion_scales", flops.scales},
          {"vis2text", flops.vis2text},
          {"fusion_and_vis2text", flops.projection + flops.fusion + flops.vis2text},
          {"decoders", decoders},
          {"caption_token", caption.text / static_cast<double>(caption.tokens)}};
}

int inspect_model(const Options& options) {
  LoadedModel loaded = load_model(options.path, {.pack = false});
  TreePrinter printer;
  printer("", *loaded.model);
  const int64_t total = nn::parameter_count(*loaded.model);
  const ModelFlops flops = count_model_flops(*loaded.model);
  if (options.as_json) {
    json modules = json::array();
    for (const TreePrinter::Row& row : printer.rows) {
      json own = json::object();
      for (const auto& [name, shape] : row.own) own[name] = shape_json(shape);
      modules.push_back(
          {{"name", row.name}, {"module", row.what}, {"parameters", row.parameters}, {"own", own}});
    }
    print(json_text(json{{"model", options.path},
                         {"modules", modules},
                         {"parameters", total},
                         {"frames", loaded.config.model.frames},
                         {"resolution", loaded.model->encoder->resolution()},
                         {"flops", flops_json(flops)}},
                    2) +
          "\n");
    return 0;
  }
  for (const TreePrinter::Row& row : printer.rows) {
    std::string shapes;
    for (const auto& [name, shape] : row.own)
      shapes += concat_text(shapes.empty() ? "" : "  ", name, ' ', shape);
    std::printf("%-44s %11lld  %-28s %s\n", row.name.empty() ? "(model)" : row.name.c_str(),
                static_cast<long long>(row.parameters), row.what.c_str(), shapes.c_str());
  }
  std::printf("\n%lld parameters\n", static_cast<long long>(total));
  const auto side = static_cast<long long>(loaded.model->encoder->resolution());
  std::printf("FLOPs for a clip of %lld frames of %lld x %lld: %.3g\n",
              static_cast<long long>(loaded.config.model.frames), side, side, flops.clip);
  std::printf("  %-12s %9.3g\n", "encoder", flops.encoder);
  if (flops.projection > 0) std::printf("  %-12s %9.3g\n", "projection", flops.projection);
  std::printf("  %-12s %9.3g  scales", "fusion", flops.fusion);
  for (const double scale : flops.scales) std::printf(" %.3g", scale);
  std::printf("\n  %-12s %9.3g\n", "Vis2Text", flops.vis2text);
  for (const ModelFlops::Decoder& decoder : flops.decoders) {
    std::printf("  %-12s %9.3g  %lld memory rows %.3g, %lld tokens of %.3g\n", decoder.name.c_str(),
                decoder.memory + decoder.text, static_cast<long long>(decoder.memory_rows), decoder.memory,
                static_cast<long long>(decoder.tokens), decoder.text / static_cast<double>(decoder.tokens));
  }
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("inspect", "List the tensors of a checkpoint, or the modules of a model directory");
  command
      ->add_option("path", options->path,
                   "checkpoint (safetensors, PyTorch, TorchScript, .npy) or model directory")
      ->required();
  command->add_flag("--json", options->as_json, "print one JSON document");
  command->footer("Example: clipcap inspect my-model");
  command->callback([options, &chosen] {
    chosen = [options] {
      std::error_code error;
      const bool captioner =
          std::filesystem::exists(std::filesystem::path(options->path) / "vocab.json", error) &&
          std::filesystem::exists(std::filesystem::path(options->path) / "config.json", error) &&
          !std::filesystem::exists(std::filesystem::path(options->path) / "merges.txt", error);
      return captioner ? inspect_model(*options) : inspect_file(*options);
    };
  });
}

}  // namespace clipcap::tools
