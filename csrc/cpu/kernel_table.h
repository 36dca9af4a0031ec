// What the host code hands to the kernels: plain structs of pointers and numbers, and one table of functions per
// instruction-set level. `dispatch.cpp` picks the table once.
#pragma once

#include <cstdint>

#include "../core/elements.h"

namespace fastdist {

// Columns are processed kTile at a time and in blocks of kBlock rows, on every level.
constexpr int kTile = 16;
constexpr int kBlock = 8;
__attribute__((always_inline)) inline int64_t padded_rows(int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// Bit planes. A row of W voxels takes W / 64 + 1 words, so that position W, the row's end, has a bit too.
__attribute__((always_inline)) inline int64_t words_per_row(int64_t width) { return width / 64 + 1; }

// For each word of a row the nearest set bit outside of it; positions beyond any row mean "none".
constexpr int64_t kNoneBefore = -(int64_t(1) << 40);
constexpr int64_t kNoneAfter = int64_t(1) << 40;
struct Neighbours {
  int64_t before;  // last set bit before the word
  int64_t after;   // first set bit behind the word
};

// How a distance in units of the metric becomes an output value; all lengths are physical.
struct Epilogue {
  double scale = 1;                     // physical length of one unit
  double inside_shift = 0;              // inside:  inside_shift - distance
  double outside_shift = 0;             // outside: distance - outside_shift
  double clip = 0;                      // largest magnitude; infinity for none
  bool below_2_24 = true;               // squared distances fit a float exactly; otherwise roots go through double
  const uint64_t* inside = nullptr;     // bit plane of the voxels that are inside, or null
  const uint64_t* keep = nullptr;       // bit plane of the voxels whose output stays as it is, or null
};

enum class Finish {
  kStore,    // squared distances in the arithmetic's own type
  kMapF32,   // values through the epilogue
  kMapF64,
};

// Where distances to the nearest sources and the sources' coordinates go.
struct NearestOutput {
  double scale = 1;
  bool squared = false;         // distances are wanted squared
  Element distance_type = Element::kF64;
  void* distances = nullptr;    // of this image
  void* indices = nullptr;      // axis 0's coordinates of this image
  int64_t axis_stride = 0;      // elements from one axis' coordinates to the next axis'
  bool wide = false;            // int64 indices instead of int32
};

// The passes that find nearest sources (kernels/sites.h) work on chunks of planes, each being the voxels of one place on the first
// axis: whole planes one after the other, or kTile planes interleaved, [voxels of a plane][kTile].
enum class Sum { kU32, kF64, kU64, kPair };  // which sums know their row: keys of three kinds, or pairs
enum class RowType { k16, k32, k64 };        // of the rows that are remembered

constexpr int kMostAxes = 64;
constexpr int kSitePart = 128;  // voxels that are finished together
constexpr int kSiteTiles = 4;  // of padded rows x kTile x 8 bytes: the workspace of a pass

struct SitePass {
  int64_t length, inner;        // voxels along the axis, and from one to the next
  int64_t lines;                // along this axis in the chunk
  const uint64_t* set;          // the first axis: [length][words], voxels whose bit is clear are sources
  int64_t words;
  int lanes;                    // planes that are interleaved: 1 or kTile
  int64_t first_plane;          // of the chunk
  int64_t plane, planes;        // elements from one plane of the chunk to the next, and their number
  const void* first;            // the second axis: the rows of the first one, from which sums begin; readable kTile behind
  double first_step, first_weight;
  void* values;                 // of the chunk: sums, in place; readable kTile^2 elements behind
  void* rows;                   // of the chunk: the row that serves each voxel
  void* separated;              // the last axis, where planes are interleaved: results go here, plane by plane, and so do rows
  int64_t voxels_of_plane;
  const void* cost;             // to row 0 of itself; costs lie before and behind
  int bits;                     // of a row in a key
  bool last;
};

struct SiteFinish {
  int ndim;
  int64_t length[kMostAxes];    // of the axes
  int64_t step[kMostAxes];      // elements from one to the next along each
  int axis[kMostAxes];          // their numbers in the output
  const void* rows[kMostAxes];  // of the chunk
  const void* values;           // of the chunk: sums
  int bits;
  double unshift;               // 2^-bits
  bool small;                   // the chunk has less than 2^31 elements
  bool stream;                  // write past the caches
  int64_t first_voxel;          // of the chunk
  int lanes, planes;            // as in SitePass; planes that exist
  int64_t plane;                // voxels of a plane
  int64_t voxels_of_part;       // voxels of the last two axes; of the last one, where planes of two axes are interleaved
  const NearestOutput* out;
};

// Rows and the first column axis of one plane, from bits to results.
struct PlanePass {
  int64_t width, height;
  const uint64_t* edges_x;          // [height][words]: bit x set where voxels x - 1 and x differ
  const Neighbours* neighbours;     // [height][words], of edges_x
  const uint64_t* edges_y;          // [height + 1][words]: between rows y - 1 and y; null: one-sided
  const uint64_t* foreground;       // [height][words]: voxels whose bit is clear are at distance 0; null: two-sided
  double spacing_x, weight_x;
  const void* cost;                 // of the column axis
  bool one_row;                     // no column axis: results are the row distances
  int64_t first_row;                // of this plane within the bit planes of the epilogue
  int group;                        // tiles that are filled together: 1, 2 or 4
};

// A further axis. Tiles lie in the `rows` x `width` plane spanned by the axes behind it.
struct AxisPass {
  int64_t width, rows, length;      // length: voxels along the axis
  int64_t words;
  const uint64_t* edges;            // [length + 1][rows][words], or null: one-sided
  const void* source;               // squared distances, [length][rows][width]
  const void* cost;
  int64_t first_row;                // of this block of planes within the bit planes of the epilogue
  int group;                        // tiles that are fetched together
};

// Where a pass leaves its results.
struct Sink {
  Finish finish;
  void* out;                        // same element order as the image, from the pass's own first voxel
  const Epilogue* epilogue;
  bool stream;                      // write past the caches
};

// Logits and maps of one image.
struct SumsInput {
  const void* input;
  Element type;                   // f16, bf16, f32 or f64
  int64_t channels, first_class;
  int64_t channel_stride, voxel_stride;
  Activation activation;
  const void* maps;               // [channels - first_class][map_stride], double for double logits, else float
  int64_t map_stride;
  const uint8_t* known;           // per voxel from `begin` on, 0 = ignored; or null
  void* workspace;                // kSumsBytes per channel, 64-byte aligned
};
constexpr int64_t kSumsBytes = 128 * 8;

struct KernelTable {
  const char* name;
  // One row to bits; they return how many are set.
  int64_t (*pack)(const void* source, Element type, Predicate predicate, int64_t count, uint64_t* bits);
  int64_t (*pack_equal)(const uint16_t* classes, uint16_t wanted, int64_t count, uint64_t* bits);
  int64_t (*pack_differ)(const void* left, const void* right, Element type, int64_t count, uint64_t* bits);
  int64_t (*classify)(const void* labels, const LabelRange&, const uint8_t* valid, int64_t count, uint16_t* classes);
  // Indexed by Arithmetic.
  void (*plane[4])(const PlanePass&, const Sink&, int64_t first_group, int64_t last_group, void* workspace);
  void (*axis[4])(const AxisPass&, const Sink&, int64_t first_group, int64_t last_group, void* workspace);
  // Nearest sources: indexed by RowType, and by Sum.
  void (*sweep[3])(const SitePass&, int64_t first_word, int64_t last_word, void* workspace);
  void (*site_pass[4][3])(const SitePass&, int64_t first_tile, int64_t last_tile, void* workspace);
  void (*site_finish[4][3])(const SiteFinish&, int64_t first_part, int64_t last_part);
  // Over voxels [begin, end) of one image.
  void (*sums)(const SumsInput&, int64_t begin, int64_t end, double* sums);
  void (*gradient)(const SumsInput&, int64_t begin, int64_t end, const double* grad_sums, void* gradient);
};

// The fastest level that this processor runs, or the one that FASTDIST_CPU_LEVEL names.
const KernelTable& kernels();

}  // namespace fastdist
