// Whose names a CLIP's tensors have.
#pragma once

namespace clipcap {

/// open_clip's names are OpenAI's, but for text towers of its newer class, which are called "text.…".
enum class ClipLayout { openai, hugging_face, open_clip };

}  // namespace clipcap
