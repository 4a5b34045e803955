// clipcap inspect: the tensors of a checkpoint, or the module tree of a model directory.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/model_directory.h"
#include "tensor/io/tensor_file.h"
#include "tools/command.h"

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
    std::printf(
        "%s\n",
        json{{"file", options.path}, {"format", file.format}, {"tensors", list}, {"metadata", file.metadata}}
            .dump(2, ' ', false, json::error_handler_t::replace)
            .c_str());
    return 0;
  }
  int64_t bytes = 0;
  int64_t numbers = 0;
  for (const auto& [name, tensor] : file.tensors) {
    std::printf("%-60s %-5s %-24s %12lld\n", name.c_str(), upper(tensor.dtype()).c_str(),
                concat_text(tensor.shape()).c_str(), static_cast<long long>(tensor.bytes()));
    bytes += tensor.bytes();
    numbers += tensor.numel();
  }
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

int inspect_model(const Options& options) {
  LoadedModel loaded = load_model(options.path, {.pack = false});
  TreePrinter printer;
  printer("", *loaded.model);
  const double per_frame = loaded.model->encoder->flops_per_frame();
  const auto frames = static_cast<double>(loaded.config.model.frames);
  const int64_t total = nn::parameter_count(*loaded.model);
  // Every parameter but the tables takes part in one multiplication and one addition a row.
  double captioner = 0;
  for (const nn::NamedParameter& parameter : nn::parameters(*loaded.model)) {
    if (parameter.name.starts_with("encoder.") || parameter.variable.value().rank() != 2) continue;
    const bool per_row = parameter.name.starts_with("fusion") || parameter.name.starts_with("vis2text") ||
                         parameter.name.starts_with("projection") ||
                         parameter.name.starts_with("text_projection");
    if (per_row) captioner += 2.0 * frames * static_cast<double>(parameter.variable.value().numel());
  }
  double per_token = 0;
  for (const nn::NamedParameter& parameter : nn::parameters(*loaded.model, "")) {
    const bool decoder = parameter.name.starts_with("caption_decoder.layers");
    if (decoder && parameter.variable.value().rank() == 2 &&
        parameter.name.find("kv_proj") == std::string::npos) {
      per_token += 2.0 * static_cast<double>(parameter.variable.value().numel());
    }
  }
  per_token += 2.0 * static_cast<double>(loaded.model->caption_table.value().numel());
  if (options.as_json) {
    json modules = json::array();
    for (const TreePrinter::Row& row : printer.rows) {
      json own = json::object();
      for (const auto& [name, shape] : row.own) own[name] = shape_json(shape);
      modules.push_back(
          {{"name", row.name}, {"module", row.what}, {"parameters", row.parameters}, {"own", own}});
    }
    std::printf("%s\n", json{{"model", options.path},
                             {"modules", modules},
                             {"parameters", total},
                             {"frames", loaded.config.model.frames},
                             {"resolution", loaded.model->encoder->resolution()},
                             {"flops",
                              {{"encoder", frames * per_frame},
                               {"fusion_and_vis2text", captioner},
                               {"caption_token", per_token}}}}
                            .dump(2)
                            .c_str());
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
  std::printf(
      "FLOPs for %lld frames of %lld x %lld: encoder %.3g, fusion and Vis2Text %.3g; a caption token %.3g\n",
      static_cast<long long>(loaded.config.model.frames),
      static_cast<long long>(loaded.model->encoder->resolution()),
      static_cast<long long>(loaded.model->encoder->resolution()), frames * per_frame, captioner, per_token);
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
      return std::filesystem::is_directory(options->path, error) ? inspect_model(*options)
                                                                 : inspect_file(*options);
    };
  });
}

}  // namespace clipcap::tools
