// CUDA's functions of one thread: bits, arithmetic, vector types, loads and atomics. Overloads are CUDA's own, no more:
// what compiles here must compile there.
#pragma once

#include <math.h>
#include <stdlib.h>

#include <bit>
#include <cstdint>
#include <cstring>

// --- Bits. ------------------------------------------------------------------------------------------------------------

inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(unsigned(x)) + 1; }
inline int __ffsll(long long x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(x)) + 1; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }

inline unsigned long long __brevll(unsigned long long x) {
  x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
  x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
  x = (x >> 4 & 0x0f0f0f0f0f0f0f0fu) | (x & 0x0f0f0f0f0f0f0f0fu) << 4;
  return __builtin_bswap64(x);
}
inline unsigned __brev(unsigned x) { return unsigned(__brevll(x) >> 32); }

inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return unsigned(((uint64_t(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return unsigned((uint64_t(high) << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const uint64_t bytes = uint64_t(high) << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned chosen = selector >> (4 * i);
    unsigned byte = unsigned(bytes >> (8 * (chosen & 7))) & 0xff;
    if (chosen & 8) byte = byte & 0x80 ? 0xff : 0;  // the sign, spread
    result |= byte << (8 * i);
  }
  return result;
}

inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

// --- Arithmetic, rounded to nearest as the names say. -----------------------------------------------------------------

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return ::fmaf(x, y, z); }
inline float __fsqrt_rn(float x) { return ::sqrtf(x); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __fma_rn(double x, double y, double z) { return ::fma(x, y, z); }
inline double __dsqrt_rn(double x) { return ::sqrt(x); }
inline float __frsqrt_rn(float x) { return float(1 / ::sqrt(double(x))); }
// Rougher than this on a GPU. (glibc declares functions of these names: hence noexcept.)
inline float __expf(float x) noexcept { return ::expf(x); }
inline float __logf(float x) noexcept { return ::logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline float __ull2float_rn(unsigned long long x) { return float(x); }
inline float __double2float_rn(double x) { return float(x); }
inline double __int2double_rn(int x) { return x; }
inline double __uint2double_rn(unsigned x) { return x; }
inline double __ll2double_rn(long long x) { return double(x); }
inline double __ull2double_rn(unsigned long long x) { return double(x); }

namespace fastdist::emulator {
// As the machine converts: clamped, and NaN gives 0.
template <class Integer, class Real>
Integer converted(Real x) {
  constexpr Integer lowest = Integer(-1) < 0 ? Integer(Integer(1) << (8 * sizeof(Integer) - 1)) : Integer(0);
  constexpr Integer largest = Integer(~lowest);
  if (x != x) return 0;
  if (x <= Real(lowest)) return lowest;
  return x >= Real(largest) ? largest : Integer(x);
}
}  // namespace fastdist::emulator

inline int __float2int_rn(float x) { return ::fastdist::emulator::converted<int>(::rintf(x)); }
inline int __float2int_rz(float x) { return ::fastdist::emulator::converted<int>(::truncf(x)); }
inline int __float2int_rd(float x) { return ::fastdist::emulator::converted<int>(::floorf(x)); }
inline int __float2int_ru(float x) { return ::fastdist::emulator::converted<int>(::ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return ::fastdist::emulator::converted<unsigned>(::rintf(x)); }
inline unsigned __float2uint_rz(float x) { return ::fastdist::emulator::converted<unsigned>(::truncf(x)); }
inline int __double2int_rn(double x) { return ::fastdist::emulator::converted<int>(::rint(x)); }
inline int __double2int_rd(double x) { return ::fastdist::emulator::converted<int>(::floor(x)); }
inline long long __double2ll_rn(double x) { return ::fastdist::emulator::converted<long long>(::rint(x)); }

inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned(uint64_t(x) * y >> 32); }
inline int __mulhi(int x, int y) { return int(int64_t(x) * y >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}

// Two numbers of 16 bits in one word.
inline unsigned __vminu2(unsigned x, unsigned y) {
  const unsigned low = (x & 0xffff) < (y & 0xffff) ? x : y, high = x >> 16 < y >> 16 ? x : y;
  return (high & 0xffff0000u) | (low & 0xffff);
}
inline unsigned __vadd2(unsigned x, unsigned y) { return ((x & 0xffff0000u) + (y & 0xffff0000u)) | ((x + y) & 0xffff); }
inline unsigned __viaddmin_u16x2(unsigned x, unsigned y, unsigned least) { return __vminu2(__vadd2(x, y), least); }

#define FASTDIST_EMULATOR_MIN_MAX(T, first, second)                                                \
  inline constexpr T min(first x, second y) {                                                      \
    return static_cast<T>(x) < static_cast<T>(y) ? static_cast<T>(x) : static_cast<T>(y);          \
  }                                                                                                \
  inline constexpr T max(first x, second y) {                                                      \
    return static_cast<T>(x) < static_cast<T>(y) ? static_cast<T>(y) : static_cast<T>(x);          \
  }

FASTDIST_EMULATOR_MIN_MAX(int, int, int)
FASTDIST_EMULATOR_MIN_MAX(unsigned, unsigned, unsigned)
FASTDIST_EMULATOR_MIN_MAX(unsigned, int, unsigned)
FASTDIST_EMULATOR_MIN_MAX(unsigned, unsigned, int)
FASTDIST_EMULATOR_MIN_MAX(long, long, long)
FASTDIST_EMULATOR_MIN_MAX(unsigned long, unsigned long, unsigned long)
FASTDIST_EMULATOR_MIN_MAX(unsigned long, long, unsigned long)
FASTDIST_EMULATOR_MIN_MAX(unsigned long, unsigned long, long)
FASTDIST_EMULATOR_MIN_MAX(long long, long long, long long)
FASTDIST_EMULATOR_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
FASTDIST_EMULATOR_MIN_MAX(unsigned long long, long long, unsigned long long)
FASTDIST_EMULATOR_MIN_MAX(unsigned long long, unsigned long long, long long)
#undef FASTDIST_EMULATOR_MIN_MAX

// The number of the two where the other is NaN.
inline float min(float x, float y) { return ::fminf(x, y); }
inline float max(float x, float y) { return ::fmaxf(x, y); }
inline double min(double x, double y) { return ::fmin(x, y); }
inline double max(double x, double y) { return ::fmax(x, y); }
inline double min(float x, double y) { return ::fmin(double(x), y); }
inline double min(double x, float y) { return ::fmin(x, double(y)); }
inline double max(float x, double y) { return ::fmax(double(x), y); }
inline double max(double x, float y) { return ::fmax(x, double(y)); }

// --- Vectors. ---------------------------------------------------------------------------------------------------------

#define FASTDIST_EMULATOR_VECTORS(T, name)                                             \
  struct alignas(2 * sizeof(T)) name##2 {                                              \
    T x, y;                                                                            \
  };                                                                                   \
  struct name##3 {                                                                     \
    T x, y, z;                                                                         \
  };                                                                                   \
  struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) name##4 {                         \
    T x, y, z, w;                                                                      \
  };                                                                                   \
  FASTDIST_EMULATOR_MAKE_VECTORS(T, name)

#define FASTDIST_EMULATOR_MAKE_VECTORS(T, name)                                        \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                           \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                   \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

FASTDIST_EMULATOR_VECTORS(unsigned char, uchar)
FASTDIST_EMULATOR_VECTORS(short, short)
FASTDIST_EMULATOR_VECTORS(unsigned short, ushort)
FASTDIST_EMULATOR_VECTORS(int, int)
FASTDIST_EMULATOR_VECTORS(float, float)
FASTDIST_EMULATOR_VECTORS(double, double)
FASTDIST_EMULATOR_VECTORS(long long, longlong)
FASTDIST_EMULATOR_VECTORS(unsigned long long, ulonglong)

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {  // uint3: engine.h
  unsigned x, y, z, w;
};
FASTDIST_EMULATOR_MAKE_VECTORS(unsigned, uint)
#undef FASTDIST_EMULATOR_VECTORS
#undef FASTDIST_EMULATOR_MAKE_VECTORS

// --- Memory: caching hints say nothing here, and fences need not. -----------------------------------------------------

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldca(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}

inline void __threadfence() {}
inline void __threadfence_block() {}

// --- Atomics: a thread is never interrupted within one. ---------------------------------------------------------------

#define FASTDIST_EMULATOR_ATOMIC(T, name, expression) \
  inline T name(T* address, T value) {                \
    const T old = *address;                           \
    *address = expression;                            \
    return old;                                       \
  }

FASTDIST_EMULATOR_ATOMIC(int, atomicAdd, int(unsigned(old) + unsigned(value)))
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicAdd, old + value)
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicAdd, old + value)
FASTDIST_EMULATOR_ATOMIC(float, atomicAdd, old + value)
FASTDIST_EMULATOR_ATOMIC(double, atomicAdd, old + value)
FASTDIST_EMULATOR_ATOMIC(int, atomicSub, int(unsigned(old) - unsigned(value)))
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicSub, old - value)
FASTDIST_EMULATOR_ATOMIC(int, atomicMin, min(old, value))
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicMin, min(old, value))
FASTDIST_EMULATOR_ATOMIC(long long, atomicMin, min(old, value))
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicMin, min(old, value))
FASTDIST_EMULATOR_ATOMIC(int, atomicMax, max(old, value))
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicMax, max(old, value))
FASTDIST_EMULATOR_ATOMIC(long long, atomicMax, max(old, value))
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicMax, max(old, value))
FASTDIST_EMULATOR_ATOMIC(int, atomicAnd, old & value)
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicAnd, old & value)
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicAnd, old & value)
FASTDIST_EMULATOR_ATOMIC(int, atomicOr, old | value)
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicOr, old | value)
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicOr, old | value)
FASTDIST_EMULATOR_ATOMIC(int, atomicXor, old ^ value)
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicXor, old ^ value)
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicXor, old ^ value)
FASTDIST_EMULATOR_ATOMIC(int, atomicExch, value)
FASTDIST_EMULATOR_ATOMIC(unsigned, atomicExch, value)
FASTDIST_EMULATOR_ATOMIC(unsigned long long, atomicExch, value)
FASTDIST_EMULATOR_ATOMIC(float, atomicExch, value)
#undef FASTDIST_EMULATOR_ATOMIC

#define FASTDIST_EMULATOR_CAS(T)                        \
  inline T atomicCAS(T* address, T expected, T value) { \
    const T old = *address;                             \
    if (old == expected) *address = value;              \
    return old;                                         \
  }
FASTDIST_EMULATOR_CAS(int)
FASTDIST_EMULATOR_CAS(unsigned)
FASTDIST_EMULATOR_CAS(unsigned long long)
#undef FASTDIST_EMULATOR_CAS
