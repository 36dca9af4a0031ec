// Division by a number that the host knows: a multiplication and a shift, where a GPU takes some twenty instructions otherwise.
#pragma once

#include "device.h"

namespace fastdist {

struct Divisor {
  uint32_t number, multiplier;
  int shift;
};

// Of 1 to 2^31. With 2^(l-1) < number <= 2^l, multiplier = floor(2^(31+l) / number) + 1 exceeds the true quotient by at most 1.
// What that adds to n / number is below 2^-l <= 1 / number for n < 2^31: never enough to reach the next whole number.
inline Divisor divisor_of(int64_t number) {
  if (number > int64_t(1) << 31) number = int64_t(1) << 31;  // more blocks than a launch can have: it will be refused
  int log = 0;
  while ((int64_t(1) << log) < number) ++log;
  return {uint32_t(number), uint32_t((uint64_t(1) << (31 + log)) / uint64_t(number) + 1), 31 + log};
}

// n / number, rounded down, of n < 2^31.
FASTDIST_DEVICE uint32_t quotient(uint32_t n, const Divisor& by) { return uint32_t(uint64_t(n) * by.multiplier >> by.shift); }

}  // namespace fastdist
