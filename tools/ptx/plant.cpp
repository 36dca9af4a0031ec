// Mistakes that tests put into kernels (launch.h).
#include <bit>
#include <map>

#include "launch.h"

namespace ptx {
namespace {

std::map<std::pair<Kernel*, uint64_t>, Instruction> planted;  // what stood there

void no_operation(Warp&, const Instruction&, uint32_t) {}

void lone_vote(Warp& warp, const Instruction& i, uint32_t lanes) {
  const uint32_t word = warp.predicate(i.operand[1]), ayes = (i.negated_source ? ~word : word) & lanes;
  if (i.mode == Mode::kCount) {
    for (int l = 0; l < kLanes; ++l)
      if (lanes >> l & 1) warp.at<uint32_t>(i.operand[0])[l] = uint32_t(std::popcount(ayes));
    return;
  }
  uint32_t& to = warp.predicate(i.operand[0]);
  to = (to & ~lanes) | ((i.mode == Mode::kAny ? ayes != 0 : ayes == lanes) ? lanes : 0);
}

}  // namespace

void plant(const std::string& name, uint64_t place, const std::string& mistake) {
  for (Kernel* kernel : all_kernels()) {
    if (kernel->readable != name || kernel->module->target != settings().target || place >= kernel->code.size()) continue;
    Instruction& i = kernel->code[place];
    const bool barrier = i.kind == Kind::kBarrier || i.kind == Kind::kWarpSync;
    const bool collective = i.kind == Kind::kShuffle || i.kind == Kind::kVote || i.kind == Kind::kWarpSync;
    planted.emplace(std::pair(kernel, place), i);
    if (mistake == "leave out" && barrier) {
      i.run = i.kind == Kind::kBarrier && i.mode != Mode::kSync ? lone_vote : no_operation;
      i.kind = Kind::kPlain;
    } else if (mistake == "misalign" && i.kind == Kind::kMemory && i.data.size() > 1) {
      i.offset += i.data.size() / 2;
    } else if (mistake == "beyond" && i.kind == Kind::kMemory) {
      i.offset += int64_t(1) << 40;
    } else if (mistake == "mask" && collective) {
      i.left_out = 1;
    } else {
      throw Error("nothing to " + mistake + " at " + i.opcode);
    }
    return;
  }
  throw Error("no kernel " + name + " for sm_" + std::to_string(settings().target));
}

void mend() {
  for (const auto& [where, instruction] : planted) where.first->code[where.second] = instruction;
  planted.clear();
}

}  // namespace ptx
