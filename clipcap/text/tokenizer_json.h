// The JSON files of Hugging Face's CLIP tokenizers, read as a stream: nothing but the vocabulary is kept, so
// a hostile file costs no more memory than its own size.
#pragma once

#include <filesystem>
#include <string>

#include "clipcap/text/tokenizer.h"

namespace clipcap {

struct TokenizerJson {
  ClipVocabulary vocabulary;
  bool has_merges = false;  // false: a vocab.json, whose merges are in another file
};

/// vocab.json ({token: id}) or tokenizer.json ({"model": {"vocab", "merges"}, "added_tokens"}), told apart by
/// their contents. Ids must be 0 to n-1, each once. InputError names the file and the key.
[[nodiscard]] TokenizerJson read_tokenizer_json(const std::filesystem::path& path);

/// A merge from "left right"; InputError begins with `where`.
[[nodiscard]] ClipVocabulary::Merge parse_merge(std::string_view line, const std::string& where);

/// Finds the start and end tokens, under OpenAI's names or open_clip's. InputError when one is missing.
void find_special_tokens(ClipVocabulary& vocabulary, const std::string& where);

inline constexpr size_t kMostTokens = 1U << 17U;
inline constexpr size_t kLongestToken = 1024;  // bytes; OpenAI's longest has 32

}  // namespace clipcap
