// The two kinds of pass: a plane (rows and the first column axis, straight from bits), and a further axis.
#pragma once

#include "finish.h"

namespace fastdist::FASTDIST_LEVEL {

// Workspace: the runs of one tile and its block minima, then a group of tiles, each [padded rows][kTile] at the most.
template <class T>
struct Workspace {
  T* run;
  T* minima;
  Workspace(void* memory, int64_t length) {
    run = static_cast<T*>(memory);
    minima = run + padded_rows(length) * kTile;
  }
};

template <class T, class Each>
FASTDIST_INLINE void hand_out_rows(const T* tile, int64_t rows, const Each& finish) {
  for (int64_t y = 0; y < rows; y += kBlock)
    for (int v = 0; v < kVectorsPerTile<T>; ++v) {
      Vec<T> best[kBlock];
      for (int k = 0; k < kBlock; ++k) best[k] = reinterpret_cast<const Vec<T>*>(tile)[(y + k) * kVectorsPerTile<T> + v];
      finish(y, v, best, false);
    }
}

template <class T, class Each>
void plane_tile(const PlanePass& pass, int64_t x, T* tile, Workspace<T>& work, const Each& finish) {
  if (pass.one_row) return hand_out_rows(tile, pass.height, finish);
  const T* cost = static_cast<const T*>(pass.cost);
  const T* run = nullptr;
  if (pass.edges_y) run = fill_runs<T>(pass.height, cost[1], pass.edges_y + (x >> 6), words_per_row(pass.width), x & 63, work.run);
  columns(tile, run, pass.height, cost, work.minima, finish);
}

// Groups of tiles that lie within one word of bits: 1, 2 or 4 of them.
template <class T>
void plane(const PlanePass& pass, const Sink& sink, int64_t first_group, int64_t last_group, void* memory) {
  const int64_t words = words_per_row(pass.width), tile_size = padded_rows(pass.height) * kTile;
  const int64_t group_columns = int64_t(pass.group) * kTile;
  Workspace<T> work(memory, pass.height);
  T* group = work.minima + tile_size;
  for (int64_t g = first_group; g < last_group; ++g) {
    const int64_t begin = g * group_columns;
    const int64_t tiles_left = (pass.width - begin + kTile - 1) / kTile;
    const int tiles = tiles_left < pass.group ? int(tiles_left) : pass.group;
    fill_rows<T>(pass, begin, tiles, group);
    for (int t = 0; t < tiles; ++t) {
      const int64_t x = begin + t * kTile;
      T* tile = group + t * tile_size;
      pad_tile(pass.height, tile);
      TilePlace place{x, pass.width, pass.height, pass.width, x, words, pass.first_row * words + (x >> 6)};
      switch (sink.finish) {
        case Finish::kStore:
          plane_tile(pass, x, tile, work, Store<T>{static_cast<T*>(sink.out), place});
          break;
        case Finish::kMapF32:
          plane_tile(pass, x, tile, work, Map<T, float>{static_cast<float*>(sink.out), place, sink.epilogue, sink.stream});
          break;
        case Finish::kMapF64:
          if constexpr (!__is_same(T, float))
            plane_tile(pass, x, tile, work, Map<T, double>{static_cast<double*>(sink.out), place, sink.epilogue, sink.stream});
          break;
      }
    }
  }
  end_of_stream();
}

// Tiles of an axis pass are fetched in groups of adjacent ones: a row of the group is several neighbouring cache lines, and
// the rows are a whole plane apart. Straight into a buffer: such rows often fall into the same few sets of the caches.
template <class T>
void fetch_group(const AxisPass& pass, int64_t row, int64_t x, int tiles, T* group) {
  const int64_t plane = pass.rows * pass.width, tile_size = padded_rows(pass.length) * kTile;
  const T* source = static_cast<const T*>(pass.source) + row * pass.width + x;
  const int64_t columns = pass.width - x < int64_t(tiles) * kTile ? pass.width - x : int64_t(tiles) * kTile;
  for (int64_t z = 0; z < pass.length; ++z) {
    const T* from = source + z * plane;
    T* to = group + z * kTile;
    int64_t done = 0;
    for (; done + kTile <= columns; done += kTile, to += tile_size) __builtin_memcpy(to, from + done, kTile * sizeof(T));
    if (done < columns)
      for (int k = 0; k < kTile; ++k) to[k] = done + k < columns ? from[done + k] : kFar<T>;
  }
  for (int t = 0; t < tiles; ++t) pad_tile(pass.length, group + t * tile_size);
}

template <class T, class Each>
void axis_tile(const AxisPass& pass, int64_t row, int64_t x, T* tile, Workspace<T>& work, const Each& finish) {
  const T* cost = static_cast<const T*>(pass.cost);
  const T* run = nullptr;
  if (pass.edges)
    run = fill_runs<T>(pass.length, cost[1], pass.edges + row * pass.words + (x >> 6), pass.rows * pass.words, x & 63, work.run);
  columns(tile, run, pass.length, cost, work.minima, finish);
}

template <class T>
void axis(const AxisPass& pass, const Sink& sink, int64_t first_group, int64_t last_group, void* memory) {
  Workspace<T> work(memory, pass.length);
  const int64_t tile_size = padded_rows(pass.length) * kTile;
  T* group = work.minima + tile_size;
  const int64_t group_columns = int64_t(pass.group) * kTile, per_row = (pass.width + group_columns - 1) / group_columns;
  for (int64_t g = first_group; g < last_group; ++g) {
    const int64_t row = g / per_row, begin = g % per_row * group_columns;
    const int64_t tiles_left = (pass.width - begin + kTile - 1) / kTile;
    const int tiles = tiles_left < pass.group ? int(tiles_left) : pass.group;
    fetch_group(pass, row, begin, tiles, group);
    for (int t = 0; t < tiles; ++t) {
      const int64_t x = begin + t * kTile;
      T* tile = group + t * tile_size;
      TilePlace place{x, pass.width, pass.length, pass.rows * pass.width, row * pass.width + x,
                      pass.rows * pass.words, (pass.first_row + row) * pass.words + (x >> 6)};
      switch (sink.finish) {
        case Finish::kStore:
          axis_tile(pass, row, x, tile, work, Store<T>{static_cast<T*>(sink.out), place});
          break;
        case Finish::kMapF32:
          axis_tile(pass, row, x, tile, work, Map<T, float>{static_cast<float*>(sink.out), place, sink.epilogue, sink.stream});
          break;
        case Finish::kMapF64:
          if constexpr (!__is_same(T, float))
            axis_tile(pass, row, x, tile, work, Map<T, double>{static_cast<double*>(sink.out), place, sink.epilogue, sink.stream});
          break;
      }
    }
  }
  end_of_stream();
}

}  // namespace fastdist::FASTDIST_LEVEL
