#define FASTDIST_LEVEL v3
#include "kernels/table.inl"
