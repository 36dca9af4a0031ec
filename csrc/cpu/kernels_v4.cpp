#define FASTDIST_LEVEL v4
#include "kernels/table.inl"
