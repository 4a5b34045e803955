// What a typing mistake stands for.
#include "clipcap/terminal/nearest.h"

#include <vector>

#include "tests/catch.h"

using namespace clipcap;

TEST_CASE("edit distance", "[nearest]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("beam", "beam") == 0);
  CHECK(edit_distance("bem", "beam") == 1);
  CHECK(edit_distance("beamm", "beam") == 1);
  CHECK(edit_distance("bean", "beam") == 1);
  CHECK(edit_distance("baem", "beam") == 1);  // neighbours exchanged
  CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("the nearest name, or none", "[nearest]") {
  const std::vector<std::string> names{"train", "caption", "train-tokenizer", "tokenize", "keep-going"};
  CHECK(nearest_name("trian", names) == "train");
  CHECK(nearest_name("TRAIN", names) == "train");
  CHECK(nearest_name("keep_going", names) == "keep-going");
  CHECK(nearest_name("captoin", names) == "caption");
  CHECK(nearest_name("cap", names) == "caption");
  CHECK(nearest_name("tokenise", names) == "tokenize");
  CHECK(nearest_name("train-tokeniser", names) == "train-tokenizer");
  CHECK(nearest_name("nonsense", names).empty());
  CHECK(nearest_name("", names).empty());
  CHECK(nearest_name("x", {}).empty());
  CHECK(nearest_name(std::string(1 << 20, 'k'), names).empty());
}
