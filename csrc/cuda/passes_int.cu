#include "passes.inl"

namespace fastdist::cuda {
template void run_passes_in<Int>(const Passes&, const Context&);
}
