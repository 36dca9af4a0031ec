// The results of warp collectives, after the PTX manual (shfl.sync, vote.sync, match.sync, redux.sync).
#include "collective.h"

#include <bit>

namespace fastdist::emulator {
namespace {

constexpr int kLanes = 32;

// The lane that `lane` reads from.
int source_of(const Offer& offer, int lane) {
  const int segment = ~(offer.width - 1) & 31;  // the bits of a lane's number that name its group of `width`
  const int first = lane & segment, last = first | (31 & ~segment);
  const int operand = offer.operand & 31;
  switch (offer.kind) {
    case Collective::kShuffle:
      return first | (operand & ~segment);
    case Collective::kShuffleUp:
      return lane - operand >= first ? lane - operand : lane;
    case Collective::kShuffleDown:
      return lane + operand <= last ? lane + operand : lane;
    default:
      return (lane ^ operand) <= last ? lane ^ operand : lane;
  }
}

template <class T>
uint64_t combine(Collective kind, T a, T b) {
  switch (kind) {
    case Collective::kAddInt:
    case Collective::kAddUnsigned:
      return uint32_t(a) + uint32_t(b);
    case Collective::kMinInt:
    case Collective::kMinUnsigned:
      return uint32_t(a < b ? a : b);
    case Collective::kMaxInt:
    case Collective::kMaxUnsigned:
      return uint32_t(a < b ? b : a);
    case Collective::kAnd:
      return uint32_t(a) & uint32_t(b);
    case Collective::kOr:
      return uint32_t(a) | uint32_t(b);
    default:
      return uint32_t(a) ^ uint32_t(b);
  }
}

uint64_t reduce(Collective kind, uint64_t a, uint64_t b) {
  const bool is_signed = kind == Collective::kAddInt || kind == Collective::kMinInt || kind == Collective::kMaxInt;
  return uint32_t(is_signed ? combine(kind, int32_t(a), int32_t(b)) : combine(kind, uint32_t(a), uint32_t(b)));
}

}  // namespace

const char* name_of(Collective kind) {
  constexpr const char* kNames[] = {
      "__syncwarp",  "__shfl_sync",       "__shfl_up_sync",    "__shfl_down_sync",  "__shfl_xor_sync",   "__ballot_sync",
      "__any_sync",  "__all_sync",        "__match_any_sync",  "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync",
      "__reduce_add_sync(unsigned)",      "__reduce_min_sync(unsigned)",            "__reduce_max_sync(unsigned)",
      "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync"};
  return kNames[int(kind)];
}

bool is_shuffle(Collective kind) { return kind >= Collective::kShuffle && kind <= Collective::kShuffleXor; }

void compute(const Offer* const* offers, uint32_t mask, uint8_t poison, uint64_t* results) {
  const Collective kind = offers[std::countr_zero(mask)]->kind;
  uint32_t ballot = 0;
  uint64_t reduced = 0;
  bool first = true;
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    const uint64_t value = offers[lane]->value;
    ballot |= uint32_t(value != 0) << lane;
    if (kind >= Collective::kAddInt) reduced = first ? value : reduce(kind, reduced, value);
    first = false;
  }
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    switch (kind) {
      case Collective::kSync:
        results[lane] = 0;
        break;
      case Collective::kBallot:
        results[lane] = ballot;
        break;
      case Collective::kAny:
        results[lane] = ballot != 0;
        break;
      case Collective::kAll:
        results[lane] = ballot == mask;
        break;
      case Collective::kMatchAny: {
        uint32_t same = 0;
        for (uint32_t other = mask; other != 0; other &= other - 1)
          if (offers[std::countr_zero(other)]->value == offers[lane]->value) same |= other & -other;
        results[lane] = same;
        break;
      }
      case Collective::kShuffle:
      case Collective::kShuffleUp:
      case Collective::kShuffleDown:
      case Collective::kShuffleXor: {
        const int source = source_of(*offers[lane], lane);
        results[lane] = mask >> source & 1 ? offers[source]->value : poison * 0x0101010101010101u;
        break;
      }
      default:
        results[lane] = reduced;
    }
  }
}

}  // namespace fastdist::emulator
