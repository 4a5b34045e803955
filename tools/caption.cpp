// clipcap caption: films, clips and pictures in words.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>

#include "clipcap/data/feature_extractor.h"
#include "clipcap/decoding/describe.h"
#include "clipcap/encoders/encoder_file.h"
#include "clipcap/media/video.h"
#include "clipcap/model_directory.h"
#include "clipcap/process/interrupt.h"
#include "clipcap/report/caption_writer.h"
#include "clipcap/terminal/progress.h"
#include "tools/caption_output.h"
#include "tools/command.h"

namespace clipcap::tools {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDefaultBeam = 5;
constexpr size_t kMostInputs = 10'000'000;
constexpr size_t kMostNamed = 10;  // in one message

struct Options {
  CommonOptions common;
  std::string model;
  std::string encoder;
  std::vector<std::string> inputs;
  std::string list;
  SearchOptions search;
  std::optional<double> every;
  std::string format;
  std::string out;
  bool json = false;
  bool keep_going = false;
  bool no_cache = false;
};

void append_list(std::vector<std::string>& inputs, std::istream& in, const std::string& name) {
  for (std::string line; std::getline(in, line);) {
    if (inputs.empty() && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    while (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    CHECK_INPUT(line.size() < 65536 && line.find('\0') == std::string::npos && inputs.size() < kMostInputs,
                name, ": not a list of files, one a line");
    inputs.push_back(std::move(line));
  }
  CHECK_INPUT(in.eof() && !in.bad(), name, ": cannot read");
}

std::vector<std::string> all_inputs(const Options& options) {
  std::vector<std::string> inputs = options.inputs;
  if (options.list.empty()) return inputs;
  std::vector<std::string> listed;
  if (options.list == "-") {
    append_list(listed, std::cin, "standard input");
  } else {
    std::error_code error;
    CHECK_INPUT(fs::exists(options.list, error), options.list, ": no such file");
    CHECK_INPUT(!fs::is_directory(options.list, error), options.list,
                ": a folder; --list takes a file with one INPUT a line");
    std::ifstream in(options.list, std::ios::binary);
    CHECK_INPUT(in.is_open(), options.list, ": cannot open");
    append_list(listed, in, options.list);
  }
  inputs.insert(inputs.end(), std::make_move_iterator(listed.begin()), std::make_move_iterator(listed.end()));
  CHECK_INPUT(!inputs.empty(), options.list, ": no input in it");
  return inputs;
}

// What is missing is said before the first of perhaps many hours of work.
void check_inputs(const std::vector<std::string>& inputs) {
  std::string names;
  size_t missing = 0;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (fs::exists(input, error)) continue;
    if (++missing <= kMostNamed) names += (names.empty() ? "" : ", ") + input;
  }
  CHECK_INPUT(missing != 1, names, ": no such file or folder");
  CHECK_INPUT(missing == 0, missing, " of ", inputs.size(), " inputs are not there: ", names,
              missing > kMostNamed ? ", …" : "", " (--keep-going captions the others)");
}

// The model at work, and where its words go.
class Captioner {
 public:
  Captioner(const Options& options, CaptionOutput& output)
      : options_(options),
        output_(output),
        loaded_(load_model(options.model, {.encoder_weights = options.encoder})),
        extractor_(
            *loaded_.model->encoder, loaded_.config,
            options.no_cache || loaded_.config.train.train_encoder ? "" : encoder_name(loaded_.config)) {}

  /// Captions an input, whole or span by span; what fails is written down with --keep-going and thrown
  /// without. Returns how many captions failed.
  size_t caption(const std::string& input) {
    if (options_.every || output_.needs_times()) return caption_spans(input);
    return attempt({.input = input}, [&] { return extractor_.features(input); }) ? 0 : 1;
  }

 private:
  size_t caption_spans(const std::string& input) {
    std::unique_ptr<VideoSpans> film;
    const CaptionResult whole{.input = input};
    if (!guarded(whole, [&] { film = open_film(input); })) return 1;
    const double duration = film->duration();
    const double every = options_.every.value_or(std::max(duration, 1e-3));
    // A span shorter than a millisecond is rounding.
    const auto spans = std::max<int64_t>(1, static_cast<int64_t>(std::ceil((duration - 1e-3) / every)));
    Progress progress("captioning " + input, spans, {.unit = "spans", .plain_lines = !output_.on_stdout()});
    size_t failed = 0;
    for (int64_t k = 0; k < spans; ++k) {
      check_interrupted();
      const CaptionSpan span{static_cast<double>(k) * every,
                             k + 1 == spans ? duration : static_cast<double>(k + 1) * every};
      const bool good = attempt({.input = input, .span = span}, [&] {
        return extractor_.features(input, [&](const FrameSampling& sampling, const FrameSink& sink) {
          film->read(span.start, span.end, sampling, sink);
        });
      });
      failed += good ? 0 : 1;
      if (spans > 1) progress.update(k + 1);
    }
    return failed;
  }

  [[nodiscard]] std::unique_ptr<VideoSpans> open_film(const std::string& input) const {
    const std::string why = options_.every ? "--every" : "a subtitle";
    std::error_code error;
    CHECK_INPUT(fs::exists(input, error), input, ": no such file or folder");
    CHECK_INPUT(!fs::is_directory(input, error), input, ": ", why,
                " needs a video file; a folder of frames has no times");
    CHECK_INPUT(fs::path(input).extension() != ".npy", input, ": ", why,
                " needs a video file; features have no times");
    CHECK_INPUT(!is_picture(input), input, ": ", why, " needs a video file; this is a picture");
    return std::make_unique<VideoSpans>(input);
  }

  bool attempt(CaptionResult result, const std::function<Tensor()>& features) {
    return guarded(result, [&] {
      // One at a time: a batch of other shape computes the same numbers in another order, and a text must not
      // depend on what stands beside it.
      const Tensor rows = features();
      const FeatureBatch batch = stack_features(std::span(&rows, 1));
      const ClipTexts texts =
          describe_clips(*loaded_.model, batch.features, batch.lengths, options_.search).front();
      result.caption = loaded_.vocabularies.caption.decode(texts.caption.ids);
      result.score = texts.caption.score;
      result.log_probability = texts.caption.log_probability;
      for (size_t k = 0; k < kAspects; ++k) {
        if (loaded_.model->has_aspect(static_cast<int>(k)))
          result.aspects[k] = loaded_.vocabularies.commonsense.decode(texts.aspects[k].ids);
      }
      output_.add(result);
    });
  }

  bool guarded(const CaptionResult& result, const std::function<void()>& work) {
    if (!options_.keep_going) {
      work();
      return true;
    }
    std::string message;
    try {
      work();
      return true;
    } catch (const InputError& error) {
      message = error.what();
    }
    log_warning("left out: ", message);
    CaptionResult failed{.input = result.input, .span = result.span};
    failed.error = message;
    output_.add(failed);
    return false;
  }

  const Options& options_;
  CaptionOutput& output_;
  LoadedModel loaded_;
  FeatureExtractor extractor_;
};

int run(const Options& options) {
  options.common.apply();
  const std::vector<std::string> inputs = all_inputs(options);
  if (!options.keep_going) check_inputs(inputs);
  CaptionOutput output({.format = options.format,
                        .out = options.out,
                        .inputs = inputs,
                        .read = {options.model, options.list}});
  const InterruptGuard guard;
  Captioner captioner(options, output);
  size_t failed = 0;
  {
    // A single film shows its own bar.
    Progress progress("captioning", static_cast<int64_t>(inputs.size()),
                      {.unit = "inputs", .plain_lines = !output.on_stdout()});
    for (size_t i = 0; i < inputs.size(); ++i) {
      check_interrupted();
      output.begin(inputs[i]);
      failed += captioner.caption(inputs[i]) > 0 ? 1 : 0;
      output.end();
      if (inputs.size() > 1) progress.update(static_cast<int64_t>(i) + 1);
    }
  }
  output.finish();
  CHECK_INPUT(failed == 0, failed, " of ", inputs.size(), inputs.size() == 1 ? " input" : " inputs",
              " could not be captioned, or not wholly");
  return 0;
}

}  // namespace

void add_caption(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("caption", "Caption videos, folders of frames or pictures");
  command->add_option("-m,--model", options->model, "model directory")->required();
  command->add_option("--encoder", options->encoder,
                      "where the encoder's checkpoint is now, if not where the model was trained");
  command->add_option("input", options->inputs, "video file, folder of frames, or picture");
  command->add_option("--list", options->list, "file with more inputs, one a line; - is standard input");
  command->add_option("--every", options->every, "caption each span of so many seconds of a film on its own")
      ->check(number_between(0.01, 1e6));
  command
      ->add_option(
          "--format", options->format,
          "text, json, jsonl (an object a line), srt or vtt (subtitles); default: what --out's ending "
          "says, or text")
      ->check(CLI::IsMember({"text", "json", "jsonl", "srt", "vtt"}));
  command->add_flag("--json", options->json, "the same as --format json");
  command->add_option("--out", options->out,
                      "write there instead of to stdout; a folder gets a file for each input");
  command->add_flag("--keep-going", options->keep_going,
                    "caption the rest when an input fails; exit code 2 at the end");
  CLI::Option* beam =
      command->add_option("--beam", options->search.beam, "beam width (default: 5); 1 = greedy")
          ->check(CLI::Range(1, 64));
  CLI::Option* sample =
      command->add_flag("--sample", options->search.sample, "draw words instead of taking the likeliest");
  command
      ->add_option("--length-penalty", options->search.length_penalty,
                   "exponent of the beams' length penalty")
      ->check(number_between(-10, 10))
      ->capture_default_str()
      ->excludes(sample);
  command->add_option("--temperature", options->search.temperature, "of --sample")
      ->check(number_between(0.01, 100))
      ->needs(sample);
  command->add_option("--top-k", options->search.top_k, "sample among the k likeliest words; 0 = all")
      ->check(whole_number_to(1 << 20))
      ->needs(sample);
  command->add_option("--top-p", options->search.top_p, "sample among the likeliest words reaching p")
      ->check(number_between(0, 1))
      ->needs(sample);
  command->add_option("--seed", options->search.seed, "of --sample; a clip's text depends on it alone")
      ->check(whole_number_to(UINT64_MAX));
  command->add_flag("--no-cache", options->no_cache, "neither read nor write the feature cache");
  options->common.add_to(*command);
  command->footer(
      "Example: clipcap caption --model my-model holiday.mp4\n"
      "         clipcap caption --model my-model film.mkv --every 8 --out film.srt");
  command->callback([=, &chosen] {
    if (options->inputs.empty() && options->list.empty())
      throw CLI::ValidationError("no INPUT and no --list: what is to be captioned?");
    if (options->json) {
      if (!options->format.empty() && options->format != "json")
        throw CLI::ValidationError("--json", "means --format json, not " + options->format);
      options->format = "json";
    }
    if (beam->count() == 0) options->search.beam = options->search.sample ? 1 : kDefaultBeam;
    if (options->search.sample && options->search.beam > 1)
      throw CLI::ValidationError("--sample", "excludes --beam above 1");
    chosen = [options] { return run(*options); };
  });
}

}  // namespace clipcap::tools
