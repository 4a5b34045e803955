// clipcap score as its users run it.
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/error_message.h"
#include "tests/program.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace clipcap::testing {
namespace {

using nlohmann::json;

// The golden's captions as files.
void write_golden(const TemporaryFolder& folder, json& golden) {
  golden = json::parse(file_bytes(golden_path("scores/scores.json")));
  json references = {{"annotations", json::array()}};
  json hypotheses = json::array();
  for (size_t i = 0; i < golden["hypotheses"].size(); ++i) {
    hypotheses.push_back({{"image_id", i}, {"caption", golden["hypotheses"][i]}});
    for (const json& caption : golden["references"][i])
      references["annotations"].push_back({{"image_id", std::to_string(i)}, {"caption", caption}});
  }
  folder.write("refs.json", references.dump());
  folder.write("hyps.json", hypotheses.dump());
}

}  // namespace

TEST_CASE("score prints the golden's numbers as JSON, as a table and per clip", "[score_command]") {
  const TemporaryFolder folder("score_command");
  json golden;
  write_golden(folder, golden);
  const RunOptions here{.folder = folder.path()};
  const std::string lists = golden_path("scores/meteor").string();
  for (const char* tokenizer : {"ptb", "whitespace"}) {
    const Ran ran = run_program({"score", "--refs", "refs.json", "--hyps", "hyps.json", "--json",
                                 "--tokenizer", tokenizer, "--meteor-data", lists, "--per-clip", "each.json"},
                                here);
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    const json printed = json::parse(ran.out);
    const json each = json::parse(file_bytes(folder.path() / "each.json"));
    for (const char* key : {"Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr"}) {
      CAPTURE(tokenizer, key);
      const json& expected = golden[tokenizer][key];
      CHECK(std::abs(printed[key].get<double>() - expected[0].get<double>()) < 1e-12);
      for (const size_t i : {0, 5, 20})
        CHECK(std::abs(each[i][key].get<double>() - expected[1][i].get<double>()) < 1e-12);
    }
    CHECK(printed["meteor_stages"] == json{"exact", "stem", "synonym", "paraphrase"});
    CHECK(printed["tokenizer"] == tokenizer);
    CHECK(printed["segments"] == golden["hypotheses"].size());
    CHECK(each[9]["caption"] == "A Woman Sings, then LAUGHS!");
    CHECK(each[9]["image_id"] == "9");
  }
  const Ran table =
      run_program({"score", "--refs", "refs.json", "--hyps", "hyps.json", "--meteor-data", lists}, here);
  CHECK(table.code == 0);
  check_contains(table.out, "PTB tokens");
  check_contains(table.out, "exact, stem, synonym and paraphrase matches");
  check_contains(table.out, "document frequencies from the references of these 37 clips");
  check_contains(table.out, "pycocoevalcap 1.2");
  check_contains(table.out, "SPICE is not computed");
  const double bleu = 100 * golden["ptb"]["Bleu_4"][0].get<double>();
  char percent[32];
  std::snprintf(percent, sizeof percent, "BLEU-4   %8.2f", bleu);
  check_contains(table.out, percent);

  const Ran csv = run_program(
      {"score", "--refs", "refs.json", "--hyps", "hyps.json", "--no-meteor", "--per-clip", "each.csv"}, here);
  CHECK(csv.code == 0);
  const std::string lines = file_bytes(folder.path() / "each.csv");
  CHECK(lines.starts_with("image_id,Bleu_1,Bleu_2,Bleu_3,Bleu_4,ROUGE_L,CIDEr,caption\n\"0\","));
}

TEST_CASE("score says why CIDEr is 0 on one image, and takes its frequencies from elsewhere",
          "[score_command]") {
  const TemporaryFolder folder("score_one");
  const RunOptions here{.folder = folder.path()};
  folder.write("refs.json", R"({"v1":["a dog runs","the dog runs"]})");
  folder.write("more.json", R"({"v1":["a dog runs","the dog runs"],"v2":["a cat"],"v3":["a man talks"]})");
  folder.write("hyps.json", R"({"v1":"a dog runs"})");
  const Ran alone = run_program({"score", "--refs", "refs.json", "--hyps", "hyps.json", "--json",
                                 "--no-meteor", "--save-document-frequencies", "df.json"},
                                here);
  CHECK(alone.code == 0);
  CHECK(json::parse(alone.out)["CIDEr"] == 0);
  check_contains(alone.err, "warning: CIDEr is 0 whatever the captions");
  const Ran other =
      run_program({"score", "--refs", "refs.json", "--hyps", "hyps.json", "--json", "--no-meteor",
                   "--document-frequencies", "more.json", "--save-document-frequencies", "df.json"},
                  here);
  CHECK(json::parse(other.out)["CIDEr"].get<double>() > 1);
  CHECK(other.err.find("CIDEr") == std::string::npos);
  check_contains(other.out, "more.json (3 clips)");
  const Ran saved = run_program({"score", "--refs", "refs.json", "--hyps", "hyps.json", "--json",
                                 "--no-meteor", "--document-frequencies", "df.json"},
                                here);
  CHECK(json::parse(saved.out)["CIDEr"] == json::parse(other.out)["CIDEr"]);
}

TEST_CASE("score refuses wrong input in one line", "[score_command]") {
  const TemporaryFolder folder("score_errors");
  const RunOptions here{.folder = folder.path()};
  folder.write("refs.json", R"({"v1":["a dog"],"v2":["a cat"]})");
  folder.write("hyps.json", R"({"v1":"a dog"})");
  folder.write("df.p", "\x80\x04.");
  const auto refused = [&](const std::vector<std::string>& more, const std::string& part) {
    std::vector<std::string> arguments{"score", "--refs", "refs.json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ran ran = run_program(arguments, here);
    CHECK(ran.code == 2);
    CHECK(ran.out.empty());
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    check_contains(ran.err, part);
  };
  refused({"--hyps", "absent.json"}, "absent.json");
  refused({"--hyps", "hyps.json"}, "hyps.json: no caption for this 1 of 2 clips of refs.json: v2 (--subset");
  refused({"--hyps", "hyps.json", "--subset", "--tokenizer", "words"}, "tokenizer");
  refused({"--hyps", "hyps.json", "--subset", "--meteor-data", "."}, "no english.synsets");
  refused({"--hyps", "hyps.json", "--subset", "--paraphrases", "absent.gz"}, "absent.gz");
  refused({"--hyps", "hyps.json", "--subset", "--document-frequencies", "df.p"}, "df.p: a Python pickle");
}

}  // namespace clipcap::testing
