// Parallel loops without a pool.
//
// Threads are started for one loop and joined at its end. That costs some 20 us a thread, nothing beside the milliseconds
// of work it is used for, and leaves nothing behind that a fork could lose: a forked child (a DataLoader worker) that
// waits for the parent's OpenMP pool waits for ever.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace fastdist {

// How many threads a call may use, and what is left for nested loops.
struct Threads {
  int count = 1;
  static constexpr int64_t kVoxelsPerThread = 100000;  // below this, starting a thread costs more than it saves

  Threads for_voxels(int64_t voxels) const {
    const int64_t worth = voxels / kVoxelsPerThread;
    return {worth < 1 ? 1 : worth < count ? int(worth) : count};
  }

  // body(begin, end) over chunks of [0, items); `grain` items to a chunk, handed out as threads become free. A chunk for which
  // a helping thread finds no memory is done again by the calling one: what only more threads need is no reason to fail.
  template <class Body>
  void loop(int64_t items, int64_t grain, const Body& body) const {
    const int64_t chunks = (items + grain - 1) / grain;
    const int64_t used = chunks < count ? chunks : count;
    if (used <= 1) {
      if (items > 0) body(int64_t(0), items);
      return;
    }
    std::atomic<int64_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_mutex;
    struct Helper {
      int64_t left = -1;  // the chunk that it found no memory for
      std::thread thread;
    };
    std::vector<Helper> helpers;
    helpers.reserve(size_t(used - 1));
    auto run = [&](int64_t chunk) {
      const int64_t begin = chunk * grain;
      body(begin, begin + grain < items ? begin + grain : items);
    };
    auto work = [&](int64_t* left) {
      int64_t chunk = 0;
      try {
        while ((chunk = next.fetch_add(1)) < chunks) run(chunk);
      } catch (const std::bad_alloc&) {
        if (left != nullptr) {
          *left = chunk;
        } else {
          std::lock_guard<std::mutex> lock(failure_mutex);
          if (!failure) failure = std::current_exception();
          next.store(chunks);
        }
      } catch (...) {
        std::lock_guard<std::mutex> lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        next.store(chunks);
      }
    };
    try {
      for (int64_t t = 1; t < used; ++t) {
        Helper& helper = helpers.emplace_back();
        helper.thread = std::thread(work, &helper.left);
      }
    } catch (...) {
      // No more threads, or no memory for one: those that started, and this one, do the work. An exception that left here would
      // find threads that nobody has joined, which ends the process.
    }
    work(nullptr);
    for (Helper& helper : helpers)
      if (helper.thread.joinable()) helper.thread.join();
    if (failure) std::rethrow_exception(failure);
    for (const Helper& helper : helpers)
      if (helper.left >= 0) run(helper.left);
  }

  // A grain that gives each thread several chunks, so that an uneven image does not leave one waiting.
  int64_t grain(int64_t items) const {
    const int64_t chunks = int64_t(count) * 8;
    return items <= chunks ? 1 : (items + chunks - 1) / chunks;
  }
};

}  // namespace fastdist
