// Mistakes that tests put into kernels, to see whether they are found.
#pragma once

#include <cstdint>
#include <string>

namespace ptx {

// "leave out": a barrier does nothing; one that votes answers for the lanes of the warp alone.
// "misalign": an access is half its size further on. "beyond": far outside of all memory.
// "mask": the lowest lane of a collective is not among its members.
void plant(const std::string& kernel, uint64_t place, const std::string& mistake);

// All kernels are as they were.
void mend();

}  // namespace ptx
