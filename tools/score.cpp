// clipcap score: captions against references with the metrics of the COCO caption evaluation.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "clipcap/scores/caption_file.h"
#include "clipcap/scores/scores.h"
#include "clipcap/terminal/console.h"
#include "clipcap/terminal/printable.h"
#include "clipcap/terminal/progress.h"
#include "tensor/check.h"
#include "tensor/io/mapped_file.h"
#include "tensor/parallel.h"
#include "tools/command.h"
#include "tools/output.h"

namespace clipcap::tools {
namespace {

constexpr const char* kMatches = "pycocoevalcap 1.2";
constexpr size_t kMostFrequencyBytes = 512U << 20U;

struct Options {
  std::string references;
  std::string hypotheses;
  std::string tokenizer = "ptb";
  MeteorSources meteor;
  bool no_meteor = false;
  std::string per_clip;
  std::string frequencies;
  std::string save_frequencies;
  PairOptions pairs;
  int threads = 0;
  bool as_json = false;
};

// A metric as it is named in JSON and in print.
struct Row {
  const char* key;
  const char* name;
  const MetricScores* scores;
};

std::vector<Row> rows_of(const Scores& scores) {
  std::vector<Row> rows{{"Bleu_1", "BLEU-1", &scores.bleu[0]},
                        {"Bleu_2", "BLEU-2", &scores.bleu[1]},
                        {"Bleu_3", "BLEU-3", &scores.bleu[2]},
                        {"Bleu_4", "BLEU-4", &scores.bleu[3]}};
  if (scores.meteor) rows.push_back({"METEOR", "METEOR", &*scores.meteor});
  rows.push_back({"ROUGE_L", "ROUGE-L", &scores.rouge_l});
  rows.push_back({"CIDEr", "CIDEr", &scores.cider});
  return rows;
}

// A file of frequencies, or references to take them from: of every clip that the file has.
DocumentFrequencies read_frequencies(const std::string& path, CaptionTokenizer tokenizer) {
  const std::string text = read_text_file(path, kMostFrequencyBytes);
  CHECK_INPUT(
      !text.starts_with('\x80') && !text.starts_with("(d"), path,
      ": a Python pickle; expected JSON (--save-document-frequencies writes it) or a file of references");
  if (text.find("\"document_frequency\"") != std::string::npos) return DocumentFrequencies::read(path);
  std::vector<Segment> segments;
  for (CaptionedId& entry : read_caption_file(path).entries)
    segments.push_back({{}, std::move(entry.captions)});
  tokenize_captions(tokenizer, segments);
  return DocumentFrequencies::of_references(segments);
}

std::string references_text(std::span<const Segment> segments) {
  size_t least = segments[0].references.size();
  size_t most = least;
  for (const Segment& segment : segments) {
    least = std::min(least, segment.references.size());
    most = std::max(most, segment.references.size());
  }
  if (least != most) return concat_text(least, " to ", most, " references each");
  return concat_text(least, least == 1 ? " reference each" : " references each");
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return text;
}

struct Sources {
  std::string meteor;       // empty: not computed
  std::string frequencies;  // where CIDEr's come from
};

std::string describe(const Meteor& meteor) {
  std::string text = "METEOR 1.5: " + joined(meteor.stages()) + " matches";
  if (meteor.synonyms_from().empty()) {
    text += "; no synonyms (neither --meteor-data nor WordNet's files in /usr/share/wordnet)";
  } else {
    text += "; synonyms from " + meteor.synonyms_from();
  }
  text += meteor.has_own_function_words()
              ? ", METEOR's function words"
              : "; function words from clipcap's own list (--meteor-data brings METEOR's)";
  text += meteor.paraphrases_from().empty()
              ? "; no paraphrase table, which lowers the score by 0.5 to 2 points"
              : "; paraphrases from " + meteor.paraphrases_from();
  return text;
}

void write_per_clip(const std::filesystem::path& path, const ScoredClips& clips,
                    std::span<const std::string> texts, const Scores& scores) {
  const std::vector<Row> rows = rows_of(scores);
  if (path.extension() == ".csv") {
    std::string text = "image_id";
    for (const Row& row : rows) text += concat_text(",", row.key);
    text += ",caption\n";
    const auto quoted = [](const std::string& value) {
      std::string result = "\"";
      for (const char c : value) result += c == '"' ? "\"\"" : std::string(1, c);
      return result + "\"";
    };
    for (size_t i = 0; i < clips.ids.size(); ++i) {
      text += quoted(clips.ids[i]);
      for (const Row& row : rows) text += "," + nlohmann::json(row.scores->per_segment[i]).dump();
      text += "," + quoted(texts[i]) + "\n";
    }
    write_text_file(path, text);
    return;
  }
  std::string text = "[";
  for (size_t i = 0; i < clips.ids.size(); ++i) {
    nlohmann::ordered_json one;
    if (clips.id_is_number[i]) {
      one["image_id"] = nlohmann::ordered_json::parse(clips.ids[i]);
    } else {
      one["image_id"] = clips.ids[i];
    }
    one["caption"] = texts[i];
    for (const Row& row : rows) one[row.key] = row.scores->per_segment[i];
    text += (i > 0 ? ",\n " : "\n ") + one.dump();
  }
  write_text_file(path, text + "\n]\n");
}

void print_json(const Options& options, const Scores& scores, const Meteor* meteor, size_t segments,
                const Sources& sources) {
  nlohmann::ordered_json out;
  for (const Row& row : rows_of(scores)) out[row.key] = row.scores->corpus;
  out["meteor_stages"] = meteor != nullptr ? meteor->stages() : std::vector<std::string>{};
  out["tokenizer"] = options.tokenizer;
  out["segments"] = segments;
  out["meteor"] = sources.meteor;
  out["document_frequencies"] = sources.frequencies;
  out["matches"] = kMatches;
  out["not_computed"] = {"SPICE"};
  print(out.dump(1) + "\n");
}

void print_table(const Options& options, const Scores& scores, std::span<const Segment> segments,
                 const ScoredClips& clips, const Sources& sources) {
  std::string text;
  char line[64];
  std::snprintf(line, sizeof line, "%-8s %8s %10s\n", "", "percent", "fraction");
  text += line;
  for (const Row& row : rows_of(scores)) {
    const double score = row.scores->corpus;
    std::snprintf(line, sizeof line, "%-8s %8.2f %10.6f\n", row.name, 100 * score, score);
    text += line;
  }
  text += concat_text(with_thousands(segments.size()), segments.size() == 1 ? " clip, " : " clips, ",
                      references_text(segments), "; ", options.tokenizer == "ptb" ? "PTB" : "whitespace",
                      " tokens");
  if (!options.pairs.split.empty()) text += "; split " + printable(options.pairs.split);
  if (clips.left_out > 0) text += "; " + with_thousands(clips.left_out) + " clips without a caption left out";
  text += '\n';
  if (!sources.meteor.empty()) text += printable(sources.meteor) + "\n";
  text += "CIDEr (the D form): document frequencies from " + printable(sources.frequencies) + "\n";
  print(text + "The numbers are those of " + kMatches +
        ", the COCO caption evaluation; SPICE is not computed\n");
}

int run(const Options& options) {
  if (options.threads > 0) set_thread_count(options.threads);
  const CaptionTokenizer tokenizer = parse_caption_tokenizer(options.tokenizer);
  const CaptionFile references = read_caption_file(options.references);
  const CaptionFile hypotheses = read_caption_file(options.hypotheses);
  ScoredClips clips = pair_captions(references, hypotheses, options.pairs);
  std::vector<std::string> texts;  // as written, for --per-clip
  for (const Segment& segment : clips.segments) texts.push_back(segment.hypothesis);
  tokenize_captions(tokenizer, clips.segments);

  Sources sources;
  std::optional<Meteor> meteor;
  if (!options.no_meteor) {
    meteor = Meteor::load(options.meteor);
    sources.meteor = describe(*meteor);
  }
  const DocumentFrequencies frequencies = options.frequencies.empty()
                                              ? DocumentFrequencies::of_references(clips.segments)
                                              : read_frequencies(options.frequencies, tokenizer);
  if (options.frequencies.empty()) {
    sources.frequencies =
        concat_text("the references of ", clips.segments.size() == 1 ? "this" : "these", " ",
                    with_thousands(clips.segments.size()), clips.segments.size() == 1 ? " clip" : " clips");
  } else {
    sources.frequencies = concat_text(options.frequencies, " (",
                                      with_thousands(static_cast<size_t>(frequencies.clips())), " clips)");
  }
  if (!options.save_frequencies.empty()) frequencies.write(options.save_frequencies);

  Progress progress("METEOR", static_cast<int64_t>(clips.segments.size()));
  ScoreOptions score_options{&frequencies, meteor ? &*meteor : nullptr, {}};
  score_options.progress = [&](int64_t done) { progress.update(done); };
  const Scores scores = score_captions(clips.segments, score_options);
  if (frequencies.clips() < 2)
    log_warning(
        "CIDEr is 0 whatever the captions: its weights are log(clips / document frequency), and with one "
        "clip every n-gram of the references is in all clips; --document-frequencies FILE takes them from a "
        "larger set");
  if (!options.per_clip.empty()) write_per_clip(options.per_clip, clips, texts, scores);
  if (options.as_json) {
    print_json(options, scores, meteor ? &*meteor : nullptr, clips.segments.size(), sources);
  } else {
    print_table(options, scores, clips.segments, clips, sources);
  }
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("score", "BLEU, METEOR, ROUGE-L and CIDEr of captions");
  command
      ->add_option("--refs", options->references,
                   "references: COCO annotations or MSR-VTT's videodatainfo.json")
      ->required();
  command
      ->add_option("--hyps", options->hypotheses,
                   "captions: COCO results, [{\"image_id\": ..., \"caption\": ...}]")
      ->required();
  command
      ->add_option("--tokenizer", options->tokenizer, "ptb (COCO's) or whitespace (the captions as they are)")
      ->check(CLI::IsMember({"ptb", "whitespace"}))
      ->capture_default_str();
  command->add_option("--meteor-data", options->meteor.folder,
                      "METEOR's english.synsets, .exceptions, .words (default: Debian's wordnet-base)");
  command->add_option("--paraphrases", options->meteor.paraphrases,
                      "METEOR's paraphrase-en.gz (also found in --meteor-data)");
  command->add_flag("--no-meteor", options->no_meteor, "leave METEOR out");
  command->add_option("--split", options->pairs.split, "only the references of this split (MSR-VTT)");
  command->add_flag("--subset", options->pairs.subset, "leave out references that have no caption");
  command->add_option("--document-frequencies", options->frequencies,
                      "CIDEr's, from --save-document-frequencies or a file of references (default: --refs)");
  command->add_option("--save-document-frequencies", options->save_frequencies,
                      "write CIDEr's document frequencies");
  command->add_option("--per-clip", options->per_clip,
                      "write every clip's scores as JSON, or CSV by its ending");
  command->add_flag("--json", options->as_json, "print the scores as JSON");
  command->add_option("-t,--threads", options->threads, "CPU threads (default: all cores)")
      ->check(CLI::Range(0, 4096));
  command->footer("Example: clipcap score --refs test_videodatainfo.json --hyps predictions.json");
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace clipcap::tools
