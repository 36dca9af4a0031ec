#include "passes.inl"

namespace fastdist::cuda {
template void run_passes_in<ExactFloat>(const Passes&, const Context&);
}
