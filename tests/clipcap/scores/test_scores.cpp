// The metrics against the COCO caption evaluation's own programs: tests/golden/scores, made by
// tools/fixtures/make_scores_golden.py. CLIPCAP_SCORES=FILE compares with what that script made of other captions.
#include "clipcap/scores/scores.h"

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "clipcap/scores/caption_file.h"
#include "clipcap/scores/ptb_tokenizer.h"
#include "tensor/check.h"
#include "tensor/io/json_text.h"
#include "tensor/io/mapped_file.h"
#include "tensor/parallel.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

json read_json(const std::filesystem::path& path) {
  return parse_json(read_text_file(path, 512U << 20U), path.string());
}

const json& golden() {
  static const json data = read_json(testing::golden_path("scores/scores.json"));
  return data;
}

std::vector<Segment> segments_of(const json& hypotheses, const json& references) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < hypotheses.size(); ++i)
    segments.push_back({hypotheses[i].get<std::string>(), references[i].get<Texts>()});
  return segments;
}

std::vector<Segment> golden_segments() { return segments_of(golden()["hypotheses"], golden()["references"]); }

// METEOR's lists of the golden, with or without the paraphrase table beside them.
Meteor golden_meteor(const TemporaryFolder& folder, bool paraphrases) {
  const std::filesystem::path lists = testing::golden_path("scores/meteor");
  for (const char* name : {"english.synsets", "english.exceptions", "english.words", "paraphrase-en.gz"}) {
    if (paraphrases || std::string(name) != "paraphrase-en.gz")
      std::filesystem::copy_file(lists / name, folder.path() / name);
  }
  MeteorSources sources;
  sources.folder = folder.path();
  return Meteor::load(sources);
}

// The largest deviation from [corpus, [per segment]]; NaN counts as infinite.
double deviation(const MetricScores& scores, const json& expected) {
  if (scores.per_segment.size() != expected[1].size()) return INFINITY;
  double worst = std::abs(scores.corpus - expected[0].get<double>());
  if (!(worst >= 0)) return INFINITY;
  for (size_t i = 0; i < scores.per_segment.size(); ++i) {
    const double own = std::abs(scores.per_segment[i] - expected[1][i].get<double>());
    if (!(own <= worst)) worst = own >= 0 ? own : INFINITY;
  }
  return worst;
}

void check_all(const Scores& scores, const json& expected, const char* meteor) {
  for (size_t n = 0; n < 4; ++n) {
    const std::string key = "Bleu_" + std::to_string(n + 1);
    CAPTURE(key);
    CHECK(deviation(scores.bleu[n], expected[key]) < 1e-12);
  }
  CHECK(deviation(scores.rouge_l, expected["ROUGE_L"]) < 1e-12);
  CHECK(deviation(scores.cider, expected["CIDEr"]) < 1e-12);
  REQUIRE(scores.meteor.has_value());
  CHECK(deviation(*scores.meteor, expected[meteor]) < 1e-12);
}

}  // namespace

TEST_CASE("PTB tokens are CoreNLP's", "[scores]") {
  REQUIRE(golden()["lines"].size() > 20);
  for (const json& pair : golden()["lines"]) {
    const auto line = pair[0].get<std::string>();
    const auto expected = pair[1].get<std::string>();
    CAPTURE(line);
    std::string joined;
    for (const std::string& token : ptb_tokens(line)) joined += (joined.empty() ? "" : " ") + token;
    // Which quote it is does not matter: all are dropped.
    const auto without_quotes = [](const std::string& text) {
      std::string kept;
      for (const std::string_view word : split_single_spaces(text)) {
        if (word != "`" && word != "'" && word != "``" && word != "''") kept += std::string(word) + " ";
      }
      return kept;
    };
    // CoreNLP makes one token of ". . ."; it is dropped too. A period behind an abbreviation that ends a sentence is
    // written twice.
    const auto plain = [&](std::string text) {
      text = without_quotes(text);
      for (const char* dots : {" . ", " ... "}) {
        for (size_t at = text.find(dots); at != std::string::npos; at = text.find(dots, at))
          text.erase(at, std::string(dots).size() - 1);
      }
      return text;
    };
    CHECK(plain(joined) == plain(expected));
  }
}

TEST_CASE("captions after the PTB tokenizer are the evaluation's", "[scores]") {
  std::vector<Segment> segments = golden_segments();
  tokenize_captions(CaptionTokenizer::ptb, segments);
  for (size_t i = 0; i < segments.size(); ++i) {
    CHECK(segments[i].hypothesis == golden()["ptb_hypotheses"][i].get<std::string>());
    CHECK(segments[i].references == golden()["ptb_references"][i].get<Texts>());
  }
}

TEST_CASE("every metric is the reference's, per clip and for the corpus", "[scores]") {
  for (const bool paraphrases : {false, true}) {
    const TemporaryFolder folder("scores_golden");
    const Meteor meteor = golden_meteor(folder, paraphrases);
    CHECK(meteor.stages() == (paraphrases ? Texts{"exact", "stem", "synonym", "paraphrase"}
                                          : Texts{"exact", "stem", "synonym"}));
    for (const CaptionTokenizer tokenizer : {CaptionTokenizer::whitespace, CaptionTokenizer::ptb}) {
      CAPTURE(paraphrases, name_of(tokenizer));
      std::vector<Segment> segments = golden_segments();
      tokenize_captions(tokenizer, segments);
      check_all(score_captions(segments, {nullptr, &meteor, {}}), golden()[name_of(tokenizer)],
                paraphrases ? "METEOR" : "METEOR_3");
    }
  }
}

TEST_CASE("scores do not depend on the threads", "[scores]") {
  const int before = thread_count();
  const std::vector<Segment> segments = golden_segments();
  const TemporaryFolder folder("scores_threads");
  const Meteor meteor = golden_meteor(folder, true);
  std::atomic<int64_t> most{0};
  const auto progress = [&](int64_t done) {
    int64_t seen = most;
    while (done > seen && !most.compare_exchange_weak(seen, done)) {
    }
  };
  set_thread_count(1);
  const Scores first = score_captions(segments, {nullptr, &meteor, progress});
  CHECK(most == static_cast<int64_t>(segments.size()));
  set_thread_count(3);
  const Scores second = score_captions(segments, {nullptr, &meteor, {}});
  set_thread_count(before);
  CHECK(first.bleu[3].corpus == second.bleu[3].corpus);
  CHECK(first.rouge_l.corpus == second.rouge_l.corpus);
  CHECK(first.meteor->per_segment == second.meteor->per_segment);
  CHECK(first.cider.per_segment == second.cider.per_segment);
  CHECK(first.meteor->corpus == second.meteor->corpus);
}

TEST_CASE("CIDEr's document frequencies survive their file, and come from any set", "[scores]") {
  const TemporaryFolder folder("scores_frequencies");
  const std::vector<Segment> segments = golden_segments();
  const DocumentFrequencies own = DocumentFrequencies::of_references(segments);
  const std::filesystem::path path = folder.path() / "df.json";
  own.write(path);
  const DocumentFrequencies read = DocumentFrequencies::read(path);
  CHECK(read.clips() == static_cast<double>(segments.size()));
  CHECK(read.size() == own.size());
  const MetricScores from_file = cider(segments, read);
  const MetricScores from_references = cider(segments, own);
  for (size_t i = 0; i < segments.size(); ++i)
    CHECK(std::abs(from_file.per_segment[i] - from_references.per_segment[i]) < 1e-12);
  // One clip alone: 0 by its own frequencies, the same as among the others by theirs.
  const std::span<const Segment> one = std::span(segments).subspan(0, 1);
  CHECK(cider(one, DocumentFrequencies::of_references(one)).corpus == 0);
  CHECK(cider(one, own).corpus == cider(segments, own).per_segment[0]);
  CHECK(cider(one, own).corpus > 0.1);

  const auto error = [&](const std::string& text) {
    const std::filesystem::path file = folder.write("bad.json", text);
    return message_of<InputError>([&] { static_cast<void>(DocumentFrequencies::read(file)); });
  };
  check_contains(error("[]"), "bad.json: expected {\"clips\"");
  check_contains(error(R"({"clips":0,"document_frequency":{}})"), "clips: expected how many");
  check_contains(error(R"({"clips":2,"document_frequency":{"a b c d e":1}})"), "one to 4 words, found 5");
  check_contains(error(R"({"clips":2,"document_frequency":{"a":3}})"),
                 "\"a\": expected a number of clips up to 2");
  check_contains(error(R"({"clips":2,"document_frequency":{"a":-1}})"), "found -1");
}

TEST_CASE("words of a text are Python's", "[scores]") {
  using Views = std::vector<std::string_view>;
  CHECK(split_white_space(" a\tb\n\xC2\xA0"
                          "c \xE3\x80\x80 d\xC2\x85") == Views{"a", "b", "c", "d"});
  CHECK(split_white_space("\xE4\xB8\xAD \xF0\x9F\x98\x80") == Views{"\xE4\xB8\xAD", "\xF0\x9F\x98\x80"});
  CHECK(split_white_space("\xC2").size() == 1);
  CHECK(split_white_space("").empty());
  CHECK(split_single_spaces(" a  b") == Views{"", "a", "", "b"});
  CHECK(split_single_spaces("") == Views{""});
}

TEST_CASE("METEOR refuses what it cannot align and lists that it cannot read", "[scores]") {
  const TemporaryFolder folder("scores_meteor");
  const Meteor meteor = golden_meteor(folder, true);
  std::string same;
  for (int i = 0; i < 3000; ++i) same += "a ";
  const std::vector<Segment> segments{{"a dog", {"a dog"}}, {same, {same}}};
  check_contains(message_of<InputError>([&] { static_cast<void>(meteor.score(segments, {})); }),
                 "clip 2 of 2: more than 4194304 pairs of words");

  const auto error = [&](const char* name, const std::string& text) {
    const TemporaryFolder lists("scores_lists");
    for (const char* file : {"english.synsets", "english.exceptions", "english.words", "paraphrase-en.gz"})
      std::filesystem::copy_file(folder.path() / file, lists.path() / file);
    lists.write(name, text);
    return message_of<InputError>([&] {
      MeteorSources sources;
      sources.folder = lists.path();
      static_cast<void>(Meteor::load(sources).score(segments, {}));
    });
  };
  check_contains(error("english.synsets", "dog\n1 x\n"),
                 "english.synsets: line 2: expected a synset's number, found \"x\"");
  check_contains(error("english.synsets", "dog\n1\ncat\n"), "line 3: expected the synsets");
  check_contains(error("paraphrase-en.gz", "0.5\na\nb\nc\n"),
                 "paraphrase-en.gz: line 4: expected a probability, found \"c\"");
  check_contains(error("paraphrase-en.gz", "0.5\na\n"), "line 3: expected the other phrase");
  check_contains(error("paraphrase-en.gz", std::string(200000, '1')), "longer than");
  const std::string table = file_bytes(folder.path() / "paraphrase-en.gz");
  check_contains(error("paraphrase-en.gz", table.substr(0, table.size() / 2)), "paraphrase-en.gz: line ");
  MeteorSources nowhere;
  nowhere.folder = folder.path() / "absent";
  check_contains(message_of<InputError>([&] { static_cast<void>(Meteor::load(nowhere)); }),
                 "no english.synsets");
}

TEST_CASE("METEOR does without WordNet", "[scores]") {
  MeteorSources sources;
  sources.word_net = "/nonexistent";
  const Meteor meteor = Meteor::load(sources);
  CHECK(meteor.stages() == Texts{"exact", "stem"});
  CHECK(meteor.synonyms_from().empty());
  CHECK_FALSE(meteor.has_own_function_words());
  const std::vector<Segment> segments{{"a dog runs", {"a dog runs"}}};
  CHECK(meteor.score(segments, {}).corpus == 1);
}

// 2,990 clips, one caption of each against the other nineteen. The numbers are pycocoevalcap's.
TEST_CASE("MSR-VTT's captions against each other", "[scores][needs_shared]") {
  const std::filesystem::path annotations = shared_data() / "msrvtt" / "test_videodatainfo.json";
  if (!std::filesystem::exists(annotations)) SKIP_TEST("../shared/msrvtt is not there");
  std::vector<Segment> segments;
  for (CaptionedId& entry : read_caption_file(annotations).entries) {
    segments.push_back({entry.captions[0], {entry.captions.begin() + 1, entry.captions.end()}});
  }
  REQUIRE(segments.size() == 2990);
  MeteorSources sources;
  sources.folder = shared_data() / "meteor";
  const Meteor meteor = Meteor::load(sources);
  const Scores plain = score_captions(segments, {nullptr, &meteor, {}});
  CHECK(std::abs(plain.bleu[0].corpus - 0.7476265545629446) < 1e-12);
  CHECK(std::abs(plain.bleu[3].corpus - 0.30386786768669394) < 1e-12);
  CHECK(std::abs(plain.rouge_l.corpus - 0.5352161865746142) < 1e-12);
  CHECK(std::abs(plain.cider.corpus - 0.4299522964176377) < 1e-12);
  CHECK(std::abs(plain.meteor->corpus - 0.26779387885956657) < 1e-12);
  tokenize_captions(CaptionTokenizer::ptb, segments);
  const Scores ptb = score_captions(segments, {nullptr, &meteor, {}});
  CHECK(std::abs(ptb.bleu[3].corpus - 0.3038171379660125) < 1e-12);
  CHECK(std::abs(ptb.rouge_l.corpus - 0.5360008953856249) < 1e-12);
  CHECK(std::abs(ptb.cider.corpus - 0.42995662377116944) < 1e-12);
  CHECK(std::abs(ptb.meteor->corpus - 0.2678377322441232) < 1e-12);
}

TEST_CASE("captions of CLIPCAP_SCORES", "[scores]") {
  const char* file = std::getenv("CLIPCAP_SCORES");
  if (file == nullptr) return;
  const json data = read_json(file);
  std::vector<Segment> segments = segments_of(data["hypotheses"], data["references"]);
  tokenize_captions(parse_caption_tokenizer(data["tokenizer"]), segments);
  size_t different = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    different += segments[i].hypothesis != data["tokenised_hypotheses"][i].get<std::string>() ? 1 : 0;
    different += segments[i].references != data["tokenised_references"][i].get<Texts>() ? 1 : 0;
  }
  CHECK(different == 0);
  MeteorSources sources;
  sources.folder = data["meteor"].get<std::string>();
  sources.paraphrases = data["paraphrases"].get<std::string>();
  const Meteor meteor = Meteor::load(sources);
  check_all(score_captions(segments, {nullptr, &meteor, {}}), data["scores"], "METEOR");
}

}  // namespace clipcap
