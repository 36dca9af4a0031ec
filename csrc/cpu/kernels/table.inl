// One instruction-set level: the file that includes this defines FASTDIST_LEVEL and is compiled for it.
#include "pack.h"
#include "passes.h"
#include "sums.h"

#define FASTDIST_STRING2(x) #x
#define FASTDIST_STRING(x) FASTDIST_STRING2(x)

namespace fastdist::FASTDIST_LEVEL {
extern const KernelTable kTable;
const KernelTable kTable = {
    FASTDIST_STRING(FASTDIST_LEVEL),
    pack,
    pack_equal,
    pack_differ,
    classify,
    {plane<uint32_t>, plane<uint64_t>, plane<float>, plane<double>},
    {axis<uint32_t>, axis<uint64_t>, axis<float>, axis<double>},
    sums,
    gradient,
};
}  // namespace fastdist::FASTDIST_LEVEL
