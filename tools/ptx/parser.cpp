// Statements, operands and instructions of one kernel. What is not known is an error that names the line.
#include <cxxabi.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>

#include "forms.h"
#include "module.h"
#include "text.h"

namespace ptx {
namespace {

// Opcodes as they are told, one text for all instructions.
const char* interned(const std::string& text) {
  static std::set<std::string> all;
  return all.insert(text).first->c_str();
}

std::string readable(const std::string& symbol) {
  int status = 0;
  char* name = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string text = status == 0 ? name : symbol;
  std::free(name);
  text = text.substr(text.compare(0, 5, "void ") == 0 ? 5 : 0);
  int depth = 0;  // up to the parameters, but for parentheses within <>
  for (size_t k = 0; k < text.size(); ++k) {
    if (text[k] == '<') ++depth;
    if (text[k] == '>') --depth;
    if (text[k] == '(' && depth == 0) text.resize(k);
  }
  const std::string space = "fastdist::cuda::";
  for (size_t at; (at = text.find(space)) != std::string::npos;) text.erase(at, space.size());
  return text;
}

void no_operation(Warp&, const Instruction&, uint32_t) {}

// mov between a register and the parts of which it is made.
void pack(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    u64 bits = 0;
    for (int k = 0; k < i.data.count; ++k) bits |= warp.get(i.data.element[k], i.data.width[k], l) << (8 * k * i.data.width[k]);
    warp.set(i.operand[0], i.data.bytes, l, bits);
  }
}
void unpack(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (int l = 0; l < kLanes; ++l) {
    if (!(lanes >> l & 1)) continue;
    const u64 bits = warp.get(i.operand[1], i.data.bytes, l);
    for (int k = 0; k < i.data.count; ++k) warp.set(i.data.element[k], i.data.width[k], l, bits >> (8 * k * i.data.width[k]));
  }
}

void active_mask(Warp& warp, const Instruction& i, uint32_t lanes) {
  for (int l = 0; l < kLanes; ++l)
    if (lanes >> l & 1) warp.at<u32>(i.operand[0])[l] = lanes;
}

struct Register {
  uint32_t place;
  int bytes;  // 0: a predicate
};

class Parser {
 public:
  Parser(Module& module, Kernel& kernel) : module_(module), kernel_(kernel) {}

  void parameters(const std::string& text) {
    for (const std::string& declaration : split(text, ',')) {
      if (declaration.empty()) continue;
      std::string name;
      int element;
      Symbol symbol = declared(declaration, &name, &element);
      kernel_.parameter_bytes = rounded(kernel_.parameter_bytes, symbol.align);
      symbol.value = kernel_.parameter_bytes;
      kernel_.parameters.push_back({kernel_.parameter_bytes, symbol.bytes});
      kernel_.parameter_bytes += symbol.bytes;
      symbols_[name] = symbol;
    }
  }

  // From behind the opening brace to before the closing one.
  void body(const std::string& text, size_t begin, size_t end, int line) {
    line_ = line;
    std::string statement;
    for (size_t k = begin; k < end; ++k) {
      const char c = text[k];
      if (c == '\n') ++line_;
      if (statement.empty()) {
        if (std::isspace(c)) continue;
        if (text.compare(k, 4, ".loc") == 0 || text.compare(k, 5, ".file") == 0) {
          const size_t stop = std::min(text.find('\n', k), end);
          if (text[k + 1] == 'l') location(text.substr(k, stop - k));
          k = stop - 1;
          continue;
        }
        if (c == '{') {
          scopes_.emplace_back();
          continue;
        }
        if (c == '}') {
          scopes_.pop_back();
          continue;
        }
      }
      if (c == ';') {
        run_statement(trimmed(statement));
        statement.clear();
      } else if (c == ':' && statement[0] == '$') {
        labels_[trimmed(statement)] = uint32_t(kernel_.code.size());
        statement.clear();
      } else {
        statement += c;
      }
    }
    Instruction last;  // falls off its end
    last.kind = Kind::kExit;
    last.opcode = interned("ret");
    last.line = line_;
    kernel_.code.push_back(last);
    for (const auto& [at, label] : jumps_) {
      const auto found = labels_.find(label);
      if (found == labels_.end()) fail("there is no label " + label);
      kernel_.code[at].target = found->second;
    }
    kernel_.register_bytes = used_;
    kernel_.counts.resize(kernel_.code.size());
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error("kernel " + kernel_.readable + ", PTX line " + std::to_string(line_) + " for sm_" +
                std::to_string(module_.target) + ": " + what);
  }

  static uint32_t rounded(uint32_t number, uint32_t to) { return (number + to - 1) / to * to; }

  uint32_t room_for(int bytes) {
    const uint32_t place = used_;
    used_ = rounded(used_ + (bytes == 0 ? 4 : uint32_t(bytes) * kLanes), 64);
    return place;
  }

  void location(const std::string& text) {
    int file = 0, line = 0, outer_file = 0, outer_line = 0;
    std::sscanf(text.c_str(), ".loc %d %d", &file, &line);
    const size_t at = text.find("inlined_at");
    if (at != std::string::npos) std::sscanf(text.c_str() + at, "inlined_at %d %d", &outer_file, &outer_line);
    at_ = {file, line};
    inlined_at_ = {outer_file, outer_line};
  }

  void run_statement(const std::string& text) {
    if (text.empty()) return;
    if (text[0] == '.') {
      if (starts_with(text, ".reg")) return registers(text);
      if (starts_with(text, ".pragma")) return;
      if (starts_with(text, ".shared") || starts_with(text, ".local")) return variable(text);
      fail("cannot translate " + text);
    }
    Instruction i;
    i.line = line_;
    i.at = at_;
    i.inlined_at = inlined_at_;
    std::string rest = text;
    if (text[0] == '@') {
      const size_t end = text.find_first_of(" \t\n");
      i.negated = text[1] == '!';
      i.guard = operand(text.substr(i.negated ? 2 : 1, end - (i.negated ? 2 : 1)), 0);
      rest = trimmed(text.substr(end));
    }
    const size_t end = rest.find_first_of(" \t\n");
    const std::string opcode = rest.substr(0, end);
    std::vector<std::string> operands;
    if (end != std::string::npos) operands = split(rest.substr(end), ',');
    i.opcode = interned(opcode);
    translate(i, opcode, operands);
    kernel_.code.push_back(i);
  }

  void registers(const std::string& text) {  // ".reg .b32 %r<305>", ".reg .pred p, q"
    const size_t type_at = text.find('.', 4), names_at = text.find_first_of(" \t", type_at);
    const int bytes = bytes_of_type(text.substr(type_at + 1, names_at - type_at - 1));
    if (bytes < 0) fail("cannot translate " + text);
    for (const std::string& name : split(text.substr(names_at), ',')) {
      const size_t many = name.find('<');
      if (many == std::string::npos) scopes_.back()[name] = {room_for(bytes), bytes};
      else families_[name.substr(0, many)] = {std::atoi(name.c_str() + many + 1), bytes};
    }
  }

  void variable(const std::string& text) {
    std::string name;
    int element;
    Symbol symbol = declared(text, &name, &element);
    place_variable(symbol);
    symbols_[name] = symbol;
  }

  void place_variable(Symbol& symbol) {
    uint32_t& bytes = symbol.space == Space::kShared ? kernel_.static_shared : kernel_.local_bytes;
    symbol.value = rounded(bytes, symbol.align);
    bytes = uint32_t(symbol.value) + symbol.bytes;
  }

  std::optional<Register> find(const std::string& name) {
    for (size_t k = scopes_.size(); k-- > 0;) {
      const auto found = scopes_[k].find(name);
      if (found != scopes_[k].end()) return found->second;
    }
    size_t digits = name.size();
    while (digits > 0 && std::isdigit(name[digits - 1])) --digits;
    const auto family = families_.find(name.substr(0, digits));
    if (family == families_.end() || digits == name.size() || std::atoi(name.c_str() + digits) >= family->second.first) return {};
    const Register made{room_for(family->second.second), family->second.second};
    scopes_[0][name] = made;
    return made;
  }

  uint32_t constant(uint64_t bits, int bytes) {
    if (bytes > 0 && bytes < 8) bits &= (uint64_t(1) << (8 * bytes)) - 1;
    const auto [found, fresh] = constants_.emplace(std::pair(bits, bytes), 0);
    if (fresh) {
      found->second = room_for(bytes);
      kernel_.constants.push_back({found->second, uint32_t(bytes), bits});
    }
    return found->second;
  }

  // A source of so many bytes; 0: a predicate.
  uint32_t operand(const std::string& text, int bytes) {
    if (text.empty()) fail("an operand is missing");
    if (const auto found = find(text)) {
      if (found->bytes != bytes)
        fail("operand " + text + " has " + std::to_string(found->bytes) + " bytes, expected " + std::to_string(bytes));
      return found->place;
    }
    if (text[0] == '%') return special(text, bytes);
    const char kind = text.size() > 1 && text[0] == '0' ? char(std::tolower(text[1])) : ' ';
    if (kind == 'f' && bytes == 4) return constant(std::strtoull(text.c_str() + 2, nullptr, 16), 4);
    if (kind == 'd' && bytes == 8) return constant(std::strtoull(text.c_str() + 2, nullptr, 16), 8);
    if (std::isdigit(text[0]) || text[0] == '-') {
      const bool negative = text[0] == '-';
      const uint64_t bits = std::strtoull(text.c_str() + negative, nullptr, 0) * (negative ? ~uint64_t(0) : 1);
      return constant(bytes == 0 && bits ? kAll : bits, bytes);
    }
    return pointer(text, bytes);
  }

  uint32_t special(const std::string& name, int bytes) {
    const auto found = std::find(std::begin(kSpecials), std::end(kSpecials), name);
    if (found == std::end(kSpecials) || bytes != 4) fail("cannot translate register " + name);
    const auto [known, fresh] = specials_.emplace(name, 0);
    if (fresh) {
      known->second = room_for(4);
      kernel_.specials.push_back({known->second, int(found - std::begin(kSpecials))});
    }
    return known->second;
  }

  // The address of a variable or a parameter, in its own space.
  uint32_t pointer(const std::string& name, int bytes) {
    if (symbols_.count(name) == 0) {
      const auto of_module = module_.symbols.find(name);
      if (of_module == module_.symbols.end()) fail("unknown name " + name);
      Symbol symbol = of_module->second;
      if (symbol.space == Space::kShared && symbol.bytes > 0) place_variable(symbol);
      symbols_[name] = symbol;
    }
    const Symbol& symbol = symbols_[name];
    const auto [known, fresh] = pointers_.emplace(std::pair(name, bytes), 0);
    if (fresh) {
      known->second = room_for(bytes);
      const bool dynamic = symbol.space == Space::kShared && symbol.bytes == 0;
      kernel_.pointers.push_back({known->second, uint32_t(bytes), symbol.space, dynamic, symbol.value});
    }
    return known->second;
  }

  uint32_t destination(const std::string& text, int bytes) {
    if (text == "_") return kNone;
    const auto found = find(text);
    if (!found || found->bytes != bytes) fail("cannot translate destination " + text);
    return found->place;
  }

  void address(Instruction& i, const std::string& text) {
    if (text.size() < 3 || text.front() != '[' || text.back() != ']') fail("cannot translate address " + text);
    std::string base = trimmed(text.substr(1, text.size() - 2));
    const size_t sign = base.find_first_of("+-", 1);
    if (sign != std::string::npos) {
      i.offset = std::strtoll(base.c_str() + sign + (base[sign] == '+'), nullptr, 0);
      base = trimmed(base.substr(0, sign));
    }
    if (const auto found = find(base)) {
      if (found->bytes != 8 && found->bytes != 4) fail("cannot translate address " + text);
      i.operand[1] = found->place;
      i.wide_address = found->bytes == 8;
    } else {
      i.operand[1] = operand(base, 8);
    }
  }

  // The registers of a vector in memory.
  void elements(Instruction& i, const std::string& text) {
    const std::vector<std::string> names = text[0] == '{' ? split(text.substr(1, text.size() - 2), ',') : std::vector{text};
    if (int(names.size()) != i.data.count) fail("cannot translate vector " + text);
    for (size_t k = 0; k < names.size(); ++k) {
      const auto found = find(names[k]);
      i.data.width[k] = uint8_t(found ? found->bytes : std::max(int(i.data.bytes), 2));
      i.data.element[k] = found ? found->place : names[k] == "_" && !i.writes ? kNone : operand(names[k], i.data.width[k]);
      if (i.data.width[k] < i.data.bytes) fail("element " + names[k] + " is too small");
    }
  }

  void translate(Instruction& i, const std::string& opcode, std::vector<std::string>& o) {
    const std::vector<std::string> parts = split(opcode, '.');
    const std::string &name = parts[0], &type = parts.back();
    const auto has = [&](const char* part) { return std::find(parts.begin(), parts.end(), part) != parts.end(); };
    const auto need = [&](size_t count) {
      if (o.size() != count) fail("cannot translate " + opcode + " with " + std::to_string(o.size()) + " operands");
    };
    if (name == "mov" && o.size() == 2 && (o[0][0] == '{' || o[1][0] == '{')) return parts_of_register(i, bytes_of_type(type), o);
    if (name == "cvt" && parts.size() == 3 && o.size() == 2 && converts_integers(i, parts, o)) return;
    const auto known = forms().find(opcode);
    if (known != forms().end()) {
      const Form& form = known->second;
      need(size_t(form.operands));
      i.run = form.run;
      if (name == "setp") {
        const auto both = split(o[0], '|');
        o[0] = both[0];
        if (both.size() > 1) i.second = destination(both[1], 0);
      }
      i.operand[0] = destination(o[0], form.bytes[0]);
      for (int k = 1; k < form.operands; ++k) i.operand[k] = operand(o[size_t(k)], form.bytes[k]);
    } else if (name == "ret" || name == "exit") {
      i.kind = Kind::kExit;
    } else if (name == "bra") {
      need(1);
      i.kind = Kind::kBranch;
      jumps_.emplace_back(kernel_.code.size(), o[0]);
    } else if (name == "ld" || name == "st") {
      need(2);
      memory(i, parts, name == "st");
      address(i, o[i.writes ? 0 : 1]);
      elements(i, o[i.writes ? 1 : 0]);
      i.run = i.writes ? store_handler(i.data.bytes) : load_handler(i.data.bytes, i.data.is_signed);
    } else if (name == "atom" || name == "red") {
      need(name == "atom" ? 3 : 2);
      memory(i, parts, true);
      i.atomic = true;
      i.run = atomic_handler(parts[parts.size() - 2], type);
      if (!i.run) fail("unknown instruction " + opcode);
      if (name == "atom") i.operand[0] = destination(o[0], i.data.bytes);
      address(i, o[o.size() - 2]);
      i.operand[2] = operand(o.back(), i.data.bytes);
    } else if (starts_with(opcode, "shfl.sync.") && type == "b32") {
      need(5);
      i.kind = Kind::kShuffle;
      i.run = shuffle;
      i.mode = has("up") ? Mode::kUp : has("down") ? Mode::kDown : has("bfly") ? Mode::kButterfly : Mode::kIndex;
      const auto both = split(o[0], '|');
      i.operand[0] = destination(both[0], 4);
      if (both.size() > 1) i.second = destination(both[1], 0);
      for (size_t k = 1; k < 5; ++k) i.operand[k] = operand(o[k], 4);
    } else if (starts_with(opcode, "vote.sync.")) {
      need(3);
      i.kind = Kind::kVote;
      i.run = vote;
      i.mode = has("any") ? Mode::kAny : has("all") ? Mode::kAllOf : has("uni") ? Mode::kUniform : Mode::kBallot;
      i.operand[0] = destination(o[0], i.mode == Mode::kBallot ? 4 : 0);
      i.operand[1] = voter(i, o[1]);
      i.operand[4] = operand(o[2], 4);
    } else if (opcode == "bar.warp.sync") {
      need(1);
      i.kind = Kind::kWarpSync;
      i.operand[4] = operand(o[0], 4);
    } else if ((name == "bar" || name == "barrier") && has("sync") && o.size() == 1 && o[0] == "0") {
      i.kind = Kind::kBarrier;
    } else if (starts_with(opcode, "bar.red.") && o.size() == 3 && o[1] == "0") {
      i.kind = Kind::kBarrier;
      i.mode = has("or") ? Mode::kAny : has("and") ? Mode::kAllOf : Mode::kCount;
      i.operand[0] = destination(o[0], i.mode == Mode::kCount ? 4 : 0);
      i.operand[1] = voter(i, o[2]);
    } else if (opcode == "activemask.b32") {
      need(1);
      i.operand[0] = destination(o[0], 4);
      i.run = active_mask;
    } else if (name == "membar" || name == "fence") {
      i.run = no_operation;  // memory is one here; threads are ordered by barriers
    } else {
      fail("unknown instruction " + opcode);
    }
  }

  // Where a register is wider than its type.
  bool converts_integers(Instruction& i, const std::vector<std::string>& parts, const std::vector<std::string>& o) {
    const auto is_integer = [](const std::string& type) { return type[0] == 'u' || type[0] == 's'; };
    const int to = bytes_of_type(parts[1]), from = bytes_of_type(parts[2]);
    const auto destination = find(o[0]), source = find(o[1]);
    if (!is_integer(parts[1]) || !is_integer(parts[2]) || !destination || !source) return false;
    if (destination->bytes == to && source->bytes == from) return false;
    if (destination->bytes < to || source->bytes < from) return false;
    i.run = convert_in_wide_registers;
    i.operand[0] = destination->place;
    i.operand[1] = source->place;
    i.data.width[0] = uint8_t(destination->bytes);
    i.data.width[1] = uint8_t(source->bytes);
    i.data.bytes = uint8_t(from);
    i.data.is_signed = parts[2][0] == 's';
    i.data.count = uint8_t(to);
    i.writes = parts[1][0] == 's';
    return true;
  }

  uint32_t voter(Instruction& i, const std::string& text) {
    i.negated_source = text[0] == '!';
    return operand(text.substr(i.negated_source), 0);
  }

  void memory(Instruction& i, const std::vector<std::string>& parts, bool writes) {
    const int bytes = bytes_of_type(parts.back());
    if (bytes <= 0) fail("unknown type " + parts.back());
    i.kind = Kind::kMemory;
    i.writes = writes;
    i.data.bytes = uint8_t(bytes);
    i.data.is_signed = parts.back()[0] == 's';
    for (size_t k = 1; k + 1 < parts.size(); ++k) {
      const std::string& part = parts[k];
      if (part == "v2" || part == "v4") i.data.count = part == "v2" ? 2 : 4;
      if (part == "global" || part == "const") i.space = Space::kGlobal;
      if (part == "shared") i.space = Space::kShared;
      if (part == "param") i.space = Space::kParam;
      if (part == "local") i.space = Space::kLocal;
    }
    if (writes && i.space == Space::kShared && bytes < 4) kernel_.small_stores = true;
  }

  void parts_of_register(Instruction& i, int bytes, const std::vector<std::string>& o) {
    const bool packs = o[1][0] == '{';
    const std::string& text = o[packs ? 1 : 0];
    const std::vector<std::string> names = split(text.substr(1, text.size() - 2), ',');
    i.data.count = uint8_t(names.size());
    i.data.bytes = uint8_t(bytes);
    const int each = bytes / int(names.size());
    for (size_t k = 0; k < names.size(); ++k) {
      i.data.width[k] = uint8_t(each);
      i.data.element[k] = packs ? operand(names[k], each) : destination(names[k], each);
    }
    i.run = packs ? pack : unpack;
    if (packs) i.operand[0] = destination(o[0], bytes);
    else i.operand[1] = operand(o[1], bytes);
  }

  Module& module_;
  Kernel& kernel_;
  int line_ = 0;
  Place at_, inlined_at_;
  uint32_t used_ = 0;
  std::vector<std::unordered_map<std::string, Register>> scopes_{1};
  std::unordered_map<std::string, std::pair<int, int>> families_;  // "%r": how many, of how many bytes
  std::unordered_map<std::string, Symbol> symbols_;
  std::unordered_map<std::string, uint32_t> labels_, specials_;
  std::vector<std::pair<size_t, std::string>> jumps_;
  std::map<std::pair<uint64_t, int>, uint32_t> constants_;
  std::map<std::pair<std::string, int>, uint32_t> pointers_;
};

}  // namespace

std::unique_ptr<Kernel> translated(Module& module, const std::string& name) {
  const Module::Entry& entry = module.entries.at(name);
  const std::string& text = module.text;
  auto kernel = std::make_unique<Kernel>();
  kernel->name = name;
  kernel->readable = readable(name);
  kernel->module = &module;
  Parser parser(module, *kernel);
  size_t open = entry.begin;
  if (text[entry.begin] == '(') {
    const size_t close = text.find(')', entry.begin);
    parser.parameters(text.substr(entry.begin + 1, close - entry.begin - 1));
    open = text.find('{', close);
  }
  const int line = entry.line + int(std::count(text.begin() + ptrdiff_t(entry.begin), text.begin() + ptrdiff_t(open), '\n'));
  parser.body(text, open + 1, entry.end - 1, line);
  return kernel;
}

}  // namespace ptx
