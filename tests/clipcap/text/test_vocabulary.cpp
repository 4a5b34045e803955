// Word vocabularies: built, saved, and in Video2Commonsense's two layouts.
#include "clipcap/text/vocabulary.h"

#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tests/catch.h"
#include "tests/damage.h"
#include "tests/temporary_folder.h"

namespace clipcap {
namespace {

using Words = std::vector<std::string>;
using Ids = std::vector<int32_t>;

Vocabulary v2c(const std::string& text) {
  const TemporaryFolder folder("vocabulary");
  return Vocabulary::from_v2c_info(folder.write("info.json", text));
}

}  // namespace

TEST_CASE("words are ordered by count, then by name", "[vocabulary]") {
  const Vocabulary vocabulary =
      Vocabulary::build({{"b", "a", "c", "rare", "<eos>", "<eos>"}, {"c", "b", "a"}, {"c", "d", "d"}}, 1);
  REQUIRE(vocabulary.size() == 8);
  const Words expected{"<PAD>", "<UNK>", "<sos>", "<eos>", "c", "a", "b", "d"};
  for (int32_t id = 0; id < 8; ++id) CHECK(vocabulary.word(id) == expected[static_cast<size_t>(id)]);
  CHECK(vocabulary.pad() == 0);
  CHECK(vocabulary.unk() == 1);
  CHECK(vocabulary.sos() == 2);
  CHECK(vocabulary.eos() == 3);
  CHECK_THROWS_AS(vocabulary.word(8), Error);
  CHECK_THROWS_AS(vocabulary.word(-1), Error);
}

TEST_CASE("sentences become ids and back", "[vocabulary]") {
  const Vocabulary vocabulary = Vocabulary::build({{"a", "man", "runs"}}, 0);
  CHECK(vocabulary.encode({"a", "man", "flies"}, 28) == Ids{2, 4, 5, 1, 3});
  CHECK(vocabulary.encode({"a", "man", "runs"}, 4) == Ids{2, 4, 5, 3});  // cut, eos kept
  CHECK(vocabulary.encode({"a", "man"}, 4) == Ids{2, 4, 5, 3});          // just fits
  CHECK(vocabulary.encode({}, 2) == Ids{2, 3});
  CHECK(vocabulary.decode(Ids{2, 4, 5, 6, 3, 4, 4}) == "a man runs");
  CHECK(vocabulary.decode(Ids{4, 0, 1}) == "a <UNK>");
  CHECK(vocabulary.decode(Ids{}).empty());
  CHECK_THROWS_AS(vocabulary.encode({"a"}, 1), Error);
}

TEST_CASE("saving keeps words and special ids", "[vocabulary]") {
  const Vocabulary old = v2c(R"({"ix_to_word":{"0":"<eos>","1":"<sos>","2":"a","3":"<UNK>"}})");
  const Vocabulary back = Vocabulary::from_json(nlohmann::json::parse(old.to_json().dump()), "vocab.json");
  REQUIRE(back.size() == old.size());
  for (int32_t id = 0; id < old.size(); ++id) CHECK(back.word(id) == old.word(id));
  CHECK(back.eos() == 0);
  CHECK(back.sos() == 1);
  CHECK(back.unk() == 3);
  CHECK(back.pad() == 4);
  CHECK(back.encode({"a", "b"}, 9) == Ids{1, 2, 3, 0});
  for (const char* text :
       {"[]", "{}", R"({"words":["a"]})", R"({"words":["a"],"pad":0,"unk":0,"sos":0,"eos":1})",
        R"({"words":[3],"pad":0,"unk":0,"sos":0,"eos":0})",
        R"({"words":["a"],"pad":-1,"unk":0,"sos":0,"eos":0})"}) {
    INFO(text);
    CHECK_THROWS_AS(Vocabulary::from_json(nlohmann::json::parse(text), "vocab.json: caption"), InputError);
  }
}

TEST_CASE("V2C dictionaries are checked", "[vocabulary]") {
  const Vocabulary vocabulary = v2c(
      R"({"ix_to_word":{"0":"<PAD>","1":"<UNK>","2":"<sos>","3":"<eos>","4":"a","5":""},"word_to_ix":{"a":"4"}})");
  CHECK(vocabulary.size() == 6);
  CHECK(vocabulary.word(5).empty());
  for (const char* text :
       {"", "7", "{}", R"({"ix_to_word":[]})", R"({"ix_to_word":{"x":"a"}})",
        R"({"ix_to_word":{"0":"<sos>","1":"<eos>","9":"<UNK>"}})",
        R"({"ix_to_word":{"0":"<sos>","1":"<eos>","01":"<UNK>"}})", R"({"ix_to_word":{"0":5}})",
        R"({"ix_to_word":{"-1":"a"}})", R"({"ix_to_word":{"0":"<sos>","1":"<eos>"}})"}) {
    INFO(text);
    CHECK_THROWS_AS(v2c(text), InputError);
  }
  const std::string whole =
      R"({"ix_to_word":{"0":"<PAD>","1":"<UNK>","2":"<sos>","3":"<eos>","4":"a"},"videos":{"train":[1]}})";
  for (unsigned variant = 0; variant < 300; ++variant) {
    INFO("variant " << variant);
    int64_t size = 3;
    try {
      size = v2c(damaged(whole, variant)).size();
    } catch (const InputError&) {
    }
    CHECK(size >= 3);
  }
}

TEST_CASE("V2C's real dictionaries", "[vocabulary][needs_shared]") {
  const std::filesystem::path folder = shared_data() / "v2c";
  if (!std::filesystem::exists(folder)) SKIP_TEST("../shared/v2c is not there");
  const Vocabulary vocabulary = Vocabulary::from_v2c_info(folder / "msrvtt_new_info.json");
  CHECK(vocabulary.size() == 29326);
  CHECK(vocabulary.pad() == 0);
  CHECK(vocabulary.unk() == 1);
  CHECK(vocabulary.sos() == 2);
  CHECK(vocabulary.eos() == 3);
  CHECK(vocabulary.word(191).empty());
  CHECK(vocabulary.encode({""}, 5) == Ids{2, 191, 3});
  const Vocabulary older = Vocabulary::from_v2c_info(folder / "info.json");
  CHECK(older.eos() == 0);
  CHECK(older.sos() == 1);
  CHECK(older.unk() == older.size() - 2);  // last in the file
  CHECK(older.pad() == older.size() - 1);  // appended
}

}  // namespace clipcap
