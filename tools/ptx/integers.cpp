// Integers, bits and predicates.
#include <bit>
#include <limits>

#include "forms.h"

namespace ptx {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// Shifts beyond the width give what is shifted in.
template <class T>
T shifted_left(T a, u32 n) {
  return n >= sizeof(T) * 8 ? T(0) : T(a << n);
}
template <class T>
T shifted_right(T a, u32 n) {
  if (n >= sizeof(T) * 8) return a < 0 ? T(-1) : T(0);
  return T(a >> n);
}

// Division by zero gives all ones on a GPU, not an error; the least number by -1 itself.
template <class T>
T quotient(T a, T b) {
  if (b == 0) return T(-1);
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return T(0 - Unsigned<T>(a));
  return T(a / b);
}
template <class T>
T remainder_of(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return T(a % b);
}

template <class T>
T high_product(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return T(Wide(a) * b >> 64);
  } else {
    using Wide = std::conditional_t<std::is_signed_v<T>, s64, u64>;
    return T(Wide(a) * b >> (8 * sizeof(T)));
  }
}

template <class T>
void arithmetic(Forms& f, const std::string& type) {
  using U = Unsigned<T>;
  using Wide = std::conditional_t<sizeof(T) == 8, U, u64>;  // 16-bit products overflow int
  f["add." + type] = form([](T a, T b) { return T(Wide(U(a)) + Wide(U(b))); });
  f["sub." + type] = form([](T a, T b) { return T(Wide(U(a)) - Wide(U(b))); });
  f["mul.lo." + type] = form([](T a, T b) { return T(Wide(U(a)) * Wide(U(b))); });
  f["mad.lo." + type] = form([](T a, T b, T c) { return T(Wide(U(a)) * Wide(U(b)) + Wide(U(c))); });
  f["mul.hi." + type] = form([](T a, T b) { return high_product<T>(a, b); });
  f["div." + type] = form([](T a, T b) { return quotient<T>(a, b); });
  f["rem." + type] = form([](T a, T b) { return remainder_of<T>(a, b); });
  f["min." + type] = form([](T a, T b) { return a < b ? a : b; });
  f["max." + type] = form([](T a, T b) { return a > b ? a : b; });
  f["shr." + type] = form([](T a, u32 n) { return shifted_right<T>(a, n); });
  f["setp.eq." + type] = form([](T a, T b) { return a == b; });
  f["setp.ne." + type] = form([](T a, T b) { return a != b; });
  f["setp.lt." + type] = form([](T a, T b) { return a < b; });
  f["setp.le." + type] = form([](T a, T b) { return a <= b; });
  f["setp.gt." + type] = form([](T a, T b) { return a > b; });
  f["setp.ge." + type] = form([](T a, T b) { return a >= b; });
  if constexpr (std::is_signed_v<T>) {
    f["neg." + type] = form([](T a) { return T(0 - Wide(U(a))); });
    f["abs." + type] = form([](T a) { return a < 0 ? T(0 - Wide(U(a))) : a; });
  }
}

template <class T, class Wide>
void widening(Forms& f, const std::string& type) {
  using U = std::make_unsigned_t<Wide>;
  f["mul.wide." + type] = form([](T a, T b) { return Wide(Wide(a) * Wide(b)); });
  f["mad.wide." + type] = form([](T a, T b, Wide c) { return Wide(U(Wide(a) * Wide(b)) + U(c)); });
}

// Types without a meaning, "b", and moves and choices of any.
template <class T>
void bits(Forms& f, const std::string& size) {
  f["and.b" + size] = form([](T a, T b) { return T(a & b); });
  f["or.b" + size] = form([](T a, T b) { return T(a | b); });
  f["xor.b" + size] = form([](T a, T b) { return T(a ^ b); });
  f["not.b" + size] = form([](T a) { return T(~a); });
  f["shl.b" + size] = form([](T a, u32 n) { return shifted_left<T>(a, n); });
  f["shr.b" + size] = form([](T a, u32 n) { return shifted_right<T>(a, n); });
  f["setp.eq.b" + size] = form([](T a, T b) { return a == b; });
  f["setp.ne.b" + size] = form([](T a, T b) { return a != b; });
  for (const char* kind : {"b", "u", "s", "f"}) {
    f["mov." + (kind + size)] = form([](T a) { return a; });
    f["selp." + (kind + size)] = form([](T a, T b, bool first) { return first ? a : b; });
  }
}

// Predicates, all lanes at once.
template <class Function>
Form predicates(int sources, Function) {
  const Handler run = [](Warp& warp, const Instruction& i, uint32_t lanes) {
    const u32 result = Function{}(warp.predicate(i.operand[1]), warp.predicate(i.operand[i.operand[2] == kNone ? 1 : 2]));
    u32& to = warp.predicate(i.operand[0]);
    to = (to & ~lanes) | (result & lanes);
  };
  return {run, 1 + sources, {}};
}

template <class T>
u32 pairs(u32 a, u32 b, T (*function)(T, T)) {
  return u32(u16(function(T(a >> 16), T(b >> 16)))) << 16 | u16(function(T(a), T(b)));
}

u32 permuted(u32 a, u32 b, u32 selector) {
  const u64 bytes = u64(b) << 32 | a;
  u32 result = 0;
  for (int k = 0; k < 4; ++k) {
    const u32 which = selector >> (4 * k) & 15, byte = u32(bytes >> (8 * (which & 7))) & 255;
    result |= (which & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * k);
  }
  return result;
}

u32 field(u32 a, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  if (position >= 32 || length == 0) return 0;
  return a >> position & (length >= 32 ? ~0u : (1u << length) - 1);
}

u32 with_field(u32 a, u32 b, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  for (u32 k = 0; k < length && position + k < 32; ++k) b = (b & ~(1u << (position + k))) | (a >> k & 1) << (position + k);
  return b;
}

u32 reversed(u32 a) {
  u32 result = 0;
  for (int k = 0; k < 32; ++k) result |= (a >> k & 1) << (31 - k);
  return result;
}

}  // namespace

void add_integers(Forms& f) {
  arithmetic<u16>(f, "u16");
  arithmetic<s16>(f, "s16");
  arithmetic<u32>(f, "u32");
  arithmetic<s32>(f, "s32");
  arithmetic<u64>(f, "u64");
  arithmetic<s64>(f, "s64");
  widening<u16, u32>(f, "u16");
  widening<s16, s32>(f, "s16");
  widening<u32, u64>(f, "u32");
  widening<s32, s64>(f, "s32");
  bits<u16>(f, "16");
  bits<u32>(f, "32");
  bits<u64>(f, "64");
  f["and.pred"] = predicates(2, [](u32 a, u32 b) { return a & b; });
  f["or.pred"] = predicates(2, [](u32 a, u32 b) { return a | b; });
  f["xor.pred"] = predicates(2, [](u32 a, u32 b) { return a ^ b; });
  f["not.pred"] = predicates(1, [](u32 a, u32) { return ~a; });
  f["mov.pred"] = predicates(1, [](u32 a, u32) { return a; });
  f["add.u16x2"] = form([](u32 a, u32 b) { return pairs<u16>(a, b, [](u16 x, u16 y) { return u16(x + y); }); });
  f["min.u16x2"] = form([](u32 a, u32 b) { return pairs<u16>(a, b, [](u16 x, u16 y) { return x < y ? x : y; }); });
  f["max.u16x2"] = form([](u32 a, u32 b) { return pairs<u16>(a, b, [](u16 x, u16 y) { return x > y ? x : y; }); });
  f["shf.l.wrap.b32"] = form([](u32 a, u32 b, u32 n) { return u32((u64(b) << 32 | a) << (n & 31) >> 32); });
  f["shf.r.wrap.b32"] = form([](u32 a, u32 b, u32 n) { return u32((u64(b) << 32 | a) >> (n & 31)); });
  f["prmt.b32"] = form([](u32 a, u32 b, u32 selector) { return permuted(a, b, selector); });
  f["bfe.u32"] = form([](u32 a, u32 position, u32 length) { return field(a, position, length); });
  f["bfi.b32"] = form([](u32 a, u32 b, u32 position, u32 length) { return with_field(a, b, position, length); });
  f["bfind.u32"] = form([](u32 a) { return a ? u32(31 - std::countl_zero(a)) : ~0u; });
  f["bfind.shiftamt.u32"] = form([](u32 a) { return a ? u32(std::countl_zero(a)) : ~0u; });
  f["brev.b32"] = form([](u32 a) { return reversed(a); });
  f["clz.b32"] = form([](u32 a) { return u32(std::countl_zero(a)); });
  f["clz.b64"] = form([](u64 a) { return u32(std::countl_zero(a)); });
  f["popc.b32"] = form([](u32 a) { return u32(std::popcount(a)); });
  f["popc.b64"] = form([](u64 a) { return u32(std::popcount(a)); });
}

}  // namespace ptx
