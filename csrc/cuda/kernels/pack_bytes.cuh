// Images of one byte a voxel, packed a word a thread: four voxels to an instruction, 32 bytes in flight a thread, and every class
// of a label image from one read.
//
// The general kernel (bits.cuh) asks each voxel with a lane of its own; at one byte a voxel its loads are too small to keep the
// memory busy. Rows have to be whole numbers of four bytes. They are linked while they are at hand. Reads 1 byte a voxel, writes
// 1/2 a plane.
#pragma once

#include "bits.cuh"

namespace fastdist::cuda {

constexpr int kByteThreads = 256;
constexpr int64_t kMostByteMaps = 1024;  // their flags stand in shared memory

// The highest bits of four bytes, together.
FASTDIST_DEVICE uint32_t high_bits(uint32_t bytes) { return ((bytes >> 7 & 0x01010101u) * 0x01020408u) >> 24; }

FASTDIST_DEVICE uint32_t nonzero_bytes(uint32_t bytes) { return high_bits(((bytes & 0x7f7f7f7fu) + 0x7f7f7f7fu) | bytes); }

FASTDIST_DEVICE uint32_t bytes_equal(uint32_t bytes, uint32_t value) { return nonzero_bytes(bytes ^ value * 0x01010101u) ^ 0xfu; }

// value in 1..256
FASTDIST_DEVICE uint32_t bytes_below(uint32_t bytes, uint32_t value) {
  const uint32_t low = bytes & 0x7f7f7f7fu;
  const uint32_t reaches = value <= 128 ? (low + (128 - value) * 0x01010101u) | bytes : (low + (256 - value) * 0x01010101u) & bytes;
  return high_bits(reaches) ^ 0xfu;
}

// 32 bits of 32 bytes.
template <class Test>
FASTDIST_DEVICE uint32_t word_of(const uint32_t* bytes, const Test& test) {
  uint32_t word = 0;
#pragma unroll
  for (int k = 0; k < 8; ++k) word |= test(bytes[k]) << (4 * k);
  return word;
}

// `in_sixteens`: rows are whole numbers of 16 bytes, and begin at multiples of 16. Lanes are 32 bytes apart, so that every load
// touches a sector a lane: two of them, not eight.
FASTDIST_DEVICE void load_bytes(const uint8_t* row, int64_t x, int64_t width, bool in_sixteens, uint32_t* bytes) {
  if (in_sixteens) {
    const uint4* from = reinterpret_cast<const uint4*>(row + x);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const uint4 sixteen = x + 16 * k < width ? from[k] : uint4{0, 0, 0, 0};
      bytes[4 * k] = sixteen.x;
      bytes[4 * k + 1] = sixteen.y;
      bytes[4 * k + 2] = sixteen.z;
      bytes[4 * k + 3] = sixteen.w;
    }
    return;
  }
  const uint32_t* from = reinterpret_cast<const uint32_t*>(row + x);
#pragma unroll
  for (int k = 0; k < 8; ++k) bytes[k] = x + 4 * k < width ? from[k] : 0u;
}

// A block has a part of a unit's rows; of an image's, where kLabels.
template <bool kLabels>
FASTDIST_KERNEL FASTDIST_BOUNDS(kByteThreads, 4) void pack_bytes(PackArguments a) {
  FASTDIST_SHARED(memory);
  uint32_t* seen = reinterpret_cast<uint32_t*>(memory);  // [maps of this block]
  const int part = int(blockIdx.x % unsigned(a.parts)), lane = int(threadIdx.x) & 31;
  const int64_t set = blockIdx.x / unsigned(a.parts);
  const int64_t image = kLabels ? set : set / a.maps, first_unit = kLabels ? set * a.maps : set;
  const int maps = kLabels ? int(a.maps) : 1;
  const int64_t voxels = a.rows * a.width, plane = a.rows * a.words;
  const uint8_t* data = static_cast<const uint8_t*>(a.data) + set * voxels;
  const uint8_t* valid = a.valid ? a.valid + image * voxels : nullptr;
  RowWord* out = a.out + first_unit * a.planes * plane;
  const int64_t begin = part * a.rows_per_part;
  const int64_t end = begin + a.rows_per_part < a.rows ? begin + a.rows_per_part : a.rows;
  for (int m = int(threadIdx.x); m < maps; m += kByteThreads) seen[m] = 0;
  __syncthreads();
  // Rows of at most 32 words stand side by side in a warp, longer ones take several turns. All lanes take all turns: they vote.
  const bool is_short = a.words <= kLanes;
  const int beside = rows_beside(a.words), place = a.words < kLanes ? lane / a.words : 0, first_word = lane - place * a.words;
  for (int64_t first = begin + int64_t(threadIdx.x >> 5) * beside; first < end; first += kByteThreads / 32 * beside) {
    const bool mine = place < beside && first + place < end;
    const int64_t row = mine ? first + place : first;
    for (int base = 0; base < a.words; base += kLanes) {
      const int word = base + first_word;
      const int64_t x = int64_t(word) * 32;
      const uint32_t here = mine ? voxels_of_word(a.width, word) : 0u;
      uint32_t bytes[8], known = here;
      if (valid) {
        load_bytes(valid + row * a.width, x, a.width, a.in_sixteens, bytes);
        known &= word_of(bytes, nonzero_bytes);
      }
      load_bytes(data + row * a.width, x, a.width, a.in_sixteens, bytes);
      if constexpr (kLabels) {
        const uint32_t classes = uint32_t(a.classes), ignore = uint32_t(a.ignore);
        if (classes < 256) known &= word_of(bytes, [=](uint32_t four) { return bytes_below(four, classes); });
        if (a.has_ignore) known &= ~word_of(bytes, [=](uint32_t four) { return bytes_equal(four, ignore); });
      }
      for (int m = 0; m < maps; ++m) {
        uint32_t inside;
        if constexpr (kLabels) {
          const uint32_t label = uint32_t(a.first_class) + uint32_t(m);
          inside = label < 256 ? known & word_of(bytes, [=](uint32_t four) { return bytes_equal(four, label); }) : 0u;
        } else {
          inside = known & word_of(bytes, nonzero_bytes);
          if (a.span < 128) inside &= ~word_of(bytes, high_bits);  // of signed numbers, those above zero
        }
        const uint32_t outside = known & ~inside;
        const bool any_inside = __any_sync(0xffffffffu, inside != 0), any_outside = __any_sync(0xffffffffu, outside != 0);
        const bool any_ignored = __any_sync(0xffffffffu, (here & ~known) != 0);
        if (lane == 0)
          atomicOr(seen + m, (any_inside ? kSeenInside : 0) | (any_outside ? kSeenOutside : 0) | (any_ignored ? kSeenIgnored : 0));
        const uint32_t bits = a.mask_plane ? inside : here & ~inside, others = here & ~outside;
        RowWord* to = out + m * a.planes * plane + row * a.words + word;
        if (!is_short) {
          if (word < a.words) to->bits = bits;
          if (word < a.words && a.planes > 1) to[plane].bits = others;
          continue;
        }
        RowWord linked = linked_word(bits, mine, a.width, a.words, word, Outside{a.border, !a.mask_plane});
        if (mine) *to = linked;
        if (a.planes == 1) continue;
        // Where nothing is ignored the other plane is the complement, outside too, and has the same edges.
        if (any_ignored) linked = linked_word(others, mine, a.width, a.words, word, Outside{a.border, false});
        linked.bits = others;
        if (mine) to[plane] = linked;
      }
    }
    if (is_short) continue;
    for (int m = 0; m < maps; ++m) {
      RowWord* line = out + m * a.planes * plane + row * a.words;
      link_row(line, a.width, a.words, Outside{a.border, !a.mask_plane}, Row::kClasses, lane);
      if (a.planes > 1) link_row(line + plane, a.width, a.words, Outside{a.border, false}, Row::kClasses, lane);
    }
  }
  __syncthreads();
  if (!a.seen) return;
  for (int m = int(threadIdx.x); m < maps; m += kByteThreads) a.seen[(first_unit + m) * a.parts + part] = seen[m];
}

}  // namespace fastdist::cuda
