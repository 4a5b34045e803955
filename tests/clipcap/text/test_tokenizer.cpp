// CLIP's tokenizer: against the reference's ids, its three file layouts, rows, hostile files, training.
#include "clipcap/text/tokenizer.h"

#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "clipcap/text/html_entities.h"
#include "clipcap/text/normalization.h"
#include "clipcap/text/text_repair.h"
#include "clipcap/text/tokenizer_files.h"
#include "clipcap/text/tokenizer_trainer.h"
#include "clipcap/text/unicode.h"
#include "clipcap/text/word_splitter.h"
#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/error_message.h"
#include "tests/source_dir.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::filesystem::path real_vocabulary() { return shared_data() / "clip" / "bpe_simple_vocab_16e6.txt.gz"; }

// 512 symbols, then these ids: 512 th, 513 the</w>, 514 in, 515 ing</w>, 516 aa, 517 start, 518 end.
const std::string kMerges = "t h\nth e</w>\ni n\nin g</w>\na a";
const std::string kSmallText = "heading\n" + kMerges;

int32_t symbol(char c, bool last = false) { return c - '!' + (last ? 256 : 0); }

std::string gzip(const std::string& text) {
  const TemporaryFolder folder("tokenizer_gzip");
  const std::string path = (folder.path() / "file.gz").string();
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  REQUIRE(gzclose(file) == Z_OK);
  return file_bytes(path);
}

ClipTokenizer small_tokenizer() {
  const TemporaryFolder folder("tokenizer_small");
  return ClipTokenizer::load(folder.write("small.txt", kSmallText));
}

// The small vocabulary as {token: id}.
json small_ids() {
  const ClipTokenizer tokenizer = small_tokenizer();
  json ids = json::object();
  for (int32_t id = 0; id < tokenizer.size(); ++id) ids[tokenizer.token(id)] = id;
  return ids;
}

json small_tokenizer_json(bool merges_as_pairs) {
  json ids = small_ids();
  json added = json::array();
  for (const char* name : {"<|startoftext|>", "<|endoftext|>"}) {
    added.push_back({{"id", ids[name]}, {"content", name}, {"special", true}});
    if (merges_as_pairs) ids.erase(name);  // both places are seen
  }
  json merges = json::array();
  for (const auto& [left, right] :
       {std::pair{"t", "h"}, {"th", "e</w>"}, {"i", "n"}, {"in", "g</w>"}, {"a", "a"}}) {
    merges.push_back(merges_as_pairs ? json{left, right} : json(std::string(left) + " " + right));
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}},
          {"model", {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}, {"vocab", ids}, {"merges", merges}}}};
}

Ids row(const TokenRows& rows, int64_t index) {
  const auto* first = rows.ids.data() + index * rows.context;
  return {first, first + rows.context};
}

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string load_error(const std::filesystem::path& path) {
  return message_of<InputError>([&] { static_cast<void>(ClipTokenizer::load(path)); });
}

}  // namespace

TEST_CASE("the reference's ids", "[tokenizer][needs_shared]") {
  if (!std::filesystem::exists(real_vocabulary())) SKIP_TEST("../shared/clip is not there");
  ClipTokenizer tokenizer = ClipTokenizer::load(real_vocabulary());
  REQUIRE(tokenizer.size() == 49408);
  CHECK(tokenizer.start() == 49406);
  CHECK(tokenizer.end() == 49407);
  CHECK(tokenizer.encode("a diagram") == Ids{320, 22697});
  // [text, ids, ids with repairs or null]: tools/fixtures/make_tokenizer_golden.py
  const json golden = json::parse(file_bytes(testing::golden_path("tokenizer.json")));
  REQUIRE(golden.size() > 1000);
  for (const bool repair : {false, true}) {
    tokenizer.set_repair(repair);
    int wrong = 0;
    for (const json& line : golden) {
      const std::string text = line[0].get<std::string>();
      const Ids expected = line[repair && !line[2].is_null() ? 2 : 1].get<Ids>();
      if (tokenizer.encode(text) == expected) continue;
      if (++wrong < 5) UNSCOPED_INFO("repair " << repair << ": " << line[0].dump(-1, ' ', true));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("what is encoded is decoded again", "[tokenizer][needs_shared]") {
  if (!std::filesystem::exists(real_vocabulary())) SKIP_TEST("../shared/clip is not there");
  const ClipTokenizer tokenizer = ClipTokenizer::load(real_vocabulary());
  for (const std::string text : {"a man plays the guitar", "na\xc3\xafve caf\xc3\xa9",
                                 "\xe6\x9d\xb1\xe4\xba\xac", "\xf0\x9f\x98\x80", "well done"}) {
    CHECK(tokenizer.decode(tokenizer.encode(text)) == text + " ");
    CHECK(tokenizer.row_text(tokenizer.encode_rows(std::vector{text}).ids) == text);
  }
  CHECK(tokenizer.decode(Ids{49406, 320, 22697, 49407}) == "<|startoftext|>a diagram <|endoftext|>");
  CHECK(tokenizer.decode(Ids{127}) == "\xef\xbf\xbd");  // a byte of a longer character
  CHECK_THROWS_AS(tokenizer.decode(Ids{49408}), InputError);
  CHECK_THROWS_AS(tokenizer.decode(Ids{-1}), InputError);
}

TEST_CASE("pairs are merged by rank, all of one rank left to right", "[tokenizer]") {
  const ClipTokenizer tokenizer = small_tokenizer();
  CHECK(tokenizer.encode("The") == Ids{513});
  CHECK(tokenizer.encode("th") == Ids{symbol('t'), symbol('h', true)});  // t h</w> is another pair than t h
  CHECK(tokenizer.encode("thing") == Ids{512, 515});
  CHECK(tokenizer.encode("aaaa") == Ids{516, symbol('a'), symbol('a', true)});
  CHECK(tokenizer.encode("a1b") == Ids{symbol('a', true), symbol('1', true), symbol('b', true)});
  CHECK(tokenizer.encode("").empty());
  CHECK(tokenizer.encode(" \t ").empty());
  CHECK(tokenizer.encode("<|STARTOFTEXT|> <|endoftext|>") == Ids{517, 518});
  // A rule that uses what a later rule makes waits until that rule has been applied everywhere.
  const TemporaryFolder folder("tokenizer_order");
  const ClipTokenizer later = ClipTokenizer::load(folder.write("later.txt", "heading\nab a\na b\nc d</w>\n"));
  CHECK(later.encode("ababcd") == Ids{513, 513, 514});
}

TEST_CASE("the layouts agree", "[tokenizer]") {
  const TemporaryFolder folder("tokenizer_layouts");
  const std::filesystem::path text = folder.write("bpe.txt", kSmallText);
  folder.write("pair/vocab.json", small_ids().dump());
  folder.write("pair/merges.txt", "#version: 0.2\n" + kMerges + "\n");
  folder.write("named/my-vocab.json", small_ids().dump(1));
  folder.write("named/my-merges.txt", "#version: 0.2\r\n" + kMerges + "\n");
  folder.write("one/tokenizer.json", small_tokenizer_json(false).dump());
  folder.write("two/tokenizer.json", small_tokenizer_json(true).dump());
  folder.write("gz/bpe_simple_vocab_16e6.txt.gz", gzip(kSmallText));
  const std::string sample = "The thing is singing &amp; the ring, aaaa! <|endoftext|> \xc3\xa9";
  const Ids expected = ClipTokenizer::load(text).encode(sample);
  CHECK(expected.size() > 20);
  for (const char* name :
       {"pair", "pair/vocab.json", "pair/merges.txt", "named/my-vocab.json", "named/my-merges.txt", "one",
        "one/tokenizer.json", "two", "gz", "gz/bpe_simple_vocab_16e6.txt.gz"}) {
    INFO(name);
    const ClipTokenizer tokenizer = ClipTokenizer::load(folder.path() / name);
    CHECK(tokenizer.encode(sample) == expected);
    CHECK(tokenizer.size() == 519);
    CHECK(tokenizer.start() == 517);
    CHECK(tokenizer.end() == 518);
  }
}

TEST_CASE("rows are cut with the end kept, or refused", "[tokenizer]") {
  const ClipTokenizer tokenizer = small_tokenizer();
  const std::vector<std::string> texts{"the thing", "1 2 3 4 5 6 7", "the <|endoftext|> the", ""};
  RowOptions options;
  options.context = 7;
  const TokenRows rows = tokenizer.encode_rows(texts, options);
  CHECK(row(rows, 0) == Ids{517, 513, 512, 515, 518, 0, 0});
  CHECK(row(rows, 1) == Ids{517, symbol('1', true), symbol('2', true), symbol('3', true), symbol('4', true),
                            symbol('5', true), 518});
  CHECK(row(rows, 2) == Ids{517, 513, 518, 513, 518, 0, 0});
  CHECK(row(rows, 3) == Ids{517, 518, 0, 0, 0, 0, 0});
  CHECK(rows.end_positions == Ids{4, 6, 2, 1});
  CHECK(rows.lengths == std::vector<int64_t>{5, 9, 5, 2});
  options.pad_with_end = true;
  CHECK(row(tokenizer.encode_rows(texts, options), 0) == Ids{517, 513, 512, 515, 518, 518, 518});
  options.truncate = false;
  const std::string message =
      message_of<InputError>([&] { static_cast<void>(tokenizer.encode_rows(texts, options)); });
  CHECK(message == "\"1 2 3 4 5 6 7\": 9 tokens with start and end; a row holds 7");
  options.context = 9;
  CHECK(tokenizer.encode_rows(texts, options).ids.size() == 4 * 9);
  CHECK(tokenizer.encode_rows(texts).ids.size() == 4 * 77);
  options.context = 1;
  CHECK_THROWS_AS(tokenizer.encode_rows(texts, options), InputError);
}

TEST_CASE("long words take no long time", "[tokenizer]") {
  const ClipTokenizer tokenizer = small_tokenizer();
  const std::string letters(1'000'000, 'a');
  std::string things;
  for (int i = 0; i < 100'000; ++i) things += "thing";
  std::string references = "&";
  for (int i = 0; i < 100'000; ++i) references += "amp;";
  std::string marks = "a";
  for (int i = 0; i < 100'000; ++i) marks += "\xcc\x81\xcc\xa7";  // acute, cedilla
  std::string sigmas;
  for (int i = 0; i < 100'000; ++i) sigmas += "\xce\xa3\xcc\x81";
  CHECK(seconds([&] {
          CHECK(tokenizer.encode(letters).size() == 500'001);
          CHECK(tokenizer.encode(things).size() == 300'000 - 1);
          CHECK(tokenizer.encode(references).size() > 1);
          CHECK(tokenizer.encode(marks).size() > 1);
          CHECK(tokenizer.encode(sigmas).size() > 1);
        }) < 20);
}

TEST_CASE("character references, cases and spaces are Python's", "[tokenizer]") {
  CHECK(unescape_html(
            U"&lt;&LT&notit;&notin;&eacute &#65;&#x41&#x80;&#0;&#xD800;&#1114112;&#1;&#xFFFE;&bogus;") ==
        U"<<\u00acit;\u2209\u00e9 AA\u20ac\ufffd\ufffd\ufffd&bogus;");
  CHECK(unescape_html(U"& && &; &# &#; &#x; &a &fjlig;") == U"& && &; &# &#; &#x; &a fj");
  CHECK(unescape_certain_html(U"&EACUTE;&eacute &SZLIG;&amp;amp;&#59;&#65;&notit;") ==
        U"\u00c9&eacute SS&amp;&#59;A&notit;");
  CHECK(lower_case(U"\u0130I \u039f\u03a3 \u03a3\u03a3\u03a3 \u03a3 A\u03a3\u0301.") ==
        U"i\u0307i \u03bf\u03c2 \u03c3\u03c3\u03c2 \u03c3 a\u03c2\u0301.");
  CHECK(normalize_nfc(U"e\u0301 \u1100\u1161\u11a8 a\u0323\u0302 \u212b \u0958 q\u0307\u0323") ==
        U"\u00e9 \uac01 \u1ead \u00c5 \u0915\u093c q\u0323\u0307");
  // One mark blocks, one does not.
  CHECK(normalize_nfc(U"a\u0305\u0301 a\u0327\u0301") == U"a\u0305\u0301 \u00e1\u0327");
  CHECK(repair_text(U"\u201c\ufb01ne\u201d\u2019 \uff21\u3000\uff76 \x1b[1;31mred\x1b[0m\u0007\ufeff \x85") ==
        U"\"fine\"' A \u30ab red \u2026");
  CHECK(repair_text(U"&lt;\n&amp;lt; <\n&lt;") == U"<\n&amp;lt; <\n&lt;");
  // Until nothing changes: one pass takes one layer off.
  CHECK(repair_text(U"&amp;amp;amp;eacute;") == U"\u00e9");
  const std::u32string text = U"it's 'll x_y 12\u0663 a\u0345b '\u017f \u00bd";
  std::u32string joined;
  for (const std::u32string_view word : split_words(text, {})) joined.append(word).append(U"|");
  CHECK(joined == U"it|'s|'ll|x|_|y|1|2|\u0663|a|b|'\u017f|\u00bd|");
  CHECK(decode_utf8("a\xff\xc3\xa9\xc3 \xe2\x82\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf\xf0\x9f\x98") ==
        U"a\ufffd\u00e9\ufffd \ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd");
}

TEST_CASE("wrong tokenizer files are named with their place", "[tokenizer]") {
  const TemporaryFolder folder("tokenizer_wrong");
  check_contains(load_error(folder.path() / "absent.txt"), "absent.txt: no such file");
  check_contains(load_error(folder.path()), "no tokenizer in this folder");
  check_contains(load_error(folder.write("empty.txt", "")), "empty.txt: no merges");
  check_contains(load_error(folder.write("a.txt", "heading\nt h\nth\n")),
                 "a.txt: line 3: expected two symbols");
  CHECK(load_error(folder.write("long.txt", "heading\na " + std::string(3'000'000, 'b'))).size() < 500);
  check_contains(load_error(folder.write("b.txt", "heading\nt h\nt h\n")), "b.txt: token \"th\" has two ids");
  check_contains(load_error(folder.write("c.txt", "heading\nt xyz\n")),
                 "c.txt: merge 1 (\"t\" and \"xyz\"): \"xyz\" is not a token");
  check_contains(load_error(folder.write("merges.txt", "#version\n" + kMerges)),
                 "vocab.json, which is not there");
  const auto json_error = [&](const json& value) {
    return load_error(folder.write("tokenizer.json", value.dump()));
  };
  const auto vocab_error = [&](const json& value) {
    return load_error(folder.write("vocab.json", value.dump()));
  };
  json value = small_ids();
  value["th"] = 3;
  check_contains(vocab_error(value), "vocab.json: [\"th\"]: id 3 is \"");
  value["th"] = 1000;
  check_contains(vocab_error(value), "no token has id 512");
  value["th"] = 4'000'000'000;
  check_contains(vocab_error(value), "[\"th\"]: id 4000000000");
  value["th"] = -1;
  check_contains(vocab_error(value), "[\"th\"]: found a negative number, expected an id");
  value["th"] = "x";
  check_contains(vocab_error(value), "[\"th\"]: found a string, expected an id");
  value["th"] = json::object();
  check_contains(vocab_error(value), "[\"th\"]: found an object, expected an id");
  value = small_ids();
  std::string twice = value.dump();
  twice.insert(1, "\"th\":512,");
  check_contains(load_error(folder.write("vocab.json", twice)), "id 512 is \"th\" already");
  value.erase("<|endoftext|>");
  check_contains(vocab_error(value), "no token <|endoftext|>");
  value = small_tokenizer_json(true);
  value["model"]["type"] = "WordPiece";
  check_contains(json_error(value), "model.type is \"WordPiece\"");
  value["model"]["type"] = "BPE";
  value["model"]["merges"][2] = {"a", "b", "c"};
  check_contains(json_error(value), "[\"model\"][\"merges\"]");
  value["model"]["merges"][2] = "ab";
  check_contains(json_error(value), "expected two symbols");
  value["model"]["merges"][2] = 7;
  check_contains(json_error(value), "expected a merge");
  value["model"].erase("merges");
  check_contains(json_error(value), "no model.merges");
  check_contains(load_error(folder.write("tokenizer.json", "{\"a\": 1")), "tokenizer.json: ");
  check_contains(load_error(folder.write("tokenizer.json", "[1]")), "expected an object");
  check_contains(load_error(folder.write("tokenizer.json", "{}")), "no vocabulary");
  check_contains(load_error(folder.write("tokenizer.json", "{\"a\":" + std::string(1'000'000, '['))),
                 "nested");
  CHECK(
      load_error(folder.write("tokenizer.json", "{\"" + std::string(3'000'000, 'k') + "\": \"x\"}")).size() <
      500);
}

TEST_CASE("damaged and oversized tokenizer files", "[tokenizer]") {
  const TemporaryFolder folder("tokenizer_damage");
  const std::string whole = gzip(kSmallText);
  for (size_t length = 0; length < whole.size(); ++length) {
    INFO("cut to " << length << " of " << whole.size());
    CHECK_FALSE(load_error(folder.write("cut.txt.gz", whole.substr(0, length))).empty());
  }
  // 64 MB of a line break in 64 kB, and lines that would be a good vocabulary but for their number.
  check_contains(load_error(folder.write("bomb.txt.gz", gzip(std::string(64U << 20U, '\n')))),
                 "bytes of text");
  const std::string pair = small_ids().dump();
  const std::string one = small_tokenizer_json(true).dump();
  folder.write("pair/merges.txt", "#version: 0.2\n" + kMerges);
  int refused = 0;
  for (unsigned variant = 0; variant < 300; ++variant) {
    const std::filesystem::path files[] = {folder.write("damaged.txt.gz", damaged(whole, variant)),
                                           folder.write("damaged.txt", damaged(kSmallText, variant)),
                                           folder.write("pair/vocab.json", damaged(pair, variant)),
                                           folder.write("tokenizer.json", damaged(one, variant))};
    for (const std::filesystem::path& file : files) {
      try {
        static_cast<void>(ClipTokenizer::load(file).encode("the thing"));
      } catch (const InputError& error) {
        ++refused;
        CHECK(std::string(error.what()).size() < 1000);
      }
    }
  }
  CHECK(refused > 300);  // some damage only changes a token
}

namespace {

// Training by its definition: all pairs counted anew for every merge. Words are lists of token strings.
std::vector<std::string> plainly_trained(const std::vector<std::string>& texts, size_t merges,
                                         int64_t min_count) {
  const ClipVocabulary start = vocabulary_of_merges({});
  std::vector<std::string> tokens(start.tokens.begin(), start.tokens.begin() + 512);
  std::vector<std::vector<size_t>> words;
  for (const std::string& text : texts) {
    const std::u32string characters = decode_utf8(text);
    for (const std::u32string_view word : split_words(characters, {})) {
      words.emplace_back();
      for (const char c : encode_utf8(word)) {
        std::string symbol;
        append_utf8(symbol, byte_alphabet().character[static_cast<uint8_t>(c)]);
        words.back().push_back(
            static_cast<size_t>(std::find(tokens.begin(), tokens.end(), symbol) - tokens.begin()));
      }
      words.back().back() += 256;
    }
  }
  std::vector<std::string> learnt;
  while (learnt.size() < merges) {
    std::map<std::pair<size_t, size_t>, int64_t> counts;
    for (const auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    std::pair<size_t, size_t> best;
    int64_t most = min_count - 1;
    for (const auto& [pair, count] : counts) {
      const std::string token = tokens[pair.first] + tokens[pair.second];
      if (count <= most || std::find(tokens.begin(), tokens.end(), token) != tokens.end()) continue;
      best = pair;
      most = count;
    }
    if (most < min_count) break;
    learnt.push_back(tokens[best.first] + " " + tokens[best.second]);
    tokens.push_back(tokens[best.first] + tokens[best.second]);
    for (auto& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        if (word[i] != best.first || word[i + 1] != best.second) continue;
        word[i] = tokens.size() - 1;
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return learnt;
}

}  // namespace

TEST_CASE("training finds the most frequent pairs", "[tokenizer]") {
  std::vector<std::string> texts;
  std::mt19937 random(3);
  for (int line = 0; line < 60; ++line) {
    std::string text;
    for (int word = 0; word < 8; ++word) {
      for (unsigned n = 1 + random() % 9; n > 0; --n) append_utf8(text, U"aaaabbcd\u00e9"[random() % 9]);
      text += ' ';
    }
    texts.push_back(text);
  }
  const auto trained = [&](int64_t merges, int64_t min_count) {
    TokenizerTrainer trainer;
    for (const std::string& text : texts) trainer.add(text);
    return trainer.train({merges, min_count});
  };
  for (const auto& [merges, min_count] :
       {std::pair<int64_t, int64_t>{150, 2}, {100'000, 1}, {100'000, 3}, {0, 2}}) {
    const ClipVocabulary vocabulary = trained(merges, min_count);
    std::vector<std::string> learnt;
    for (const auto& [left, right] : vocabulary.merges) learnt.push_back(left + " " + right);
    CHECK(learnt == plainly_trained(texts, static_cast<size_t>(merges), min_count));
    CHECK(vocabulary.tokens.size() == 514 + vocabulary.merges.size());
  }
  const ClipVocabulary vocabulary = trained(150, 2);
  REQUIRE(vocabulary.merges.size() == 150);
  CHECK(vocabulary.start == 662);
  CHECK(vocabulary.end == 663);
  std::reverse(texts.begin(), texts.end());
  CHECK(trained(150, 2).tokens == vocabulary.tokens);

  const TemporaryFolder folder("tokenizer_trained");
  for (const char* name : {"folder", "file.txt", "file.txt.gz"}) {
    INFO(name);
    write_clip_vocabulary(folder.path() / name, vocabulary);
    const ClipVocabulary again = read_clip_vocabulary(folder.path() / name);
    CHECK(again.tokens == vocabulary.tokens);
    CHECK(again.start == vocabulary.start);
    const ClipTokenizer tokenizer = ClipTokenizer::load(folder.path() / name);
    CHECK(tokenizer.row_text(tokenizer.encode_rows(std::span(texts).first(1)).ids).substr(0, 5) ==
          texts[0].substr(0, 5));
  }
  const std::string bytes = file_bytes(folder.path() / "file.txt.gz");
  write_clip_vocabulary(folder.path() / "file.txt.gz", vocabulary);
  CHECK(file_bytes(folder.path() / "file.txt.gz") == bytes);
  CHECK_THROWS_AS(trained(-1, 2), InputError);
  CHECK_THROWS_AS(trained(1, 0), InputError);
}

TEST_CASE("tokenizer: added tokens are found as Hugging Face's tokenizers finds them", "[tokenizer]") {
  const std::filesystem::path folder = testing::golden_path("clip");
  const ClipTokenizer tokenizer = ClipTokenizer::load(folder / "added_tokens.json");
  CHECK(tokenizer.size() == 67);
  CHECK(tokenizer.base_size() == 60);
  const json cases = json::parse(file_bytes(folder / "added_tokens_expected.json"));
  REQUIRE(cases.size() == 11);
  for (const json& one : cases) {
    const std::string text = one[0];
    INFO(text);
    CHECK(tokenizer.encode(text) == one[1].get<Ids>());
  }
}

TEST_CASE("tokenizer: blank lines behind the merges do not count", "[tokenizer]") {
  const std::filesystem::path golden = testing::golden_path("clip") / "tokenizer";
  const TemporaryFolder folder("tokenizer_blank");
  folder.write("vocab.json", file_bytes(golden / "vocab.json"));
  const std::string merges = file_bytes(golden / "merges.txt");
  const Ids expected = ClipTokenizer::load(golden).encode("the and on the");
  for (const char* behind : {"", "\n", "\n\n", "\n\n\n\n", "  \n \n", "\r\n\r\n", "\n\t\n"}) {
    folder.write("merges.txt", merges + behind);
    CHECK(ClipTokenizer::load(folder.path()).encode("the and on the") == expected);
  }
  folder.write("merges.txt", merges + "\n\na b\n");
  CHECK(message_of<InputError>([&] { (void)ClipTokenizer::load(folder.path()); }).find("merges.txt: line ") !=
        std::string::npos);
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  folder.write("merges.txt", pointer);
  CHECK(message_of<InputError>([&] { (void)ClipTokenizer::load(folder.path()); }).find("Git LFS") !=
        std::string::npos);
  folder.write("vocab.json", pointer);
  CHECK(message_of<InputError>([&] { (void)ClipTokenizer::load(folder.path()); }).find("Git LFS") !=
        std::string::npos);
}

}  // namespace clipcap
