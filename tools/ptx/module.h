// A module of PTX: its text, its variables and its kernels, translated when they are asked for.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "instruction.h"
#include "memory.h"

namespace ptx {

// What cannot be read or translated: one line that says what and where.
struct Error : std::runtime_error {
  using runtime_error::runtime_error;
};

constexpr int kNewestVersion = 90;  // of PTX, 10 * major + minor: CUDA 13.0's

struct Symbol {
  Space space;
  uint32_t bytes, align;
  int64_t value;
};

struct Module {
  std::string text;                  // without comments, lines as they were
  int target = 0;                    // 90 for sm_90
  std::map<int, std::string> files;  // by their numbers in .loc
  struct Entry {
    size_t begin, end;  // of "(parameters) { body }"
    int line;
  };
  std::map<std::string, Entry> entries;
  std::map<std::string, Symbol> symbols;
  std::map<std::string, std::unique_ptr<Kernel>> kernels;
  std::vector<std::unique_ptr<std::vector<char>>> variables;
};

std::unique_ptr<Module> read_module(const std::string& text);

// The kernel of this name; Error where the module has none, or an instruction of it is not known.
Kernel& kernel_of(Module& module, const std::string& name);

// "columns.cuh:88, inlined at columns.cuh:120"
std::string describe(const Module& module, const Instruction& instruction);
std::string describe(const Module& module, const Place& place);

}  // namespace ptx
