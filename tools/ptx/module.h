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

// A declaration of a variable or a parameter: its name, and the bytes of one element.
Symbol declared(const std::string& declaration, std::string* name, int* element);

// parser.cpp: a kernel that the module has.
std::unique_ptr<Kernel> translated(Module& module, const std::string& name);

// Special registers in the order of their numbers: what a lane of a warp of a block finds there.
constexpr const char* kSpecials[] = {"%tid.x",   "%tid.y",   "%tid.z",    "%ntid.x",   "%ntid.y",   "%ntid.z", "%ctaid.x",
                                     "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"};

// "columns.cuh:88, inlined at columns.cuh:120"
std::string describe(const Module& module, const Instruction& instruction);
std::string describe(const Module& module, const Place& place);

}  // namespace ptx
