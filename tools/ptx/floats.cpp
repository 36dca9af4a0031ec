// Floating numbers: rounded as PTX says, and where it promises an error only, anywhere within it.
#include <cmath>
#include <cstdlib>
#include <random>

#include "forms.h"

namespace ptx {
namespace {

// Of two zeros, -0 is the smaller; of a number and a NaN, the number is taken.
template <class T>
T smaller(T a, T b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <class T>
T larger(T a, T b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

template <class T>
void arithmetic(Forms& f, const std::string& type) {
  for (const std::string rounding : {".rn.", "."}) {
    f["add" + rounding + type] = form([](T a, T b) { return a + b; });
    f["sub" + rounding + type] = form([](T a, T b) { return a - b; });
    f["mul" + rounding + type] = form([](T a, T b) { return a * b; });
  }
  f["fma.rn." + type] = form([](T a, T b, T c) { return std::fma(a, b, c); });
  f["div.rn." + type] = form([](T a, T b) { return a / b; });
  f["rcp.rn." + type] = form([](T a) { return 1 / a; });
  f["sqrt.rn." + type] = form([](T a) { return std::sqrt(a); });
  f["min." + type] = form([](T a, T b) { return smaller(a, b); });
  f["max." + type] = form([](T a, T b) { return larger(a, b); });
  f["neg." + type] = form([](T a) { return -a; });
  f["abs." + type] = form([](T a) { return std::fabs(a); });
  // A NaN makes the first six false and the next six true.
  f["setp.eq." + type] = form([](T a, T b) { return a == b; });
  f["setp.ne." + type] = form([](T a, T b) { return a < b || a > b; });
  f["setp.lt." + type] = form([](T a, T b) { return a < b; });
  f["setp.le." + type] = form([](T a, T b) { return a <= b; });
  f["setp.gt." + type] = form([](T a, T b) { return a > b; });
  f["setp.ge." + type] = form([](T a, T b) { return a >= b; });
  f["setp.equ." + type] = form([](T a, T b) { return !(a < b || a > b); });
  f["setp.neu." + type] = form([](T a, T b) { return !(a == b); });
  f["setp.ltu." + type] = form([](T a, T b) { return !(a >= b); });
  f["setp.leu." + type] = form([](T a, T b) { return !(a > b); });
  f["setp.gtu." + type] = form([](T a, T b) { return !(a <= b); });
  f["setp.geu." + type] = form([](T a, T b) { return !(a < b); });
  f["setp.nan." + type] = form([](T a, T b) { return a != a || b != b; });
  f["setp.num." + type] = form([](T a, T b) { return a == a && b == b; });
}

f32 flushed(f32 x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

// FASTDIST_PTX_APPROX: at which end of its documented error an approximate instruction answers ("low", "high"), anywhere
// within it ("random"), or rounded ("nearest", the default).
f32 approximate(f64 exact, f64 relative_error) {
  static const std::string where = [] {
    const char* text = std::getenv("FASTDIST_PTX_APPROX");
    return std::string(text ? text : "");
  }();
  if (!(std::fabs(exact) < INFINITY) || exact == 0 || where.empty() || where == "nearest") return flushed(f32(exact));
  static std::mt19937_64 random(1);
  const f64 share = where == "low" ? -1 : where == "high" ? 1 : 2 * f64(random() >> 11) * 0x1p-53 - 1;
  const f64 ends[] = {exact * (1 - relative_error), exact * (1 + relative_error)};
  f32 value = f32(exact * (1 + relative_error * share));
  if (value < smaller(ends[0], ends[1])) value = std::nextafter(value, INFINITY);
  if (value > larger(ends[0], ends[1])) value = std::nextafter(value, -INFINITY);
  return flushed(value);
}

// Errors: PTX ISA 9.0, at each of the instructions.
f32 reciprocal_root(f32 x) {
  x = flushed(x);
  if (x < 0) return NAN;
  if (x == 0) return std::copysign(INFINITY, x);
  if (x == INFINITY) return 0;
  return approximate(1 / std::sqrt(f64(x)), 0x1.119p-23);  // 2^-22.9
}
f32 reciprocal(f32 x) {
  x = flushed(x);
  if (x == 0) return std::copysign(INFINITY, x);
  if (std::fabs(x) == INFINITY) return std::copysign(0.0f, x);
  return approximate(1 / f64(x), 0x1p-23);
}
f32 power_of_two(f32 x) {
  x = flushed(x);
  if (x == INFINITY) return INFINITY;
  if (x == -INFINITY) return 0;
  return approximate(std::exp2(f64(x)), 0x1p-22);
}

}  // namespace

void add_floats(Forms& f) {
  arithmetic<f32>(f, "f32");
  arithmetic<f64>(f, "f64");
  for (const std::string flushing : {".ftz.f32"}) {
    f["rsqrt.approx" + flushing] = form([](f32 a) { return reciprocal_root(a); });
    f["rcp.approx" + flushing] = form([](f32 a) { return reciprocal(a); });
    f["ex2.approx" + flushing] = form([](f32 a) { return power_of_two(a); });
  }
}

}  // namespace ptx
