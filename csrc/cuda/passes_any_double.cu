#include "passes.inl"

namespace fastdist::cuda {
template void run_passes_in<AnyDouble>(const Passes&, const Context&);
}
