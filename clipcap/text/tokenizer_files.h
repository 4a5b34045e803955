// The files that CLIP tokenizers come in.
//   bpe_simple_vocab_16e6.txt.gz  OpenAI's (or .txt): a heading, then one merge "left right" a line. The ids
//                                 follow from it: 256 bytes, 256 bytes at the end of a word, the merges, the
//                                 start and the end token.
//   vocab.json and merges.txt     Hugging Face's: {token: id}, and the merges as above.
//   tokenizer.json                Hugging Face's: both in one, with the special tokens apart.
// A tokenizer.json's normalizer and pre-tokenizer are not read: texts are cleaned and split as OpenAI's
// reference does, whatever the file's layout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "clipcap/text/tokenizer.h"

namespace clipcap {

/// Any of the files, or a folder that holds them. Everything is bounded and checked: sizes (also of what a
/// .gz inflates to), duplicate and missing ids, merges. InputError names the file and the line or key.
[[nodiscard]] ClipVocabulary read_clip_vocabulary(const std::filesystem::path& file_or_folder);

/// The vocabulary of these merges with the ids of OpenAI's layout.
[[nodiscard]] ClipVocabulary vocabulary_of_merges(std::vector<ClipVocabulary::Merge> merges);
inline constexpr int64_t kMostMerges = 100'000;

/// DIR/vocab.json and DIR/merges.txt; or, when `path` ends in .txt or .txt.gz, OpenAI's layout, which the
/// vocabulary must follow in its ids. What is written reads back equal.
void write_clip_vocabulary(const std::filesystem::path& path, const ClipVocabulary& vocabulary);

}  // namespace clipcap
