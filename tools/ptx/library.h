// The kernels of this library: what its objects register as they are loaded, and what is made of it for one architecture.
#pragma once

#include <string>
#include <vector>

#include "module.h"

namespace ptx {

// Reads and translates every kernel of the library for an architecture, such as 90; Error where that cannot be done.
void open_library(int target);

// All kernels that have been translated, of the library and of modules that were loaded besides.
std::vector<Kernel*> all_kernels();

// A module of its own, translated; it lives as long as the process.
Module& load(const std::string& text);

}  // namespace ptx
