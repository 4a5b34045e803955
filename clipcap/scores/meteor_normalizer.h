// METEOR's own tokenisation (its option -norm): punctuation split off, hyphens and acronyms opened, lower case.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace clipcap {

/// What may stand before a period that ends no sentence.
enum class Abbreviation {
  always,         // Mr
  before_number,  // No
};
using Abbreviations = std::unordered_map<std::string, Abbreviation>;

/// The words that METEOR 1.5 compares. In this order: quotes made plain, hyphens between letters or digits
/// opened, symbols set apart, runs of periods kept whole, commas kept inside numbers only, 's and the like
/// split off, last periods of words set apart unless the word is an abbreviation, and "u.s." made "us".
/// Letters outside ASCII are U+00C0..017E, U+0400..0527, U+1D00..1D7F and U+A640..A697, as far as METEOR's
/// own table goes; any other character is a word of its own.
[[nodiscard]] std::vector<std::string> meteor_words(std::string_view text,
                                                    const Abbreviations& abbreviations);

/// METEOR's english.prefixes: one abbreviation a line, "#NUMERIC_ONLY#" behind those of the second kind, lines
/// that begin with # left out.
[[nodiscard]] Abbreviations parse_abbreviations(const std::string& text);
/// A few English titles and the capital letters, for where that file is not given.
[[nodiscard]] const Abbreviations& common_abbreviations();

}  // namespace clipcap
