// From the text of a kernel to what is executed.
#pragma once

#include <memory>
#include <string>

#include "module.h"

namespace ptx {

std::unique_ptr<Kernel> translated(Module& module, const std::string& name);

// A declaration of a variable or a parameter: its name, and the bytes of one element.
Symbol declared(const std::string& declaration, std::string* name, int* element);

// Special registers in the order of their numbers: what a lane of a warp of a block finds there.
constexpr const char* kSpecials[] = {"%tid.x",    "%tid.y",    "%tid.z",    "%ntid.x",   "%ntid.y",   "%ntid.z",  "%ctaid.x",
                                     "%ctaid.y",  "%ctaid.z",  "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"};

}  // namespace ptx
