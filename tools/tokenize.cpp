// clipcap tokenize: texts to rows of CLIP token ids, and back.
#include <charconv>
#include <fstream>
#include <iostream>
#include <memory>

#include "clipcap/terminal/console.h"
#include "clipcap/terminal/printable.h"
#include "clipcap/text/tokenizer.h"
#include "tensor/check.h"
#include "tools/command.h"
#include "tools/output.h"

namespace clipcap::tools {
namespace {

struct Options {
  std::string tokenizer;
  std::vector<std::string> texts;
  std::string file;
  RowOptions rows;
  bool strict = false;
  bool as_json = false;
  bool decode = false;
  bool no_repair = false;
};

constexpr size_t kMostTextBytes = 256U << 20U;

// One text a line.
std::vector<std::string> read_lines(std::istream& in, const std::string& name) {
  std::vector<std::string> lines;
  size_t bytes = 0;
  for (std::string line; std::getline(in, line);) {
    bytes += line.size();
    CHECK_INPUT(bytes <= kMostTextBytes, name, ": more than ", kMostTextBytes, " bytes of text");
    lines.push_back(std::move(line));
  }
  CHECK_INPUT(in.eof() && !in.bad(), name, ": cannot read");
  return lines;
}

std::vector<std::string> read_texts(const Options& options) {
  std::vector<std::string> texts = options.texts;
  if (options.file.empty()) return texts;
  std::vector<std::string> lines;
  if (options.file == "-") {
    lines = read_lines(std::cin, "standard input");
  } else {
    std::ifstream in(options.file, std::ios::binary);
    CHECK_INPUT(in.is_open(), options.file, ": cannot open");
    lines = read_lines(in, options.file);
  }
  texts.insert(texts.end(), std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end()));
  return texts;
}

// Ids between spaces, commas and brackets, so that --json's rows can be pasted.
std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    if (*at == ' ' || *at == ',' || *at == '[' || *at == ']' || *at == '\r' || *at == '\n' || *at == '\t') {
      ++at;
      continue;
    }
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    CHECK_INPUT(error == std::errc(), "--decode: expected token ids, found \"", text.substr(0, 60), "\"");
    ids.push_back(id);
    at = next;
  }
  return ids;
}

int run(const Options& options) {
  ClipTokenizer tokenizer = ClipTokenizer::load(options.tokenizer);
  tokenizer.set_repair(!options.no_repair);
  const std::vector<std::string> texts = read_texts(options);
  if (options.decode) {
    for (const std::string& text : texts) print(printable(tokenizer.row_text(parse_ids(text))) + "\n");
    return 0;
  }
  RowOptions row_options = options.rows;
  row_options.truncate = !options.strict;
  std::string out = options.as_json ? "[" : "";
  for (size_t i = 0; i < texts.size(); ++i) {
    const TokenRows row = tokenizer.encode_rows(std::span(texts).subspan(i, 1), row_options);
    if (row.lengths[0] > row.context) {
      log_line("text ", i + 1, ": ", row.lengths[0], " tokens with start and end, cut to ", row.context);
    }
    if (options.as_json) {
      out += i == 0 ? "[" : ",\n[";
      for (const int32_t id : row.ids) out += std::to_string(id) + ", ";
      out.replace(out.size() - 2, 2, "]");
    } else {
      const int64_t used = std::min(row.lengths[0], row.context);
      for (int64_t c = 0; c < used; ++c) {
        const int32_t id = row.ids[static_cast<size_t>(c)];
        out += concat_text(c > 0 ? " " : "", id, ':', printable(tokenizer.token(id)));
      }
      out += '\n';
    }
    print(out);
    out.clear();
  }
  if (options.as_json) print(out + "]\n");
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("tokenize", "Texts to rows of CLIP token ids, and back");
  command
      ->add_option(
          "--tokenizer", options->tokenizer,
          "bpe_simple_vocab_16e6.txt.gz, vocab.json with merges.txt, tokenizer.json, or their folder")
      ->required();
  command->add_option("text", options->texts, "texts; with --decode: ids");
  command->add_option("--file", options->file, "more texts, one a line; - is standard input");
  command->add_flag("--json", options->as_json, "print a list of rows of ids");
  command->add_flag("--strict", options->strict, "a text that does not fit is an error, not cut");
  command->add_option("--context", options->rows.context, "ids in a row")
      ->check(CLI::Range(2, 100000))
      ->capture_default_str();
  command->add_flag("--pad-with-end", options->rows.pad_with_end,
                    "pad with the end token as Hugging Face does, not with 0");
  command->add_flag("--no-repair", options->no_repair,
                    "leave out the reference's repairs (ftfy: quotes, widths, control characters, ...)");
  command->add_flag("--decode", options->decode, "ids to text");
  command->footer("Example: clipcap tokenize --tokenizer bpe_simple_vocab_16e6.txt.gz 'a diagram' --json");
  command->callback([options, &chosen] {
    CHECK_INPUT(!options->texts.empty() || !options->file.empty(), "tokenize: no text and no --file");
    chosen = [options] { return run(*options); };
  });
}

}  // namespace clipcap::tools
