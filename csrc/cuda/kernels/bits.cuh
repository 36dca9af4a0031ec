// Rows as bits: one read of what the user passed in, and everything after it reads 16 bytes for 32 voxels.
//
// A plane holds one bit a voxel, 32 voxels to a RowWord. An edge is a place between two voxels whose bits differ; edge x lies
// between voxels x - 1 and x. The distance of a voxel to the nearest voxel of the other kind in its row follows from the edges
// of its own word and, per word, the nearest edges outside of it.
//
// Reads the image once, writes 1/2 byte a voxel and plane: at 1-byte voxels the floor of this step is 1.5 bytes a voxel.
#pragma once

#include "../../core/elements.h"
#include "../../core/half.h"
#include "arithmetic.cuh"

namespace fastdist::cuda {

struct alignas(16) RowWord {
  uint32_t bits;
  uint32_t edges;
  int32_t before;  // the last edge before the word, counted from the word's first voxel; kNoEdge where there is none
  int32_t after;   // the first edge behind the word, likewise
};

// Positions further away than any axis, 2^30, is long.
constexpr int32_t kNoEdgeBefore = -(1 << 30);
constexpr int32_t kNoEdgeAfter = 0x7fffffff;

// -1 where there is none.
FASTDIST_DEVICE int highest_bit(uint32_t bits) { return 31 - __clz(int(bits)); }
FASTDIST_DEVICE int lowest_bit(uint32_t bits) { return highest_bit(bits & (0u - bits)); }

// The bits of a word that belong to voxels of a row.
FASTDIST_DEVICE uint32_t voxels_of_word(int64_t width, int word) {
  const int64_t left = width - int64_t(word) * 32;
  return left >= 32 ? 0xffffffffu : left <= 0 ? 0u : (1u << left) - 1u;
}

// The largest value of the places before this one; a warp has several lines of `count` places side by side.
FASTDIST_DEVICE int largest_before(int value, int place, int count, int none) {
  for (int step = 1; step < count; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, value, step);
    if (place >= step && other > value) value = other;
  }
  const int previous = __shfl_up_sync(0xffffffffu, value, 1);
  return place == 0 ? none : previous;
}

// The smallest value of the places behind this one.
FASTDIST_DEVICE int smallest_behind(int value, int place, int count, int none) {
  for (int step = 1; step < count; step *= 2) {
    const int other = __shfl_down_sync(0xffffffffu, value, step);
    if (place + step < count && other < value) value = other;
  }
  const int next = __shfl_down_sync(0xffffffffu, value, 1);
  return place == count - 1 ? none : next;
}

// What a row's first 4 bytes a word, `bits`, hold when its edges are looked for.
enum class Row { kClasses, kEdges };

// What lies beyond the ends of a line of voxels.
struct Outside {
  bool known;  // there is an edge where the outside differs from the end's voxel
  bool set;    // the outside's bit
};

// Edges of one row and the nearest ones outside of each word, from the `bits` that the same lanes have written: lane l has word
// l of each 32. For one warp.
FASTDIST_DEVICE void link_row(RowWord* row, int64_t width, int words, Outside outside, Row kind, int lane) {
  const int end_word = int(width >> 5);
  const uint32_t end_bit = 1u << (width & 31);
  int nearest = kNoEdgeBefore;
  uint32_t carry = outside.set, last_bit = 0;
  for (int first = 0; first < words; first += kLanes) {
    const int word = first + lane, base = word * 32;
    const uint32_t bits = word < words ? row[word].bits : 0u;
    uint32_t edges = bits;
    if (kind == Row::kClasses) {
      const uint32_t previous = __shfl_up_sync(0xffffffffu, bits, 1);
      edges ^= bits << 1 | (lane == 0 ? carry : previous >> 31);
      carry = __shfl_sync(0xffffffffu, bits, kLanes - 1) >> 31;
      last_bit = __shfl_sync(0xffffffffu, bits, words - first < kLanes ? words - first - 1 : kLanes - 1) >> ((width - 1) & 31) & 1;
      if (word >= words) edges = 0;
      if (word == end_word) edges &= ~end_bit;
      if (word == end_word && outside.known && (bits >> ((width - 1) & 31) & 1) != uint32_t(outside.set)) edges |= end_bit;
      if (word == 0 && !outside.known) edges &= ~1u;
    }
    const int own = edges ? base + highest_bit(edges) : kNoEdgeBefore;
    int before = largest_before(own, lane, kLanes, kNoEdgeBefore);
    before = before > nearest ? before : nearest;
    nearest = __shfl_sync(0xffffffffu, before > own ? before : own, kLanes - 1);
    if (word < words) {
      row[word].edges = edges;
      row[word].before = before == kNoEdgeBefore ? before : before - base;
    }
  }
  // The edge at the row's end, where that is no bit of the last word.
  const bool differs = kind == Row::kEdges || last_bit != uint32_t(outside.set);
  nearest = outside.known && (width & 31) == 0 && differs ? int(width) : kNoEdgeAfter;
  for (int first = (words - 1) / kLanes * kLanes; first >= 0; first -= kLanes) {
    const int word = first + lane, base = word * 32;
    const uint32_t edges = word < words ? row[word].edges : 0u;
    const int own = edges ? base + lowest_bit(edges) : kNoEdgeAfter;
    int after = smallest_behind(own, lane, kLanes, kNoEdgeAfter);
    after = after < nearest ? after : nearest;
    nearest = __shfl_sync(0xffffffffu, own < after ? own : after, 0);
    if (word < words) row[word].after = after == kNoEdgeAfter ? after : after - base;
  }
}

// The same for rows of at most 32 words, kClasses, from registers: a word a lane, rows side by side. All lanes take part; those
// that are not `mine` have no row.
FASTDIST_DEVICE RowWord linked_word(uint32_t bits, bool mine, int64_t width, int words, int word, Outside outside) {
  const int base = word * 32;
  const uint32_t set = outside.set, last_bit = bits >> ((width - 1) & 31) & 1;
  const uint32_t previous = __shfl_up_sync(0xffffffffu, bits, 1);
  uint32_t edges = bits ^ (bits << 1 | (word == 0 ? set : previous >> 31));
  int end = kNoEdgeAfter;  // the edge at the row's end, where that is no bit of the last word
  if (word == 0 && !outside.known) edges &= ~1u;
  if (word == words - 1) {
    const uint32_t end_bit = 1u << (width & 31);  // bit 0 where the last word is full: then it is none of its
    const bool differs = outside.known && last_bit != set;
    if ((width & 31) == 0) end = differs ? int(width) : end;
    else edges = differs ? edges | end_bit : edges & ~end_bit;
  }
  if (!mine) edges = 0;
  RowWord linked{bits, edges, kNoEdgeBefore, kNoEdgeAfter};
  if (!__any_sync(0xffffffffu, edges != 0 || end != kNoEdgeAfter)) return linked;
  const int before = largest_before(edges ? base + highest_bit(edges) : kNoEdgeBefore, word, words, kNoEdgeBefore);
  const int after = smallest_behind(edges ? base + lowest_bit(edges) : end, word, words, end);
  if (before != kNoEdgeBefore) linked.before = before - base;
  if (after != kNoEdgeAfter) linked.after = after - base;
  return linked;
}

// What was seen of a unit, one number for each part of its rows: any voxel that is inside, outside, or neither.
constexpr uint32_t kSeenInside = 1, kSeenOutside = 2, kSeenIgnored = 4;

// How an element is read: as the bits that lie in memory, an unsigned number of its size.
enum class Read {
  kMask,      // inside where bits & `significant`, less `least`, is at most `span`: says "not zero" and "above 1/2" of any type
  kIntegers,  // class indices: bits below `classes`, where that is at most the type's largest number
  kReals,     // class indices as floating numbers that are whole
};

struct PackArguments {
  const void* data;        // masks, channels: [units][voxels]; labels: [images][voxels]
  Element type;
  uint64_t significant, least, span;  // kMask
  int64_t classes;         // labels: unit = image * maps + map, inside where the label is first_class + map
  int64_t maps, first_class;
  bool has_ignore;
  uint64_t ignore;         // the bits of that label
  const uint8_t* valid;    // [images][voxels], 0 = ignored; or null
  int64_t rows, width;     // of an image
  int words;
  int planes;              // a unit has: 0 "not inside", 1 "not outside" (where voxels may be neither)
  bool mask_plane;         // the one plane is "inside" itself: unsigned transforms measure to its clear bits
  bool border;             // the outside of the image is outside of every class
  int parts;
  int64_t rows_per_part;
  bool in_sixteens;        // of pack_bytes: rows and `valid` can be read 16 bytes at a time
  RowWord* out;            // [units][planes][rows][words]: their `bits`
  uint32_t* seen;          // [units][parts], or null
};

FASTDIST_DEVICE bool is_real(Element type) {
  return type == Element::kF16 || type == Element::kBF16 || type == Element::kF32 || type == Element::kF64;
}

FASTDIST_DEVICE float real_of(uint16_t bits, Element type) {
  return type == Element::kF16 ? float_of(Half{bits}) : float_of(BFloat{bits});
}
FASTDIST_DEVICE float real_of(uint32_t bits, Element) { return __uint_as_float(bits); }
FASTDIST_DEVICE double real_of(uint64_t bits, Element) { return __longlong_as_double((long long)bits); }

// The class index of a label, or -1 for whatever is none.
template <Read kRead, class Word>
FASTDIST_DEVICE int class_of(Word bits, Element type, int classes) {
  if constexpr (kRead == Read::kReals) {
    const auto value = real_of(bits, type);
    using Value = decltype(real_of(bits, type));
    const int whole = value >= Value(0) && value < Value(classes) ? int(value) : -1;
    return Value(whole) == value ? whole : -1;
  } else {
    return uint64_t(bits) < uint64_t(classes) ? int(bits) : -1;
  }
}

constexpr int kClassGroup = 8;  // classes of a label image that are packed from one read
constexpr int kPackThreads = 256;

// A warp packs a row. Masks: a block has a part of a unit's rows. Labels: of an image's, for a group of classes.
template <class Word, Read kRead>
FASTDIST_KERNEL FASTDIST_BOUNDS(kPackThreads, 2) void pack(PackArguments a) {
  constexpr int kGroup = kRead == Read::kMask ? 1 : kClassGroup;
  constexpr int kLoads = 4;  // independent loads in flight a thread
  const int lane = int(threadIdx.x) & 31, warp = int(threadIdx.x) >> 5, warps = int(blockDim.x) >> 5;
  const int part = int(blockIdx.x % unsigned(a.parts));
  const int64_t set = blockIdx.x / unsigned(a.parts);
  const int64_t groups = (a.maps + kGroup - 1) / kGroup, image = set / groups, first_map = set % groups * kGroup;
  const int maps = a.maps - first_map < kGroup ? int(a.maps - first_map) : kGroup;
  const int64_t first_unit = image * a.maps + first_map;
  const int64_t voxels = a.rows * a.width, plane = a.rows * a.words;
  const Word* data = static_cast<const Word*>(a.data) + (kRead == Read::kMask ? first_unit : image) * voxels;
  const uint8_t* valid = a.valid ? a.valid + image * voxels : nullptr;
  RowWord* out = a.out + first_unit * a.planes * plane;
  const int64_t begin = part * a.rows_per_part;
  const int64_t end = begin + a.rows_per_part < a.rows ? begin + a.rows_per_part : a.rows;
  const int classes = int(a.classes), first_class = int(a.first_class + first_map);

  uint32_t seen = 0;  // three bits a map
  for (int64_t row = begin + warp; row < end; row += warps) {
    for (int base = 0; base < a.words; base += kLanes) {
      uint32_t inside[kGroup] = {}, known = 0;
      const int count = a.words - base < kLanes ? a.words - base : kLanes;
#pragma unroll 1
      for (int first = 0; first < count; first += kLoads) {
        Word value[kLoads];
        const int64_t x0 = int64_t(base + first) * 32 + lane;
        const Word* from = data + row * a.width + x0;
#pragma unroll
        for (int k = 0; k < kLoads; ++k) value[k] = x0 + k * 32 < a.width ? from[k * 32] : Word(0);
#pragma unroll
        for (int k = 0; k < kLoads; ++k) {
          bool is_known = x0 + k * 32 < a.width;
          if (valid) is_known = is_known && valid[row * a.width + x0 + k * 32];
          int label = 0;
          if constexpr (kRead != Read::kMask) {
            label = class_of<kRead>(value[k], a.type, classes);
            is_known = is_known && label >= 0 && !(a.has_ignore && value[k] == Word(a.ignore));
          }
          const uint32_t word_known = __ballot_sync(0xffffffffu, is_known);
          if (lane == first + k) known = word_known;
#pragma unroll
          for (int g = 0; g < kGroup; ++g) {
            bool in = label == first_class + g;
            if constexpr (kRead == Read::kMask)
              in = Word((value[k] & Word(a.significant)) - Word(a.least)) <= Word(a.span);
            const uint32_t word = __ballot_sync(0xffffffffu, is_known && in);
            if (lane == first + k) inside[g] = word;
          }
        }
      }
      const uint32_t here = voxels_of_word(a.width, base + lane);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        if (g >= maps) break;
        const uint32_t outside = known & ~inside[g];
        seen |= ((inside[g] ? kSeenInside : 0) | (outside ? kSeenOutside : 0) | (here & ~known ? kSeenIgnored : 0)) << (3 * g);
        if (lane >= count) continue;
        RowWord* word = out + g * a.planes * plane + row * a.words + base + lane;
        word->bits = a.mask_plane ? inside[g] : here & ~inside[g];
        if (a.planes > 1) word[plane].bits = here & ~outside;
      }
    }
  }

  if (!a.seen) return;
  FASTDIST_SHARED(memory);
  uint32_t* of_warp = reinterpret_cast<uint32_t*>(memory);  // [warps]
  for (int step = 16; step > 0; step /= 2) seen |= __shfl_xor_sync(0xffffffffu, seen, step);
  if (lane == 0) of_warp[warp] = seen;
  __syncthreads();
  if (int(threadIdx.x) < maps) {
    uint32_t all = 0;
    for (int w = 0; w < warps; ++w) all |= of_warp[w] >> (3 * int(threadIdx.x)) & 7;
    a.seen[(first_unit + int64_t(threadIdx.x)) * a.parts + part] = all;
  }
}

struct LinkArguments {
  RowWord* words;      // [units][planes][rows][words]
  int64_t all_rows;    // of all units and planes
  int64_t rows, width;
  int count;           // words of a row
  int planes;
  bool border;         // the outside of the image is outside of every class
  bool mask_plane;     // as in PackArguments
};

// Rows that a warp has side by side.
FASTDIST_ANYWHERE constexpr int rows_beside(int words) { return words < kLanes ? kLanes / words : 1; }

// A warp links a row, or several short ones. Templated so that several files may include it.
template <int kThreads>
FASTDIST_KERNEL FASTDIST_BOUNDS(kThreads, 4) void link_rows(LinkArguments a) {
  const int lane = int(threadIdx.x) & 31, beside = rows_beside(a.count);
  const int place = a.count < kLanes ? lane / a.count : 0, word = lane - place * a.count;
  const int64_t row = (int64_t(blockIdx.x) * (kThreads / 32) + (threadIdx.x >> 5)) * beside + place;
  const Outside outside{a.border, (a.planes == 1 || row / a.rows % a.planes == 0) && !a.mask_plane};
  RowWord* line = a.words + row * a.count;
  if (a.count > kLanes) {
    if (row < a.all_rows) link_row(line, a.width, a.count, outside, Row::kClasses, lane);
    return;
  }
  const bool mine = place < beside && row < a.all_rows;
  const RowWord linked = linked_word(mine ? line[word].bits : 0u, mine, a.width, a.count, word, outside);
  if (mine) line[word] = linked;
}

}  // namespace fastdist::cuda
