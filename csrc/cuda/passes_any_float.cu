#include "passes.inl"

namespace fastdist::cuda {
template void run_passes_in<AnyFloat>(const Passes&, const Context&);
}
