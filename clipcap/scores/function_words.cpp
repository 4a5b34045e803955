#include "clipcap/scores/function_words.h"

namespace clipcap {

std::span<const std::string_view> common_function_words() {
  static constexpr std::string_view kWords[] = {
      // articles and demonstratives
      "a", "an", "the", "this", "that", "these", "those",
      // prepositions
      "about", "after", "at", "before", "by", "for", "from", "in", "into", "of", "on", "over", "through",
      "to", "under", "with", "without",
      // pronouns and possessives
      "i", "you", "he", "she", "it", "we", "they", "him", "her", "them", "us", "me", "his", "its", "their",
      "our", "your", "my", "who", "which", "what", "there", "'s",
      // auxiliaries
      "is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "do", "does", "did", "will",
      "would", "can", "could", "may",
      // conjunctions and particles
      "and", "or", "but", "as", "if", "when", "while", "than", "not", "also",
      // punctuation
      ".", ",", ":", ";", "\"", "'", "(", ")", "-", "?", "!"};
  return kWords;
}

}  // namespace clipcap
