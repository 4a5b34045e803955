// The generated world in words: captions of a clip, what its actors want, what comes of it, how they seem; and whether
// somebody else's caption names the right actors and the right event.
#pragma once

#include <string>
#include <vector>

#include "clipcap/world/events.h"
#include "clipcap/world/stage.h"
#include "tensor/random.h"

namespace clipcap::world {

/// All that there is to say of a clip.
struct Scene {
  Setting setting;
  Event event = Event::put_in;
};

/// Different ones, as many as are asked for (the grammar has some hundreds for every scene), in lower case without
/// punctuation.
[[nodiscard]] std::vector<std::string> captions(const Scene& scene, int count, Generator& generator);

/// Several of each, as Video2Commonsense has them: "to …" for an intention, a verb in the third person for an effect,
/// one word for an attribute. Each follows from the event, many from the whole of it only.
struct Commonsense {
  std::vector<std::string> intentions, effects, attributes;
};
[[nodiscard]] Commonsense commonsense(const Scene& scene, int count, Generator& generator);

/// What a caption says, held against the truth.
struct Judgement {
  bool actors = false;  // every actor is named by its colour and shape
  bool event = false;   // the event is named, and no other
};
[[nodiscard]] Judgement judge(const std::string& caption, const Scene& truth);

/// The event that a caption names: by the longest of the grammar's predicates in it; -1 when there is none.
[[nodiscard]] int named_event(const std::string& caption);

}  // namespace clipcap::world
