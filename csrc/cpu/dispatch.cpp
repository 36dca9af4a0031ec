// Picks the kernels for this processor, once.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernel_table.h"

namespace fastdist {

namespace baseline { extern const KernelTable kTable; }
#if defined(__x86_64__) && !defined(FASTDIST_NO_X86_LEVELS)
namespace v3 { extern const KernelTable kTable; }
namespace v4 { extern const KernelTable kTable; }
#endif

static const KernelTable* choose() {
  const char* wanted = std::getenv("FASTDIST_CPU_LEVEL");
  const KernelTable* best = &baseline::kTable;
  const KernelTable* named = wanted && !std::strcmp(wanted, "baseline") ? best : nullptr;
#if defined(__x86_64__) && !defined(FASTDIST_NO_X86_LEVELS)
  __builtin_cpu_init();
  for (const auto& [table, runs] : {std::pair{&v3::kTable, __builtin_cpu_supports("x86-64-v3") != 0},
                                    std::pair{&v4::kTable, __builtin_cpu_supports("x86-64-v4") != 0}}) {
    if (!runs) continue;
    best = table;
    if (wanted && !std::strcmp(wanted, table->name)) named = table;
  }
#endif
  if (wanted && *wanted && !named)
    throw std::invalid_argument(std::string("FASTDIST_CPU_LEVEL: expected a level that this processor runs, from "
                                            "baseline to ") + best->name + ", got " + wanted);
  return named ? named : best;
}

const KernelTable& kernels() {
  static const KernelTable* table = choose();
  return *table;
}

}  // namespace fastdist
