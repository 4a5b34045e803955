// Python's pickles, read as data. A pickle is a program for a stack machine that builds objects by calling
// Python functions; here the machine builds a graph of values in which such a call is a value like any other
// (what is called, with which arguments), and nothing is ever executed. What the values mean is the caller's
// affair (torch_file.cpp). Opcodes: CPython's Lib/pickletools.py, protocols 2 to 5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace clipcap {

/// Index of a value in its Pickle. Values may be shared and may contain each other.
using PickleRef = uint32_t;

struct PickleValue {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    tuple,
    list,
    dict,
    set,
    global,
    call,
    persistent
  };
  Kind kind = Kind::none;
  int64_t integer = 0;    // boolean, integer
  double real = 0;        // real
  std::string_view text;  // text, bytes; global: its module; integer of more than 64 bits: its bytes
  std::string_view name;  // global: its name in the module
  // tuple, list, set: the elements; dict: key, value, key, value, …
  // call: what was put into the result afterwards (elements or key, value, …, as `keyed` says)
  std::vector<PickleRef> elements;
  bool keyed = false;
  PickleRef callable = 0;   // call: a global, as a rule
  PickleRef arguments = 0;  // call: a tuple; persistent: its id
  PickleRef state = 0;      // call: what BUILD handed over; 0 = nothing
};

struct Pickle {
  std::deque<PickleValue> values;  // [0] is None
  PickleRef root = 0;
  size_t bytes = 0;  // length of the pickle; more may follow it

  [[nodiscard]] const PickleValue& at(PickleRef ref) const { return values[ref]; }
};

/// Whether a pickle may name this global; any other ends the reading.
using GlobalFilter = bool (*)(std::string_view module, std::string_view name);

/// Reads one pickle from the front of `bytes`; texts are views into them. Work and memory are bounded
/// whatever the bytes say. Throws InputError: "WHERE: byte N: …".
[[nodiscard]] Pickle read_pickle(std::span<const std::byte> bytes, const std::string& where,
                                 GlobalFilter allowed);

}  // namespace clipcap
