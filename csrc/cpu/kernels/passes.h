// The two kinds of pass: a plane (rows and the first column axis, straight from bits), and a further axis.
#pragma once

#include "finish.h"

namespace fastdist::FASTDIST_LEVEL {

// Bytes of workspace: a tile, its runs and the block minima, each [padded rows][kTile] at the most.
template <class T>
struct Workspace {
  T* tile;
  T* run;
  T* minima;
  Workspace(void* memory, int64_t length) {
    tile = static_cast<T*>(memory);
    run = tile + padded_rows(length) * kTile;
    minima = run + padded_rows(length) * kTile;
  }
};

template <class T, class Each>
FASTDIST_INLINE void hand_out_rows(const T* tile, int64_t rows, const Each& finish) {
  for (int64_t y = 0; y < rows; y += kBlock)
    for (int v = 0; v < kVectorsPerTile<T>; ++v) {
      Vec<T> best[kBlock];
      for (int k = 0; k < kBlock; ++k) best[k] = reinterpret_cast<const Vec<T>*>(tile)[(y + k) * kVectorsPerTile<T> + v];
      finish(y, v, best);
    }
}

template <class T, class Each>
void plane_tile(const PlanePass& pass, int64_t x, Workspace<T>& work, const Each& finish, bool keys) {
  const int64_t words = words_per_row(pass.width);
  if constexpr (__is_same(T, uint64_t)) {
    if (keys) fill_keys(pass, x, work.tile);
    else fill_rows<T>(pass, x, work.tile);
  } else {
    fill_rows<T>(pass, x, work.tile);
  }
  pad_tile(pass.height, work.tile);
  if (pass.one_row) return hand_out_rows(work.tile, pass.height, finish);
  const T* cost = static_cast<const T*>(pass.cost);
  if (pass.edges_y) {
    const uint64_t* edges = pass.edges_y + (x >> 6);
    const int shift = x & 63;
    fill_runs<T>(pass.height, cost[1], [&](int64_t y) { return uint32_t(edges[y * words] >> shift) & 0xffff; }, work.run);
    pad_tile(pass.height, work.run);
  }
  columns(work.tile, pass.edges_y ? work.run : nullptr, pass.height, cost, work.minima, finish);
}

template <class T>
void plane(const PlanePass& pass, const Sink& sink, int64_t first_tile, int64_t last_tile, void* memory) {
  const int64_t words = words_per_row(pass.width);
  Workspace<T> work(memory, pass.height);
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const int64_t x = t * kTile;
    TilePlace place{x, pass.width, pass.height, pass.width, x, words, pass.first_row * words + (x >> 6)};
    switch (sink.finish) {
      case Finish::kStore:
        plane_tile(pass, x, work, Store<T>{static_cast<T*>(sink.out), place}, sink.nearest != nullptr);
        break;
      case Finish::kMapF32:
        plane_tile(pass, x, work, Map<T, float>{static_cast<float*>(sink.out), place, sink.epilogue}, false);
        break;
      case Finish::kMapF64:
        if constexpr (!__is_same(T, float))
          plane_tile(pass, x, work, Map<T, double>{static_cast<double*>(sink.out), place, sink.epilogue}, false);
        break;
      case Finish::kNearest:
        place.out_begin += sink.first_voxel;
        if constexpr (__is_same(T, uint64_t)) plane_tile(pass, x, work, Unpack{sink.nearest, place}, true);
        break;
    }
  }
}

template <class T, class Each>
void axis_tile(const AxisPass& pass, int64_t row, int64_t x, Workspace<T>& work, const Each& finish, bool keys) {
  const int64_t plane = pass.rows * pass.width;
  const T* source = static_cast<const T*>(pass.source) + row * pass.width + x;
  const int count = pass.width - x < kTile ? int(pass.width - x) : kTile;
  for (int64_t z = 0; z < pass.length; ++z) {
    T* to = work.tile + z * kTile;
    const T* from = source + z * plane;
    if (count == kTile) {
      __builtin_memcpy(to, from, kTile * sizeof(T));
    } else {
      for (int k = 0; k < kTile; ++k) to[k] = k < count ? from[k] : kFar<T>;
    }
  }
  if constexpr (__is_same(T, uint64_t)) {
    if (keys)
      for (int64_t z = 0; z < pass.length; ++z)
        for (int k = 0; k < kTile; ++k) work.tile[z * kTile + k] += uint64_t(z) << pass.key_shift;
  }
  pad_tile(pass.length, work.tile);
  const T* cost = static_cast<const T*>(pass.cost);
  if (pass.edges) {
    const int64_t stride = pass.rows * pass.words;
    const uint64_t* edges = pass.edges + row * pass.words + (x >> 6);
    const int shift = x & 63;
    fill_runs<T>(pass.length, cost[1], [&](int64_t z) { return uint32_t(edges[z * stride] >> shift) & 0xffff; }, work.run);
    pad_tile(pass.length, work.run);
  }
  columns(work.tile, pass.edges ? work.run : nullptr, pass.length, cost, work.minima, finish);
}

template <class T>
void axis(const AxisPass& pass, const Sink& sink, int64_t first_tile, int64_t last_tile, void* memory) {
  Workspace<T> work(memory, pass.length);
  const int64_t per_row = (pass.width + kTile - 1) / kTile;
  for (int64_t t = first_tile; t < last_tile; ++t) {
    const int64_t row = t / per_row, x = t % per_row * kTile;
    TilePlace place{x, pass.width, pass.length, pass.rows * pass.width, row * pass.width + x,
                    pass.rows * pass.words, (pass.first_row + row) * pass.words + (x >> 6)};
    switch (sink.finish) {
      case Finish::kStore:
        axis_tile(pass, row, x, work, Store<T>{static_cast<T*>(sink.out), place}, sink.nearest != nullptr);
        break;
      case Finish::kMapF32:
        axis_tile(pass, row, x, work, Map<T, float>{static_cast<float*>(sink.out), place, sink.epilogue}, false);
        break;
      case Finish::kMapF64:
        if constexpr (!__is_same(T, float))
          axis_tile(pass, row, x, work, Map<T, double>{static_cast<double*>(sink.out), place, sink.epilogue}, false);
        break;
      case Finish::kNearest:
        place.out_begin += sink.first_voxel;
        if constexpr (__is_same(T, uint64_t)) axis_tile(pass, row, x, work, Unpack{sink.nearest, place}, true);
        break;
    }
  }
}

}  // namespace fastdist::FASTDIST_LEVEL
