#include "clipcap/scores/ptb_patterns.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <unordered_map>

#include "clipcap/text/unicode.h"

namespace clipcap::ptb {
namespace {

using Text = std::u32string_view;

struct Range {
  char32_t first;
  char32_t last;
};

template <size_t N>
bool in_ranges(const Range (&ranges)[N], char32_t c) {
  const auto* after =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const Range& range) { return value < range.first; });
  return after != std::begin(ranges) && c <= (after - 1)->last;
}

constexpr Range kSymbols[] = {
    {0xA1, 0xA1},     {0xA5, 0xA9},     {0xAC, 0xAC},     {0xAE, 0xB4},     {0xB6, 0xB9},
    {0xBF, 0xBF},     {0xD7, 0xD7},     {0xF7, 0xF7},     {0x37E, 0x37E},   {0x387, 0x387},
    {0x589, 0x589},   {0x5BE, 0x5BE},   {0x5C0, 0x5C0},   {0x5C3, 0x5C3},   {0x5C6, 0x5C6},
    {0x5F3, 0x5F4},   {0x600, 0x603},   {0x606, 0x60C},   {0x614, 0x614},   {0x61B, 0x61B},
    {0x61E, 0x61F},   {0x66A, 0x66A},   {0x66D, 0x66D},   {0x6D4, 0x6D4},   {0x700, 0x70D},
    {0x7F6, 0x7F8},   {0x964, 0x965},   {0xE3F, 0xE3F},   {0xE4F, 0xE4F},   {0x1FBD, 0x1FBD},
    {0x2016, 0x2017}, {0x201A, 0x201A}, {0x201E, 0x2023}, {0x2030, 0x2038}, {0x203B, 0x203B},
    {0x203E, 0x2042}, {0x2044, 0x2044}, {0x2070, 0x2070}, {0x2074, 0x207E}, {0x2080, 0x208E},
    {0x20A4, 0x20A4}, {0x2100, 0x2101}, {0x2103, 0x2106}, {0x2108, 0x2109}, {0x2114, 0x2114},
    {0x2116, 0x2118}, {0x211E, 0x2123}, {0x2125, 0x2125}, {0x2127, 0x2127}, {0x2129, 0x2129},
    {0x212E, 0x212E}, {0x213A, 0x213B}, {0x2140, 0x2144}, {0x214A, 0x214D}, {0x214F, 0x214F},
    {0x2155, 0x215E}, {0x2190, 0x2BFF}, {0x3001, 0x3002}, {0x3012, 0x3012}, {0x30FB, 0x30FB},
    {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}, {0xFFE0, 0xFFE1},
    {0xFFE5, 0xFFE6}};

// Marks and digits that belong to words; letters are is_letter()'s.
constexpr Range kMarks[] = {{0x2C2, 0x2C5}, {0x2D2, 0x2DF}, {0x2E5, 0x2EB}, {0x2EF, 0x36F}, {0x375, 0x375},
                            {0x384, 0x385}, {0x483, 0x487}, {0x591, 0x5BD}, {0x5BF, 0x5BF}, {0x5C1, 0x5C2},
                            {0x5C4, 0x5C5}, {0x5C7, 0x5C7}, {0x615, 0x61A}, {0x64B, 0x65E}, {0x660, 0x669},
                            {0x670, 0x670}, {0x6D6, 0x6DC}, {0x6DF, 0x6E4}, {0x6E7, 0x6ED}, {0x6F0, 0x6F9},
                            {0x7C0, 0x7C9}, {0x900, 0x903}, {0x93C, 0x94E}, {0x951, 0x955}, {0x962, 0x963},
                            {0x966, 0x96F}, {0x981, 0x983}, {0x9BC, 0x9BC}, {0x9BE, 0x9CD}, {0x9E6, 0x9EF},
                            {0xE31, 0xE31}, {0xE34, 0xE3A}, {0xE47, 0xE4E}, {0xE50, 0xE59}, {0xFF10, 0xFF19}};

bool is_alphanumeric(char32_t c) { return is_letter(c) || is_digit(c); }
bool is_latin_or_digit(char32_t c) { return is_latin(c) || is_digit(c); }
bool is_upper(char32_t c) { return c >= 'A' && c <= 'Z'; }
bool is_hyphen(char32_t c) { return c == '-' || c == 0x2010 || c == 0x2011 || c == 0x58A; }
char32_t lower(char32_t c) { return is_upper(c) ? c + 32 : c; }

bool is_one_of(char32_t c, std::string_view set) {
  return c != 0 && c < 0x80 && set.find(static_cast<char>(c)) != std::string_view::npos;
}

// A look at the text that never leaves it.
class View {
 public:
  View(Text text, size_t at, size_t most = Text::npos) : text_(text.substr(at, most)) {}
  [[nodiscard]] char32_t operator[](size_t i) const { return i < text_.size() ? text_[i] : U'\0'; }
  [[nodiscard]] size_t size() const { return text_.size(); }

  template <class Kind>
  [[nodiscard]] size_t run(size_t from, Kind kind) const {
    size_t at = from;
    while (at < text_.size() && kind(text_[at])) ++at;
    return at - from;
  }
  /// `word`, in lower case, stands at `from`, in any case; ' in it is any apostrophe.
  [[nodiscard]] bool has(size_t from, std::string_view word) const {
    for (size_t i = 0; i < word.size(); ++i) {
      const char32_t c = (*this)[from + i];
      const auto wanted = static_cast<unsigned char>(word[i]);
      if (wanted == '\'' ? !is_apostrophe(c) : lower(c) != wanted) return false;
    }
    return true;
  }

 private:
  Text text_;
};

// ---- words

// 's, 'm, 'd, 're, 've, 'll at the end of a word.
size_t auxiliary(const View& v, size_t from = 0) {
  if (!is_apostrophe(v[from])) return 0;
  for (const char* ending : {"'s", "'m", "'d", "'re", "'ve", "'ll"}) {
    const size_t length = std::char_traits<char>::length(ending);
    // A plain one may also be a quote.
    if (v.has(from, ending) && (v[from] != '\'' || !is_latin(v[from + length]))) return length;
  }
  return 0;
}

// The same where it ends the word for certain.
bool ends_in_auxiliary(const View& v, size_t from) {
  const size_t length = auxiliary(v, from);
  return length > 0 && !is_latin(v[from + length]);
}

// Before , ; : a period cannot end the sentence: it belongs to the word.
size_t with_inner_period(const View& v, size_t length) {
  const char32_t after = length > 0 && v[length] == '.' ? v[length + 1] : U'\0';
  return after == ',' || after == ';' || after == ':' || after == 0x3001 ? length + 1 : length;
}

// Letters and digits; hyphens and single underscores between; d', l', n' and o' before two or more of them.
size_t hyphenated(const View& v) {
  const auto piece = [&](size_t from) -> size_t {
    const char32_t first = lower(v[from]);
    const bool takes = first == 'd' || first == 'l' || first == 'n' || first == 'o';
    if (takes && is_inner_apostrophe(v[from + 1]) && !ends_in_auxiliary(v, from + 1)) {
      const size_t rest = v.run(from + 2, is_alphanumeric);
      if (rest >= 2) return rest + 2;
    }
    return v.run(from, is_alphanumeric);
  };
  size_t length = piece(0);
  if (length == 0) return 0;
  while (is_hyphen(v[length]) || v[length] == '_') {
    const size_t more = piece(length + 1);
    if (more == 0) break;
    length += 1 + more;
  }
  return with_inner_period(v, length);
}

// Words joined by a single . ! or ?: "hello.world".
size_t joined_sentence(const View& v) {
  const auto word = [&](size_t from) {
    return is_letter(v[from]) ? v.run(from, is_alphanumeric) : size_t{0};
  };
  size_t length = word(0);
  if (length == 0) return 0;
  while (v[length] == '.' || v[length] == '!' || v[length] == '?') {
    const size_t more = word(length + 1);
    if (more == 0) break;
    length += 1 + more;
  }
  return with_inner_period(v, length);
}

// "u.s.": letters with a period behind each, two or more; the last period may be missing.
size_t acronym(const View& v, size_t from = 0) {
  size_t length = 0;
  size_t letters = 0;
  while (is_latin(v[from + length]) && v[from + length + 1] == '.') {
    length += 2;
    ++letters;
  }
  return letters >= 2 ? length : 0;
}

// "1,000-pound", "u.s.-based", "non-u.s.": periods and commas before the first hyphen, acronyms behind one.
size_t hyphenated_thing(const View& v) {
  if (!is_latin_or_digit(v[0])) return 0;
  size_t length = v.run(0, [](char32_t c) { return is_latin_or_digit(c) || c == '.' || c == ','; });
  bool any = false;
  while (v[length] == '-') {
    const size_t more = std::max(acronym(v, length + 1), v.run(length + 1, is_latin_or_digit));
    if (more == 0) break;
    length += 1 + more;
    any = true;
  }
  return any ? length : 0;
}

// "he/she", "24/7", "a-b/c": one or two slashes.
size_t slashed(const View& v) {
  const auto piece = [&](size_t from) {
    size_t length = v.run(from, is_latin_or_digit);
    for (int hyphens = 0; length > 0 && hyphens < 2 && v[from + length] == '-'; ++hyphens) {
      const size_t more = v.run(from + length + 1, is_latin);
      if (more == 0) break;
      length += 1 + more;
    }
    return length;
  };
  size_t length = piece(0);
  if (length == 0) return 0;
  int slashes = 0;
  while (slashes < 2) {
    const size_t slash = v[length] == '\\' && v[length + 1] == '/' ? 2 : v[length] == '/' ? 1 : 0;
    const size_t more = slash > 0 ? piece(length + slash) : 0;
    if (more == 0) break;
    length += slash + more;
    ++slashes;
  }
  return slashes > 0 ? length : 0;
}

// A prefix that hangs: "pro- and anti-war".
size_t hanging_prefix(const View& v) { return v.has(0, "pro-") ? 4 : v.has(0, "anti-") ? 5 : 0; }

// "AT&T", "R+B".
size_t company(const View& v) {
  size_t length = v.run(0, is_upper);
  bool any = false;
  while (length > 0 && (v[length] == '&' || v[length] == '+')) {
    const size_t more = v.run(length + 1, is_upper);
    if (more == 0) break;
    length += 1 + more;
    any = true;
  }
  return any ? length : 0;
}

// ---- contractions

// n't at the end of a word.
bool negation(const View& v, size_t from) {
  return lower(v[from]) == 'n' && is_inner_apostrophe(v[from + 1]) && lower(v[from + 2]) == 't';
}

// The word before n't: "do" of "don't". Longer than any other reading, because n't counts with it.
size_t negated_word(const View& v) {
  size_t length = v.run(0, is_latin);
  // "don't": the run of letters ends at the apostrophe, with the n.
  if (length < 2 || !negation(v, length - 1) || lower(v[length - 2]) == 'n') return 0;
  return length - 1;
}

struct Assimilation {
  std::string_view word;
  size_t first;
};
constexpr Assimilation kAssimilations[] = {{"cannot", 3}, {"gonna", 3}, {"gotta", 3},
                                           {"lemme", 3},  {"gimme", 3}, {"wanna", 3}};

// Words that keep their apostrophe.
size_t apostrophe_word(const View& v) {
  constexpr std::string_view kWords[] = {"'n'",    "'em",   "'til", "'till",   "'cause",    "c'mon",  "cap'n",
                                         "e'er",   "ne'er", "li'l", "s'mores", "nat'l",     "ev'ry",  "c'est",
                                         "qu'est", "j'",    "l'",   "d'",      "somethin'", "dunkin'"};
  size_t longest = 0;
  for (const std::string_view word : kWords) {
    if (v.has(0, word) && auxiliary(v, word.size() - 1) == 0) longest = std::max(longest, word.size());
  }
  if (v.has(0, "y'") && is_latin(v[2]) && !ends_in_auxiliary(v, 1)) longest = std::max<size_t>(longest, 2);
  if (v.has(0, "'n") && (v[0] != '\'' || v[2] == ' ' || v[2] == U'\0'))
    longest = std::max<size_t>(longest, 2);
  if (v.has(0, "ol'") && !is_latin(v[3])) longest = std::max<size_t>(longest, 3);
  if (is_apostrophe(v[0])) {
    if (v[1] >= '2' && v[1] <= '9' && v[2] == '0' && v[3] == 's') longest = std::max<size_t>(longest, 4);
    const bool year = is_digit(v[1]) && is_digit(v[2]) && (v[3] == ' ' || v[3] == U'\0');
    if (year) longest = std::max<size_t>(longest, 3);
  }
  // "M'Coy".
  if (is_upper(v[0]) && v[0] != 'I' && v[0] != 'Y' && is_inner_apostrophe(v[1]) && !ends_in_auxiliary(v, 1)) {
    if (const size_t rest = v.run(2, is_latin); rest >= 2) longest = std::max(longest, rest + 2);
  }
  // "ma'am", "hawai'i": an apostrophe between vowels.
  const size_t letters = v.run(0, is_letter);
  if (letters >= 2 && is_inner_apostrophe(v[letters]) && is_one_of(lower(v[letters - 1]), "aeiouy") &&
      (is_one_of(v[letters + 1], "aeiou") || is_upper(v[letters + 1])) && auxiliary(v, letters) == 0)
    longest = std::max(longest, letters + 1 + v.run(letters + 1, is_letter));
  return longest;
}

// ---- abbreviations: what keeps its period

enum class Keeps { always, capital, before_number, but_all_capitals };

const std::unordered_map<std::string_view, Keeps>& abbreviations() {
  static const std::unordered_map<std::string_view, Keeps> known = [] {
    std::unordered_map<std::string_view, Keeps> all;
    for (const char* word :
         {"adj",   "adm",  "adv",  "al",   "ala",  "alex", "apr",  "aug",  "ave",  "bhd",    "brig", "bros",
          "calif", "capt", "cf",   "cie",  "co",   "col",  "colo", "conn", "corp", "cos",    "cpl",  "ct",
          "dak",   "dec",  "dept", "det",  "dr",   "drs",  "ens",  "esq",  "est",  "etc",    "ext",  "feb",
          "fla",   "fri",  "ft",   "ga",   "gen",  "gov",  "hon",  "inc",  "ind",  "jan",    "jos",  "jr",
          "jul",   "jun",  "kan",  "ky",   "lt",   "ltd",  "maj",  "mar",  "md",   "messrs", "mme",  "mo",
          "mon",   "mont", "mr",   "mrs",  "ms",   "mt",   "neb",  "nev",  "nov",  "oct",    "penn", "pfc",
          "ph",    "plc",  "pres", "prof", "pvt",  "rd",   "rep",  "reps", "rev",  "rt",     "sen",  "sens",
          "sep",   "sept", "seq",  "sfc",  "sgt",  "spc",  "sq",   "sr",   "st",   "ste",    "sys",  "tel",
          "tenn",  "thu",  "tue",  "tues", "va",   "vs",   "vt",   "wed",  "wis",  "wm",     "wyo",  "blvd",
          "minn",  "mich", "okla", "cmdr", "supt", "assn", "univ", "ariz", "thurs"})
      all[word] = Keeps::always;
    for (const char* word : {"ark", "az", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash"})
      all[word] = Keeps::capital;
    for (const char* word : {"art", "ca", "fig", "no", "nos", "op", "pp", "prop"})
      all[word] = Keeps::before_number;
    for (const char* word : {"mfg", "mtg", "pte", "pty"}) all[word] = Keeps::but_all_capitals;
    return all;
  }();
  return known;
}

// Words that begin a sentence, so that a single letter's period before them ends one.
bool begins_sentence(const View& v, size_t from) {
  if (!is_upper(v[from])) return false;
  std::string word;
  const size_t length = v.run(from, is_latin);
  for (size_t i = 0; i < length; ++i) word += static_cast<char>(lower(v[from + i]));
  static constexpr std::string_view kStarts[] = {
      "a",       "about", "according", "after", "an",   "as",   "at",    "but", "he",    "her",  "here",
      "however", "if",    "in",        "it",    "last", "many", "more",  "now", "once",  "one",  "other",
      "our",     "she",   "since",     "so",    "some", "such", "that",  "the", "their", "then", "there",
      "these",   "they",  "this",      "we",    "what", "when", "while", "yet", "you"};
  return std::find(std::begin(kStarts), std::end(kStarts), word) != std::end(kStarts) &&
         v[from + length] == ' ';
}

size_t abbreviation(const View& v) {
  if (v.has(0, "ph.d.")) return 5;
  if (const size_t length = acronym(v); length > 0) return length;
  const size_t letters = v.run(0, is_latin);
  if (letters == 0 || letters > 6 || v[letters] != '.') return 0;
  const size_t next = letters + 1 + v.run(letters + 1, [](char32_t c) { return c == ' '; });
  if (letters == 1) return next > 2 && begins_sentence(v, next) ? 0 : 2;
  std::string word;
  for (size_t i = 0; i < letters; ++i) word += static_cast<char>(lower(v[i]));
  const auto known = abbreviations().find(word);
  if (known == abbreviations().end()) return 0;
  const bool number = is_digit(v[next]);
  const bool all_capitals = v.run(0, is_upper) == letters;
  const bool keeps = known->second == Keeps::always || (known->second == Keeps::capital && is_upper(v[0])) ||
                     (known->second == Keeps::before_number && number) ||
                     (known->second == Keeps::but_all_capitals && !all_capitals);
  return keeps ? letters + 1 : 0;
}

// ---- numbers

size_t number(const View& v) {
  const size_t sign = v[0] == '+' || v[0] == '-' ? 1 : 0;
  size_t length = sign + v.run(sign, is_digit);
  while (v[length] == '.' || v[length] == ':' || v[length] == ',') {
    const size_t more = v.run(length + 1, is_digit);
    if (more == 0) break;
    length += 1 + more;
  }
  return length > sign ? length : 0;
}

// "1/2", "3 1/2".
size_t fraction(const View& v) {
  const auto digits = [&](size_t from) {
    const size_t length = v.run(from, is_digit);
    return length <= 4 ? length : 0;
  };
  const auto plain = [&](size_t from) -> size_t {
    const size_t above = digits(from);
    if (above == 0 || v[from + above] != '/') return 0;
    const size_t below = std::min<size_t>(v.run(from + above + 1, is_digit), 4);
    return below > 0 ? above + 1 + below : 0;
  };
  const size_t whole = digits(0);
  if (whole > 0 && (v[whole] == ' ' || v[whole] == '-')) {
    if (const size_t rest = plain(whole + 1); rest > 0) return whole + 1 + rest;
  }
  return plain(0);
}

// "19/26-1962".
size_t date(const View& v) {
  const auto is_between = [](char32_t c) { return c == '/' || c == '-'; };
  const size_t first = v.run(0, is_digit);
  if (first < 1 || first > 2 || !is_between(v[first])) return 0;
  const size_t second = v.run(first + 1, is_digit);
  const size_t at = first + 1 + second;
  if (second < 1 || second > 2 || !is_between(v[at])) return 0;
  const size_t third = v.run(at + 1, is_digit);
  return third >= 2 ? at + 1 + std::min<size_t>(third, 4) : 0;
}

// "555-1234-567", "(555) 555-1234": groups of digits with a space or hyphen between.
size_t phone(const View& v) {
  const auto is_gap = [](char32_t c) { return c == ' ' || c == '-'; };
  // What follows the area: 3 or 4 digits, a gap or none, 3 to 5 digits.
  const auto rest = [&](size_t from) {
    size_t longest = 0;
    for (const size_t first : {3, 4}) {
      if (v.run(from, is_digit) < first) continue;
      const size_t gap = is_gap(v[from + first]) ? 1 : 0;
      const size_t last = std::min<size_t>(v.run(from + first + gap, is_digit), 5);
      if (last >= 3) longest = std::max(longest, first + gap + last);
    }
    return longest;
  };
  const auto area = [&](size_t from) -> size_t {  // 2 to 4 digits and a gap
    const size_t digits = v.run(from, is_digit);
    return digits >= 2 && digits <= 4 && is_gap(v[from + digits]) ? digits + 1 : 0;
  };
  if (v[0] == '(') {
    const size_t digits = v.run(1, is_digit);
    if (digits < 2 || digits > 3 || v[1 + digits] != ')') return 0;
    const size_t before = digits + 2 + (v[digits + 2] == ' ' ? 1 : 0);
    const size_t more = rest(before);
    return more > 0 ? before + more : 0;
  }
  const size_t plus = std::min<size_t>(v.run(0, [](char32_t c) { return c == '+'; }), 2);
  const size_t first = area(plus);
  if (first == 0) return 0;
  size_t longest = 0;
  if (const size_t second = area(plus + first); second > 0) {
    if (const size_t more = rest(plus + first + second); more > 0) longest = plus + first + second + more;
  }
  if (const size_t more = rest(plus + first); more > 0) longest = std::max(longest, plus + first + more);
  return longest;
}

// ---- addresses and tags

bool ends_address(char32_t c) {
  return c <= ' ' || is_one_of(c, "\"<>|(){}") || c == 0xA0 || c == kEscapedLess || c == kEscapedMore;
}

size_t address(const View& v) {
  const auto is_last = [](char32_t c) {
    return !ends_address(c) &&
           !(c < 0x80 && std::string_view(".!?{},-").find(static_cast<char>(c)) != std::string_view::npos);
  };
  const auto rest = [&](size_t from, size_t least) {  // up to the last character that may end one
    size_t length = v.run(from, [](char32_t c) { return !ends_address(c); });
    while (length > 0 && !is_last(v[from + length - 1])) --length;
    return length >= least ? length : 0;
  };
  for (const char* scheme : {"http://", "https://"}) {
    const size_t length = std::char_traits<char>::length(scheme);
    if (!v.has(0, scheme)) continue;
    const size_t more = rest(length, 2);
    return more > 0 ? length + more : 0;
  }
  // host.com/page, www.host.xy/page
  const bool www = v.has(0, "www.");
  const auto in_label = [www](char32_t c) {
    return is_latin(c) || (www && (is_digit(c) || c == '-' || c == '_'));
  };
  size_t length = v.run(0, in_label);
  std::string last;
  size_t labels = length > 0 ? 1 : 0;
  while (length > 0 && v[length] == '.') {
    const size_t more = v.run(length + 1, in_label);
    if (more == 0) break;
    last.clear();
    for (size_t i = 0; i < more; ++i) last += static_cast<char>(lower(v[length + 1 + i]));
    length += 1 + more;
    ++labels;
  }
  const bool usual = last == "com" || last == "net" || last == "org" || last == "edu";
  if (!(usual && labels >= 2) && !(www && labels >= 3 && last.size() >= 2 && last.size() <= 4)) return 0;
  if (v[length] == '/') {
    if (const size_t more = rest(length + 1, 2); more > 0) return length + 1 + more;
  }
  return length;
}

size_t plain_email(const View& v, size_t from) {
  if (!is_latin_or_digit(v[from])) return 0;
  size_t at = from + 1;
  size_t sign = 0;
  for (; at < v.size() && !ends_address(v[at]); ++at) {
    if (v[at] == '@') sign = at;
  }
  if (sign == 0) return 0;
  size_t length = 0;
  for (size_t label = sign + 1;;) {
    const size_t more = v.run(label, [](char32_t c) { return !ends_address(c) && c != '.'; });
    if (more == 0) return length;
    length = label + more;
    if (v[length] != '.') return length;
    label = length + 1;
  }
}

// name@host, also in <>.
size_t email(const View& v) {
  const size_t length = plain_email(v, v[0] == '<' ? 1 : 0);
  return length > 0 && v[length] == '>' ? length + 1 : length;
}

size_t handle(const View& v) {
  if (v[0] == '#' && is_letter(v[1])) return 1 + v.run(1, is_letter);
  if (v[0] == '@' && (is_latin(v[1]) || v[1] == '_'))
    return 1 + v.run(1, [](char32_t c) { return is_latin_or_digit(c) || c == '_'; });
  return 0;
}

// <b>, </b>, <br/>, <a href="x">, <!-- x -->.
size_t tag(const View& v) {
  if (v[0] != '<') return 0;
  if ((v[1] == '!' || v[1] == '?') && (is_latin(v[2]) || v[2] == '-')) {
    const size_t inside = v.run(1, [](char32_t c) { return c != '>'; });
    return v[1 + inside] == '>' ? inside + 2 : 0;
  }
  const auto in_name = [](char32_t c) {
    return is_latin_or_digit(c) || c == '_' || c == ':' || c == '.' || c == '-';
  };
  const auto is_blank = [](char32_t c) { return c == ' '; };
  size_t at = v[1] == '/' ? 2 : 1;
  if (!is_latin(v[at])) return 0;
  at += v.run(at, in_name);
  while (true) {
    const size_t blanks = v.run(at, is_blank);
    at += blanks;
    if (v[at] == '>') return at + 1;
    if (v[at] == '/' && v[at + 1] == '>') return at + 2;
    if (blanks == 0 || !is_latin(v[at])) return 0;
    at += v.run(at, in_name);
    const size_t equals = at + v.run(at, is_blank);
    if (v[equals] != '=') continue;
    const size_t quote = equals + 1 + v.run(equals + 1, is_blank);
    if (v[quote] != '"' && v[quote] != '\'') return 0;
    const size_t inside = v.run(quote + 1, [&](char32_t c) { return c != v[quote]; });
    at = quote + 1 + inside;
    if (v[at] != v[quote]) return 0;
    ++at;
  }
}

// ---- punctuation

size_t smiley(const View& v) {
  const size_t hat = v[0] == '<' || v[0] == '>' ? 1 : 0;
  if (is_one_of(v[hat], ":;=")) {
    for (const size_t nose : {1, 0}) {
      if (nose == 1 && !is_one_of(v[hat + 1], "'-o*")) continue;
      const size_t length = hat + nose + 2;
      if (is_one_of(v[length - 1], "()DPdpO\\{@|[]") && !is_latin_or_digit(v[length])) return length;
    }
  }
  constexpr std::string_view kEyes = "-^x=~<>'";
  if (is_one_of(v[0], kEyes) && v[1] == '_' && is_one_of(v[2], kEyes)) return 3;
  if (v[0] == '(' && is_one_of(v[1], kEyes)) {
    const size_t mouth = v[2] == '_' || v[2] == '.' ? 1 : 0;
    if (is_one_of(v[2 + mouth], kEyes) && v[3 + mouth] == ')') return 4 + mouth;
  }
  return 0;
}

size_t punctuation(const View& v) {
  const char32_t c = v[0];
  if (is_curly_quote(c) && is_curly_quote(v[1])) return 2;
  const auto same = [&](size_t from) { return v.run(from, [c](char32_t other) { return other == c; }); };
  switch (c) {
    case '!':
    case '?':
      return v.run(0, [](char32_t other) { return other == '!' || other == '?'; });
    case '.':
      return same(0) >= 3 ? same(0) : 1;
    case '-':
      for (const char* bracket : {"-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"}) {
        if (v.has(0, bracket)) return 5;
      }
      return same(0);
    case '*':
    case '#':
    case '@':
    case '_':
      return same(0);
    case '<':
    case '>':
    case '`':
      return same(0) >= 2 ? 2 : 1;
    case '\'':
      return same(0) >= 2 ? 2 : 1;
    case '\\':
      return v[1] == '*' ? 2 : 1;
    case '&': {
      const size_t digits = v[1] == '#' ? v.run(2, is_digit) : 0;
      return digits > 0 && v[2 + digits] == ';' ? digits + 3 : 1;
    }
    case 'c':
    case 'C':
      if (v[1] == '+' && v[2] == '+') return 3;
      return v[1] == '#' ? 2 : 0;
    case 'f':
    case 'F':
      return v[1] == '#' ? 2 : 0;
    default:
      break;
  }
  if (is_one_of(c, "\"%$(),/:;=[]^{|}~+")) return 1;
  if (c >= 0x80) {
    const bool known = is_symbol(c) || c == kEscapedLess || c == kEscapedMore ||
                       (c >= 0x2013 && c <= 0x2015) || (c >= 0x2018 && c <= 0x201B) ||
                       (c >= 0x201C && c <= 0x201D) || c == 0x2026 || (c >= 0x2039 && c <= 0x203A) ||
                       c == 0xAB || c == 0xBB || c == 0xA2 || c == 0xA3 || c == 0xA4 || c == 0x20A0 ||
                       c == 0x20AC || (c >= 0xBC && c <= 0xBE) || c == 0x2153 || c == 0x2154 || c == 0x80 ||
                       (c >= 0x91 && c <= 0x94) || c == 0x96 || c == 0x97;
    return known ? 1 : 0;
  }
  return 0;
}

// "US$".
size_t currency(const View& v) {
  const size_t capitals = v.run(0, is_upper);
  return capitals > 0 && v[capitals] == '$' ? capitals + 1 : 0;
}

}  // namespace

bool is_letter(char32_t c) {
  if (c < 0x80) return is_latin(c);
  return c < 0x10000 && c != kEscapedLess && c != kEscapedMore &&
         (clipcap::is_letter(c) || in_ranges(kMarks, c));
}

bool is_symbol(char32_t c) { return in_ranges(kSymbols, c); }

bool is_curly_quote(char32_t c) {
  return c == '`' || (c >= 0x2018 && c <= 0x2019) || (c >= 0x201C && c <= 0x201D);
}

size_t longest_token(Text text, size_t at) {
  const View v(text, at);
  // These count what follows them as their own when the longest is sought.
  if (const size_t word = negated_word(v); word > 0) return word;
  if (v.has(0, "'tis") || v.has(0, "'twas")) {
    if (v[0] == '\'') return 2;
  }
  if (negation(v, 0) && !is_latin(v[3])) return 3;
  // Addresses and tags hold anything but spaces or >: every place of a long text would look to its end.
  constexpr size_t kLongestAddress = 2000;
  const View near(text, at, kLongestAddress);
  size_t longest = std::max({address(near), email(near), tag(near)});
  for (const auto pattern :
       {hyphenated, joined_sentence, hyphenated_thing, slashed, hanging_prefix, company, apostrophe_word,
        abbreviation, number, fraction, date, phone, handle, smiley, punctuation, currency})
    longest = std::max(longest, pattern(v));
  longest = std::max(longest, auxiliary(v));
  for (const Assimilation& known : kAssimilations) {
    if (longest == known.word.size() && v.has(0, known.word) && auxiliary(v, longest) == 0)
      return known.first;
  }
  return longest;
}

}  // namespace clipcap::ptb
