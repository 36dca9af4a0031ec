#define FASTDIST_LEVEL baseline
#include "kernels/table.inl"
