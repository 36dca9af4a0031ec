// What the host may ask of the library through C (fastdist/providers/ptx.py). The answer is null where it worked, else why not.
#include <cstring>
#include <string>

#include "../../csrc/cuda/stand_in.h"
#include "launch.h"
#define FASTDIST_EXPORT extern "C" __attribute__((visibility("default")))

namespace fastdist {

// csrc/cuda/stand_in.h
void poison(void* memory, int64_t bytes) {
  if (bytes > 0) std::memset(memory, 0xa5, size_t(bytes));
}
void register_memory(const void* memory, int64_t bytes, bool writable) { ptx::register_range(memory, bytes, writable); }
void forget_memory(const void* memory, int64_t bytes) { ptx::forget_range(memory, bytes); }

}  // namespace fastdist

namespace ptx {
namespace {

thread_local std::string answer;  // until the thread's next call

template <class Work>
const char* attempt(const Work& work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    answer = error.what();
    return answer.c_str();
  }
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

std::string field(const char* name, uint64_t value) { return quoted(name) + ": " + std::to_string(value); }

std::string numbers(const Count& count) {
  return field("instructions", count.executed) + ", " + field("lanes", count.lanes) + ", " +
         field("sectors_read", count.sectors_read) + ", " + field("sectors_written", count.sectors_written) + ", " +
         field("shared_waves", count.waves);
}

void add(Count& sum, const Count& count) {
  sum.executed += count.executed;
  sum.lanes += count.lanes;
  sum.sectors_read += count.sectors_read;
  sum.sectors_written += count.sectors_written;
  sum.waves += count.waves;
}

constexpr const char* kKinds[] = {"plain", "memory", "branch", "exit", "shuffle", "vote", "warp sync", "barrier"};

}  // namespace
}  // namespace ptx

using namespace ptx;

// Translates all kernels for an architecture, 90 for sm_90; 0: the environment's.
FASTDIST_EXPORT const char* fastdist_ptx_open(int target) {
  return attempt([&] { open_library(target ? target : settings().target); });
}

// "forward", "reverse" or "shuffled".
FASTDIST_EXPORT const char* fastdist_ptx_set_schedule(const char* name, uint64_t seed) {
  const std::string text = name;
  if (text != "forward" && text != "reverse" && text != "shuffled") {
    answer = "schedule: got '" + text + "', expected 'forward', 'reverse' or 'shuffled'";
    return answer.c_str();
  }
  settings().order = text == "forward" ? Order::kForward : text == "reverse" ? Order::kReverse : Order::kShuffled;
  settings().seed = uint32_t(seed);
  return nullptr;
}

FASTDIST_EXPORT void fastdist_ptx_watch(bool races, bool costs) {
  settings().races = races;
  settings().costs = costs;
}

FASTDIST_EXPORT void fastdist_ptx_reset_counts() {
  for (Kernel* kernel : all_kernels()) {
    kernel->counts.assign(kernel->code.size(), Count{});
    kernel->launches = kernel->blocks = kernel->threads = 0;
  }
}

// JSON, of kernels that have run: {"name": {"launches": n, ..., "lines": {"file:line": {...}}}}
FASTDIST_EXPORT const char* fastdist_ptx_counts() {
  answer = "{";
  for (Kernel* kernel : all_kernels()) {
    if (kernel->launches == 0) continue;
    Count all;
    std::map<std::string, Count> lines;
    for (size_t k = 0; k < kernel->code.size(); ++k) {
      const Count& count = kernel->counts[k];
      if (count.executed == 0) continue;
      add(all, count);
      add(lines[describe(*kernel->module, kernel->code[k].at)], count);
    }
    answer += (answer.size() > 1 ? ",\n" : "") + quoted(kernel->readable) + ": {" + field("launches", kernel->launches) + ", " +
              field("blocks", kernel->blocks) + ", " + field("threads", kernel->threads) + ", " + numbers(all) + ", \"lines\": {";
    bool first = true;
    for (const auto& [line, count] : lines) {
      answer += (first ? "" : ", ") + quoted(line) + ": {" + numbers(count) + "}";
      first = false;
    }
    answer += "}}";
  }
  answer += "}";
  return answer.c_str();
}

// JSON, of what is no plain instruction or branch: where it is, and how many lanes have executed it.
FASTDIST_EXPORT const char* fastdist_ptx_instructions() {
  answer = "[";
  for (Kernel* kernel : all_kernels()) {
    if (kernel->module->target != settings().target) continue;
    for (size_t k = 0; k < kernel->code.size(); ++k) {
      const Instruction& i = kernel->code[k];
      if (i.kind == Kind::kPlain || i.kind == Kind::kBranch || i.kind == Kind::kExit) continue;
      answer += (answer.size() > 1 ? ",\n{" : "{") + ("\"kernel\": " + quoted(kernel->readable)) + ", " + field("place", k) +
                ", \"opcode\": " + quoted(i.opcode) + ", \"kind\": " + quoted(kKinds[int(i.kind)]) + ", " +
                field("line", uint64_t(i.line)) + ", \"source\": " + quoted(describe(*kernel->module, i)) + ", " + field("bytes", i.data.size()) + ", " +
                field("lanes", kernel->counts[k].lanes) + "}";
    }
  }
  answer += "]";
  return answer.c_str();
}

// Puts a mistake into a kernel, at the place of an instruction (launch.h), or takes all out of it again.
FASTDIST_EXPORT const char* fastdist_ptx_plant(const char* kernel, uint64_t place, const char* mistake) {
  return attempt([&] { plant(kernel, place, mistake); });
}
FASTDIST_EXPORT void fastdist_ptx_mend() { mend(); }

// Other PTX than the library's: translated, and launched with these arguments on memory that was registered.
FASTDIST_EXPORT const char* fastdist_ptx_load(const char* text, void** module) {
  return attempt([&] { *module = &load(text); });
}
FASTDIST_EXPORT const char* fastdist_ptx_launch(void* module, const char* name, const uint32_t* grid, const uint32_t* block,
                                                uint32_t shared, void** arguments) {
  return attempt([&] {
    Kernel& kernel = kernel_of(*static_cast<Module*>(module), name);
    launch(kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, arguments, shared);
  });
}
FASTDIST_EXPORT void fastdist_ptx_register(const void* memory, int64_t bytes, bool writable) {
  register_range(memory, bytes, writable);
}
FASTDIST_EXPORT void fastdist_ptx_forget(const void* memory, int64_t bytes) { forget_range(memory, bytes); }
