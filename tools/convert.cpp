// clipcap convert
#include <memory>

#include "clipcap/encoders/clip_checkpoint.h"
#include "clipcap/terminal/console.h"
#include "tensor/io/safetensors.h"
#include "tensor/problem_list.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

struct Options {
  std::string input;
  std::string output;
  std::string rename;
  bool whole = false;
};

int run(const Options& options) {
  TensorFile file = read_tensor_file(options.input);
  CHECK_INPUT(!file.tensors.empty(), options.input, ": no tensors in it");
  std::map<std::string, Tensor> tensors;
  if (options.rename.empty()) {
    const size_t before = file.tensors.size();
    const std::string key = options.whole ? "" : unwrap_state_dict(file.tensors);
    if (!key.empty()) {
      log_line(options.input, ": the weights under \"", key, "\"; ", before - file.tensors.size(),
               " tensors beside them left out (--whole keeps them)");
    }
    tensors = std::move(file.tensors);
    if (!file.skipped.empty()) {
      std::vector<std::string> names;
      for (const auto& [name, kind] : file.skipped) names.push_back(name + " (" + kind + ")");
      log_line(options.input, ": left out, of kinds that are not read: ", list_names(names));
    }
  } else {
    const ClipLayout layout = parse_clip_layout(options.rename);
    const ClipCheckpoint checkpoint = read_clip_checkpoint(std::move(file), options.input);
    log_line(checkpoint.describe());
    tensors = rename_clip(checkpoint, layout);
  }
  // Hugging Face's loader asks for this entry.
  write_safetensors(options.output, tensors, {{"format", "pt"}});
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.bytes();
  log_line(options.output, ": ", tensors.size(), " tensors, ", bytes, " bytes");
  return 0;
}

}  // namespace

void add_convert(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("convert", "Write any readable checkpoint as safetensors");
  command
      ->add_option("input", options->input, "safetensors, PyTorch (.pt .pth .bin), TorchScript or .npy file")
      ->required();
  command->add_option("output", options->output, "safetensors file to write")->required();
  command
      ->add_option("--rename", options->rename, "give a CLIP's tensors the names of openai, hf or open_clip")
      ->check(CLI::IsMember({"openai", "hf", "open_clip"}));
  command->add_flag("--whole", options->whole, "keep everything of a training checkpoint, its optimizer too");
  command->footer("Example: clipcap convert ViT-B-16.pt vit-b-16.safetensors --rename hf");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
