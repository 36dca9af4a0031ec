#include "passes.inl"

namespace fastdist::cuda {
template void run_passes_in<Long>(const Passes&, const Context&);
}
