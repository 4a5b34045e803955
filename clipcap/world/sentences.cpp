#include "clipcap/world/sentences.h"

#include <algorithm>
#include <set>

#include "tensor/check.h"

namespace clipcap::world {
namespace {

using Words = std::vector<std::string>;

// A predicate in both forms that the sentences need: "a ball …", "a ball is …". {B} is the other actor.
struct Predicate {
  const char* does;
  const char* doing;
};

struct Lexicon {
  std::vector<Predicate> predicates;
  Words passive;  // whole sentences about the other actor; {A} and {B}
  Words intentions, effects, attributes;
};

const Lexicon& lexicon(Event event) {
  static const std::array<Lexicon, kEvents> all{
      {{{{"puts an apple into the basket", "putting an apple into the basket"},
         {"carries an apple to the basket and drops it in",
          "carrying an apple to the basket and dropping it in"},
         {"brings an apple and leaves it in the basket", "bringing an apple and leaving it in the basket"},
         {"stores its apple in a basket", "storing its apple in a basket"}},
        {},
        {"to tidy up", "to keep the apple safe", "to save food for later", "to fill the basket"},
        {"has a full basket", "leaves with nothing", "has its apple in store", "knows where the apple is"},
        {"tidy", "careful", "thrifty", "orderly"}},
       {{{"takes an apple out of the basket", "taking an apple out of the basket"},
         {"fetches an apple from the basket", "fetching an apple from the basket"},
         {"goes to the basket and comes back with an apple",
          "going to the basket and coming back with an apple"},
         {"gets its apple out of a basket", "getting its apple out of a basket"}},
        {},
        {"to eat the apple", "to get something to eat", "to have the apple", "to empty the basket"},
        {"leaves the basket empty", "has an apple to eat", "comes home with an apple",
         "is not hungry any more"},
        {"hungry", "greedy", "clever", "thirsty"}},
       {{{"climbs onto the box", "climbing onto the box"},
         {"jumps up on a box", "jumping up on a box"},
         {"gets on top of the box", "getting on top of the box"},
         {"leaps onto a wooden box", "leaping onto a wooden box"}},
        {},
        {"to see further", "to be on top", "to look around from above", "to reach higher"},
        {"stands high above the ground", "has a good view", "ends on top", "sees far"},
        {"ambitious", "brave", "curious", "proud"}},
       {{{"climbs down from the box", "climbing down from the box"},
         {"jumps off a box", "jumping off a box"},
         {"gets off the box", "getting off the box"},
         {"leaps from a wooden box to the ground", "leaping from a wooden box to the ground"}},
        {},
        {"to be on safe ground", "to go home", "to get back to the ground", "to leave the box"},
        {"stands on the ground again", "leaves the box behind", "lands safely", "is down again"},
        {"modest", "cautious", "finished", "relieved"}},
       {{{"turns the lamp on", "turning the lamp on"},
         {"switches on a lamp", "switching on a lamp"},
         {"lights the lamp", "lighting the lamp"},
         {"goes to a lamp and makes it shine", "going to a lamp and making it shine"}},
        {},
        {"to have light", "to see better", "to make the place bright", "to show the way"},
        {"stands in the light", "makes everything bright", "can see the way", "leaves the lamp burning"},
        {"helpful", "bright", "watchful", "afraid"}},
       {{{"turns the lamp off", "turning the lamp off"},
         {"switches off a lamp", "switching off a lamp"},
         {"puts out the lamp", "putting out the lamp"},
         {"goes to a lamp and makes it dark", "going to a lamp and making it dark"}},
        {},
        {"to save power", "to make it dark", "to go to bed", "to hide in the dark"},
        {"stands without light", "leaves a dark lamp", "makes everything dim", "does not waste light"},
        {"economical", "shy", "secretive", "responsible"}},
       {{{"pushes the box", "pushing the box"},
         {"shoves a box ahead", "shoving a box ahead"},
         {"moves the box forward", "moving the box forward"},
         {"presses against a box and drives it away", "pressing against a box and driving it away"}},
        {},
        {"to clear the way", "to get rid of the box", "to bring the box there", "to make room"},
        {"makes the box slide away", "clears its place", "has the box far from home", "gets the box across"},
        {"strong", "busy", "determined", "hardworking"}},
       {{{"pulls the box", "pulling the box"},
         {"drags a box along", "dragging a box along"},
         {"draws the box backwards", "drawing the box backwards"},
         {"walks back and tows a box", "walking back and towing a box"}},
        {},
        {"to bring the box home", "to fetch the box", "to have the box near", "to keep the box"},
        {"has the box at home", "makes the box come along", "collects the box", "brings in a box"},
        {"possessive", "tough", "eager", "diligent"}},
       {{{"gives an apple to {B}", "giving an apple to {B}"},
         {"hands an apple over to {B}", "handing an apple over to {B}"},
         {"brings {B} an apple", "bringing {B} an apple"},
         {"makes {B} a present of an apple", "making {B} a present of an apple"}},
        {"{B} is given an apple by {A}", "{B} receives an apple from {A}"},
        {"to make a friend", "to share its food", "to be nice", "to please the other one"},
        {"makes the other one happy", "has no apple any more", "wins a friend", "is thanked"},
        {"generous", "kind", "friendly", "caring"}},
       {{{"takes an apple from {B}", "taking an apple from {B}"},
         {"snatches an apple away from {B}", "snatching an apple away from {B}"},
         {"robs {B} of an apple", "robbing {B} of an apple"},
         {"goes off with an apple of {B}", "going off with an apple of {B}"}},
        {"{B} is robbed of an apple by {A}", "{B} loses an apple to {A}"},
        {"to have the apple for itself", "to steal the apple", "to annoy the other one",
         "to get food quickly"},
        {"makes the other one sad", "has a stolen apple", "makes an enemy", "is called a thief"},
        {"selfish", "mean", "rude", "sly"}},
       {{{"stops briefly at the bench", "stopping briefly at the bench"},
         {"makes a short stop at a bench", "making a short stop at a bench"},
         {"pauses for a moment at the bench and goes on", "pausing for a moment at the bench and going on"},
         {"hardly halts at a bench on its way", "hardly halting at a bench on its way"}},
        {},
        {"to catch its breath", "to have a quick look", "to be on time", "to check the bench"},
        {"goes on at once", "is still on time", "does not lose much time", "gets there early"},
        {"restless", "hurried", "punctual", "alert"}},
       {{{"stays a long time at the bench", "staying a long time at the bench"},
         {"makes a long stop at a bench", "making a long stop at a bench"},
         {"lingers at the bench before going on", "lingering at the bench before going on"},
         {"rests for long at a bench on its way", "resting for long at a bench on its way"}},
        {},
        {"to wait for a friend", "to enjoy the place", "to have a proper rest", "to let time pass"},
        {"feels rested", "gets there late", "has lost much time", "has waited in vain"},
        {"patient", "relaxed", "dreamy", "slow"}},
       {{{"walks to the flag", "walking to the flag"},
         {"strolls slowly to a flag", "strolling slowly to a flag"},
         {"wanders over to the flag", "wandering over to the flag"},
         {"takes its time on the way to a flag", "taking its time on the way to a flag"}},
        {},
        {"to take a walk", "to visit the flag", "to get some fresh air", "to see the flag"},
        {"gets there in the end", "arrives without hurry", "has had a nice walk", "reaches the flag slowly"},
        {"calm", "easygoing", "peaceful", "content"}},
       {{{"dashes to the flag", "dashing to the flag"},
         {"races to a flag in no time", "racing to a flag in no time"},
         {"suddenly runs to the flag", "suddenly running to the flag"},
         {"shoots over to a flag", "shooting over to a flag"}},
        {},
        {"to win the race", "to be the first", "to test its speed", "to get there fast"},
        {"arrives in a flash", "is out of breath", "wins the race", "waits at the flag"},
        {"fast", "athletic", "impatient", "competitive"}},
       {{{"sleeps all the time", "sleeping all the time"},
         {"lies fast asleep", "lying fast asleep"},
         {"slumbers without a break", "slumbering without a break"},
         {"has a quiet nap", "having a quiet nap"}},
        {},
        {"to get some sleep", "to recover", "to dream", "to rest in peace"},
        {"sleeps well", "wakes up fresh later", "misses everything", "gains new strength"},
        {"sleepy", "tired", "lazy", "still"}},
       {{{"wakes with a start and falls asleep again", "waking with a start and falling asleep again"},
         {"jumps up from its sleep for a moment", "jumping up from its sleep for a moment"},
         {"is startled out of its sleep", "being startled out of its sleep"},
         {"has a bad dream and jumps", "having a bad dream and jumping"}},
        {},
        {"to see what the noise was", "to get rid of a bad dream", "to be sure that all is well",
         "to flee from a dream"},
        {"is frightened", "loses some sleep", "finds nothing and sleeps on", "gets a shock"},
        {"scared", "nervous", "jumpy", "confused"}},
       {{{"stumbles on the way to the flag", "stumbling on the way to the flag"},
         {"trips and falls and walks on to a flag", "tripping and falling and walking on to a flag"},
         {"falls over on its walk to the flag", "falling over on its walk to the flag"},
         {"slips once on its way to a flag", "slipping once on its way to a flag"}},
        {},
        {"to reach the flag in spite of a fall", "to get up again", "to go on after the fall",
         "to hide its pain"},
        {"hurts itself", "gets a bruise", "gets up and reaches the flag", "is laughed at"},
        {"clumsy", "unlucky", "hurt", "careless"}},
       {{{"hops once", "hopping once"},
         {"makes a single hop", "making a single hop"},
         {"jumps into the air one time", "jumping into the air one time"},
         {"does one jump and no more", "doing one jump and no more"}},
        {},
        {"to try a jump", "to have one look from above", "to test the ground", "to give a sign"},
        {"stands still again", "has tried it", "is soon back on the ground", "gets noticed once"},
        {"hesitant", "reserved", "experimental", "short"}},
       {{{"hops again and again", "hopping again and again"},
         {"keeps hopping up and down", "keeping on hopping up and down"},
         {"jumps into the air many times", "jumping into the air many times"},
         {"bounces all the time", "bouncing all the time"}},
        {},
        {"to get some exercise", "to have fun", "to show its joy", "to train for a contest"},
        {"gets tired from jumping", "is in good shape", "feels its legs", "cheers everybody up"},
        {"happy", "sporty", "excited", "lively"}},
       {{{"follows {B}", "following {B}"},
         {"walks behind {B}", "walking behind {B}"},
         {"goes after {B} all the way", "going after {B} all the way"},
         {"is led by {B}", "being led by {B}"}},
        {"{B} is followed by {A}", "{B} leads the way for {A}"},
        {"to learn the way", "to stay with the other one", "to be led", "to see where the other one goes"},
        {"stays second", "finds the way", "is not left alone", "knows where the other one lives"},
        {"loyal", "dependent", "trusting", "interested"}},
       {{{"overtakes {B}", "overtaking {B}"},
         {"passes {B} and gets ahead", "passing {B} and getting ahead"},
         {"outruns {B}", "outrunning {B}"},
         {"leaves {B} behind", "leaving {B} behind"}},
        {"{B} is overtaken by {A}", "{B} falls behind {A}"},
        {"to be ahead", "to win against the other one", "to prove that it is faster", "to get past"},
        {"takes the lead", "arrives before the other one", "becomes the first",
         "makes the other one envious"},
        {"superior", "quick", "rival", "confident"}},
       {{{"turns on the lamp and then hops", "turning on the lamp and then hopping"},
         {"lights a lamp first and jumps afterwards", "lighting a lamp first and jumping afterwards"},
         {"hops after switching on the lamp", "hopping after switching on the lamp"},
         {"makes a lamp shine and jumps for joy", "making a lamp shine and jumping for joy"}},
        {},
        {"to celebrate the light", "to dance in the light", "to be seen while it jumps",
         "to greet the light"},
        {"is glad of the light", "jumps in bright light", "celebrates", "is seen jumping"},
        {"joyful", "delighted", "festive", "thankful"}},
       {{{"hops and then turns on the lamp", "hopping and then turning on the lamp"},
         {"jumps first and lights a lamp afterwards", "jumping first and lighting a lamp afterwards"},
         {"hops before switching on the lamp", "hopping before switching on the lamp"},
         {"jumps once and makes a lamp shine", "jumping once and making a lamp shine"}},
        {},
        {"to warm up before its work", "to wake up before making light", "to gather courage for the lamp",
         "to jump in the dark"},
        {"works after the jump", "ends in the light", "has warmed up", "gets its duty done"},
        {"playful", "dutiful", "warm", "spirited"}}}};
  return all[static_cast<size_t>(event)];
}

const std::string& pick(const Words& words, Generator& generator) {
  return words[static_cast<size_t>(generator.index(static_cast<int64_t>(words.size())))];
}

const Words& place_phrases(Place place) {
  static const std::array<Words, kPlaces> all{{{"on the grass", "on a green meadow"},
                                               {"on the sand", "at the beach"},
                                               {"in the snow", "on white snow"},
                                               {"on the road", "in the street"}}};
  return all[static_cast<size_t>(place)];
}

const Words& hour_phrases(Hour hour) {
  static const std::array<Words, kHours> all{
      {{"by day", "on a sunny day"}, {"in the evening", "at dusk"}, {"at night", "under the moon"}}};
  return all[static_cast<size_t>(hour)];
}

std::string with_article(const std::string& noun) { return (noun.starts_with('o') ? "an " : "a ") + noun; }

std::string named(const Looks& looks) { return std::string(word(looks.paint)) + " " + word(looks.shape); }

// "a red ball", "the small red ball", "one red ball with eyes"
std::string subject(const Looks& looks, Generator& generator) {
  const std::string plain = named(looks);
  switch (generator.index(6)) {
    case 0:
      return "the " + plain;
    case 1:
      return (looks.big ? "a big " : "a small ") + plain;
    case 2:
      return (looks.big ? "a large " : "a little ") + plain;
    default:
      return with_article(plain);
  }
}

std::string filled(std::string text, const std::string& mark, const std::string& with) {
  const size_t at = text.find(mark);
  if (at != std::string::npos) text.replace(at, mark.size(), with);
  return text;
}

std::string sentence(const Scene& scene, Generator& generator) {
  const Lexicon& words = lexicon(scene.event);
  const std::string a = subject(scene.setting.actor, generator), b = subject(scene.setting.other, generator);
  const std::string place = pick(place_phrases(scene.setting.place), generator);
  const std::string hour = pick(hour_phrases(scene.setting.hour), generator);
  if (!words.passive.empty() && generator.index(5) == 0)
    return filled(filled(pick(words.passive, generator), "{A}", a), "{B}", b);
  const Predicate& predicate =
      words.predicates[static_cast<size_t>(generator.index(static_cast<int64_t>(words.predicates.size())))];
  const std::string does = filled(predicate.does, "{B}", b), doing = filled(predicate.doing, "{B}", b);
  switch (generator.index(10)) {
    case 0:
      return a + " is " + doing;
    case 1:
      return a + " " + does + " " + place;
    case 2:
      return place + " " + a + " " + does;
    case 3:
      return "there is " + a + " that " + does;
    case 4:
      return hour + " " + a + " " + does;
    case 5:
      return a + " is " + doing + " " + hour;
    case 6:
      return "a cartoon of " + a + " " + doing;
    case 7:
      return a + " is " + place + " and " + does;
    default:
      return a + " " + does;
  }
}

// Some of them, each once, in an order that the generator chooses.
Words some(Words words, int count, Generator& generator) {
  for (size_t i = words.size(); i > 1; --i)
    std::swap(words[i - 1], words[static_cast<size_t>(generator.index(static_cast<int64_t>(i)))]);
  words.resize(std::min(words.size(), static_cast<size_t>(count)));
  return words;
}

// The longest piece of `pattern` (a predicate or a whole sentence) that has no {A} or {B} in it and, where there are
// several, the rest in order too. Length of what was found; 0 when it is not there.
size_t found_in(const std::string& text, const std::string& pattern) {
  size_t length = 0, from = 0, begin = 0;
  while (begin < pattern.size()) {
    size_t end = pattern.find('{', begin);
    if (end == std::string::npos) end = pattern.size();
    const std::string piece = pattern.substr(begin, end - begin);
    if (piece.find_first_not_of(' ') != std::string::npos) {
      const size_t at = text.find(piece, from);
      if (at == std::string::npos) return 0;
      from = at + piece.size();
      length += piece.size();
    }
    begin = end == pattern.size() ? end : end + 3;
  }
  return length;
}

bool names(const std::string& caption, const Looks& looks) {
  return (" " + caption + " ").find(" " + named(looks) + " ") != std::string::npos;
}

}  // namespace

std::vector<std::string> captions(const Scene& scene, int count, Generator& generator) {
  std::vector<std::string> result;
  std::set<std::string> known;
  for (int tries = 0; static_cast<int>(result.size()) < count; ++tries) {
    CHECK(tries < 1000 * count, "world: the grammar has fewer than ", count, " captions");
    std::string text = sentence(scene, generator);
    if (known.insert(text).second) result.push_back(std::move(text));
  }
  return result;
}

Commonsense commonsense(const Scene& scene, int count, Generator& generator) {
  const Lexicon& words = lexicon(scene.event);
  return {some(words.intentions, count, generator), some(words.effects, count, generator),
          some(words.attributes, count, generator)};
}

int named_event(const std::string& caption) {
  const std::string text = caption + " ";
  size_t longest = 0;
  int result = -1;
  for (int event = 0; event < kEvents; ++event) {
    const Lexicon& words = lexicon(static_cast<Event>(event));
    const auto consider = [&](const std::string& pattern) {
      const size_t length = found_in(text, pattern + (pattern.ends_with('}') ? "" : " "));
      if (length > longest) {
        longest = length;
        result = event;
      }
    };
    for (const Predicate& predicate : words.predicates) {
      consider(predicate.does);
      consider(predicate.doing);
    }
    for (const std::string& passive : words.passive) consider(passive);
  }
  return result;
}

Judgement judge(const std::string& caption, const Scene& truth) {
  const bool first = names(caption, truth.setting.actor);
  const bool second = !has_other(truth.event) || names(caption, truth.setting.other);
  return {first && second, named_event(caption) == static_cast<int>(truth.event)};
}

}  // namespace clipcap::world
