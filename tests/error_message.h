// What an exception says.
#pragma once

#include <string>

#include "tensor/check.h"
#include "tests/catch.h"

namespace clipcap {

/// The message of the exception of type E that `call` throws; empty when it throws none.
template <class E = Error, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return {};
}

/// Whether `part` stands in `text`.
inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// The same as a check that shows both.
inline bool check_contains(const std::string& text, const std::string& part) {
  INFO(text << " should contain " << part);
  const bool found = contains(text, part);
  CHECK(found);
  return found;
}

}  // namespace clipcap
