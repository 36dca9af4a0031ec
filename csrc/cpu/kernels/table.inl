// One instruction-set level: the file that includes this defines FASTDIST_LEVEL and is compiled for it.
#include "pack.h"
#include "passes.h"
#include "sites.h"
#include "sums.h"

#define FASTDIST_STRING2(x) #x
#define FASTDIST_STRING(x) FASTDIST_STRING2(x)
#define FASTDIST_SITES(kernel, sum) {kernel<sum, int16_t>, kernel<sum, int32_t>, kernel<sum, int64_t>}

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
    {sweep<int16_t>, sweep<int32_t>, sweep<int64_t>},
    {FASTDIST_SITES(site_pass, Keys<uint32_t>), FASTDIST_SITES(site_pass, Keys<double>), FASTDIST_SITES(site_pass, Keys<uint64_t>),
     FASTDIST_SITES(site_pass, Pairs)},
    {FASTDIST_SITES(site_finish, Keys<uint32_t>), FASTDIST_SITES(site_finish, Keys<double>),
     FASTDIST_SITES(site_finish, Keys<uint64_t>), FASTDIST_SITES(site_finish, Pairs)},
    sums,
    gradient,
};
}  // namespace fastdist::FASTDIST_LEVEL
