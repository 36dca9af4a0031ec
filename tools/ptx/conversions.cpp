// cvt: between integers, floats and both; and the table of everything that works lane by lane.
#include <bit>
#include <cmath>
#include <limits>

#include "forms.h"

namespace ptx {
namespace {

u16 to_half(f32 x) { return x != x ? u16(0x7fff) : std::bit_cast<u16>(_Float16(x)); }
f32 of_half(u16 x) { return f32(std::bit_cast<_Float16>(x)); }
u16 to_bfloat(f32 x) {  // to the nearest, ties to even
  const u32 bits = std::bit_cast<u32>(x);
  return x != x ? u16(0x7fff) : u16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
f32 of_bfloat(u16 x) { return std::bit_cast<f32>(u32(x) << 16); }

// Of a whole number: what does not fit becomes the nearest that does, NaN zero.
template <class I, class F>
I saturated(F x) {
  if (x != x) return 0;
  const F beyond = std::ldexp(F(1), std::numeric_limits<I>::digits);
  if (x <= F(std::numeric_limits<I>::min())) return std::numeric_limits<I>::min();
  if (x >= beyond) return std::numeric_limits<I>::max();
  return I(x);
}

template <class D, class S>
void integers(Forms& f, const std::string& to, const std::string& from) {
  f["cvt." + to + "." + from] = form([](S a) { return D(a); });
}
template <class S>
void from_integer(Forms& f, const std::string& from) {
  integers<u16, S>(f, "u16", from);
  integers<s16, S>(f, "s16", from);
  integers<u32, S>(f, "u32", from);
  integers<s32, S>(f, "s32", from);
  integers<u64, S>(f, "u64", from);
  integers<s64, S>(f, "s64", from);
  f["cvt.rn.f32." + from] = form([](S a) { return f32(a); });
  f["cvt.rn.f64." + from] = form([](S a) { return f64(a); });
}

template <class I, class F>
void to_integer(Forms& f, const std::string& to, const std::string& from) {
  const std::string names = "." + to + "." + from;
  f["cvt.rzi" + names] = form([](F a) { return saturated<I, F>(std::trunc(a)); });
  f["cvt.rni" + names] = form([](F a) { return saturated<I, F>(std::rint(a)); });
  f["cvt.rmi" + names] = form([](F a) { return saturated<I, F>(std::floor(a)); });
  f["cvt.rpi" + names] = form([](F a) { return saturated<I, F>(std::ceil(a)); });
}
template <class F>
void from_float(Forms& f, const std::string& from) {
  to_integer<u32, F>(f, "u32", from);
  to_integer<s32, F>(f, "s32", from);
  to_integer<u64, F>(f, "u64", from);
  to_integer<s64, F>(f, "s64", from);
  const std::string names = "." + from + "." + from;
  f["cvt.rzi" + names] = form([](F a) { return std::trunc(a); });
  f["cvt.rni" + names] = form([](F a) { return std::rint(a); });
  f["cvt.rmi" + names] = form([](F a) { return std::floor(a); });
  f["cvt.rpi" + names] = form([](F a) { return std::ceil(a); });
}

}  // namespace

void convert_in_wide_registers(Warp& warp, const Instruction& i, uint32_t lanes) {
  const auto extended = [](u64 value, int bytes, bool is_signed) {
    const int above = 64 - 8 * bytes;
    return is_signed ? u64(s64(value << above) >> above) : value << above >> above;
  };
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    const u64 value = extended(warp.get(i.operand[1], i.data.width[1], l), i.data.bytes, i.data.is_signed);
    warp.set(i.operand[0], i.data.width[0], l, extended(value, i.data.count, i.writes));
  }
}

void add_conversions(Forms& f) {
  from_integer<u16>(f, "u16");
  from_integer<s16>(f, "s16");
  from_integer<u32>(f, "u32");
  from_integer<s32>(f, "s32");
  from_integer<u64>(f, "u64");
  from_integer<s64>(f, "s64");
  from_float<f32>(f, "f32");
  from_float<f64>(f, "f64");
  f["cvt.f32.f16"] = form([](u16 a) { return of_half(a); });
  f["cvt.f32.bf16"] = form([](u16 a) { return of_bfloat(a); });
  f["cvt.rn.f16.f32"] = form([](f32 a) { return to_half(a); });
  f["cvt.rn.bf16.f32"] = form([](f32 a) { return to_bfloat(a); });
  f["cvt.f64.f32"] = form([](f32 a) { return f64(a); });
  f["cvt.rn.f32.f64"] = form([](f64 a) { return f32(a); });
}

const Forms& forms() {
  static const Forms all = [] {
    Forms f;
    add_integers(f);
    add_floats(f);
    add_conversions(f);
    // Addresses of global memory and of parameters are the same numbers in the generic space.
    for (const char* opcode : {"cvta.to.global.u64", "cvta.global.u64", "cvta.param.u64", "cvta.to.param.u64"})
      f[opcode] = form([](u64 a) { return a; });
    return f;
  }();
  return all;
}

}  // namespace ptx
