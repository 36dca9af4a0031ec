// Instructions that work on each lane by itself: opcode, the sizes of its operands, and a function of one lane's numbers.
#pragma once

#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "warp.h"

namespace ptx {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using f32 = float;
using f64 = double;

struct Form {
  Handler run;
  int operands;      // the destination among them
  uint8_t bytes[5];  // of each; 0: a predicate
};

using Forms = std::unordered_map<std::string, Form>;

// Everything that is known.
const Forms& forms();
void add_integers(Forms& forms);
void add_floats(Forms& forms);
void add_conversions(Forms& forms);

// cvt between integers in registers that are wider than their types: data.width, of the destination and the source; data.bytes and
// is_signed of the source's type; data.count and `writes`, bytes and sign of the destination's.
void convert_in_wide_registers(Warp& warp, const Instruction& instruction, uint32_t lanes);

template <class T>
constexpr uint8_t bytes_of = std::is_same_v<T, bool> ? 0 : sizeof(T);

// A lane's number of a register; predicates are bits of a word.
template <class T>
struct Source {
  const T* lanes;
  Source(Warp& warp, uint32_t place) : lanes(warp.at<T>(place)) {}
  T operator[](int lane) const { return lanes[lane]; }
};
template <>
struct Source<bool> {
  uint32_t bits;
  Source(Warp& warp, uint32_t place) : bits(warp.predicate(place)) {}
  bool operator[](int lane) const { return bits >> lane & 1; }
};

template <class Function, class Signature>
struct Each;

template <class Function, class D, class... S>
struct Each<Function, D (*)(S...)> {
  static void run(Warp& warp, const Instruction& instruction, uint32_t lanes) {
    apply(warp, instruction, lanes, std::index_sequence_for<S...>{});
  }

  template <size_t... K>
  static void apply(Warp& warp, const Instruction& instruction, uint32_t lanes, std::index_sequence<K...>) {
    const std::tuple<Source<S>...> from{Source<S>(warp, instruction.operand[K + 1])...};
    if constexpr (std::is_same_v<D, bool>) {
      uint32_t bits = 0;
      for (int l = 0; l < kLanes; ++l) bits |= uint32_t(Function{}(std::get<K>(from)[l]...)) << l;
      write_bits(warp.predicate(instruction.operand[0]), bits, lanes);
      if (instruction.second != kNone) write_bits(warp.predicate(instruction.second), ~bits, lanes);
    } else {
      D* to = warp.at<D>(instruction.operand[0]);
      if (lanes == kAll) {  // a register may be source and destination
        D results[kLanes];
        for (int l = 0; l < kLanes; ++l) results[l] = Function{}(std::get<K>(from)[l]...);
        std::memcpy(to, results, sizeof results);
      } else {
        for (int l = 0; l < kLanes; ++l)
          if (lanes >> l & 1) to[l] = Function{}(std::get<K>(from)[l]...);
      }
    }
  }

  static void write_bits(uint32_t& word, uint32_t bits, uint32_t lanes) { word = (word & ~lanes) | (bits & lanes); }

  static Form form() { return {run, 1 + int(sizeof...(S)), {bytes_of<D>, bytes_of<S>...}}; }
};

// form([](u32 a, u32 b) { return a + b; })
template <class Function>
Form form(Function function) {
  return Each<Function, decltype(+function)>::form();
}

}  // namespace ptx
