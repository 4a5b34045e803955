// clipcap train-tokenizer: a vocabulary of CLIP's kind from text files.
#include <fstream>
#include <iostream>
#include <memory>

#include "clipcap/terminal/console.h"
#include "clipcap/text/tokenizer_files.h"
#include "clipcap/text/tokenizer_trainer.h"
#include "tensor/check.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

struct Options {
  std::vector<std::string> texts;
  std::string out;
  TokenizerTraining training;
};

void add_lines(TokenizerTrainer& trainer, std::istream& in, const std::string& name) {
  for (std::string line; std::getline(in, line);) trainer.add(line);
  CHECK_INPUT(in.eof() && !in.bad(), name, ": cannot read");
}

int run(const Options& options) {
  TokenizerTrainer trainer;
  for (const std::string& name : options.texts) {
    if (name == "-") {
      add_lines(trainer, std::cin, "standard input");
      continue;
    }
    std::ifstream in(name, std::ios::binary);
    CHECK_INPUT(in.is_open(), name, ": cannot open");
    add_lines(trainer, in, name);
  }
  const ClipVocabulary vocabulary = trainer.train(options.training);
  write_clip_vocabulary(options.out, vocabulary);
  log_line(vocabulary.merges.size(), " merges from ", trainer.words(), " different words, ",
           vocabulary.tokens.size(), " tokens in ", options.out);
  return 0;
}

}  // namespace

void add_train_tokenizer(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("train-tokenizer", "Learn a tokenizer of CLIP's kind from text files");
  command->add_option("--text", options->texts, "text files, one text a line; - is standard input")
      ->required();
  command
      ->add_option("--out", options->out,
                   "folder for vocab.json and merges.txt, or a file ending in .txt or .txt.gz")
      ->required();
  command
      ->add_option("--merges", options->training.merges,
                   "tokens to learn besides the 514 that are always there")
      ->check(CLI::Range(int64_t{0}, kMostMerges))
      ->capture_default_str();
  command->add_option("--min-count", options->training.min_count, "a pair of symbols must occur this often")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command->footer(
      "Example: clipcap train-tokenizer --text captions.txt --merges 2000 --out my-tokenizer && clipcap "
      "tokenize "
      "--tokenizer my-tokenizer 'a diagram'");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
