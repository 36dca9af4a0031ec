// Modules: what lies outside of the kernels' bodies.
#include "module.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "text.h"

namespace ptx {
namespace {

std::string without_comments(const std::string& text) {
  std::string kept;
  kept.reserve(text.size());
  for (size_t k = 0; k < text.size(); ++k) {
    if (text.compare(k, 2, "//") == 0) {
      while (k < text.size() && text[k] != '\n') ++k;
      kept += '\n';
    } else if (text.compare(k, 2, "/*") == 0) {
      const size_t end = text.find("*/", k + 2);
      if (end == std::string::npos) throw Error("a comment of the PTX has no end");
      kept.append(size_t(std::count(text.begin() + ptrdiff_t(k), text.begin() + ptrdiff_t(end), '\n')), '\n');
      k = end + 1;
    } else {
      kept += text[k];
    }
  }
  return kept;
}

int number_after(const std::string& text, const char* directive) {  // ".version 9.0": 90, ".target sm_90a": 90
  const size_t at = text.find(directive);
  if (at == std::string::npos) return -1;
  int number = 0;
  for (size_t k = text.find_first_of("0123456789", at); k < text.size() && (std::isdigit(text[k]) || text[k] == '.'); ++k)
    if (text[k] != '.') number = 10 * number + (text[k] - '0');
  return number;
}

// The brace that closes the one at `open`.
size_t closing(const std::string& text, size_t open) {
  int depth = 0;
  for (size_t k = open; k < text.size(); ++k) {
    if (text[k] == '{') ++depth;
    if (text[k] == '}' && --depth == 0) return k;
  }
  throw Error("the PTX ends within braces");
}

void read_files(Module& module) {
  for (size_t at = module.text.find("\n.file"); at != std::string::npos; at = module.text.find("\n.file", at + 1)) {
    const size_t quote = module.text.find('"', at), end = module.text.find('"', quote + 1);
    if (end == std::string::npos) return;
    const std::string path = module.text.substr(quote + 1, end - quote - 1);
    module.files[std::atoi(module.text.c_str() + at + 6)] = path.substr(path.rfind('/') + 1);
  }
}

// What a variable of global or constant memory begins with.
void initialize(Module& module, Symbol& symbol, const std::string& declaration, int element) {
  auto memory = std::make_unique<std::vector<char>>(symbol.bytes + 16, char(0));
  char* begin = memory->data();
  const size_t equals = declaration.find('=');
  if (equals != std::string::npos) {
    std::string values = trimmed(declaration.substr(equals + 1));
    if (values[0] == '{') values = values.substr(1, values.rfind('}') - 1);
    size_t place = 0;
    for (const std::string& value : split(values, ',')) {
      const unsigned long long bits = std::strtoull(value.c_str(), nullptr, 0);
      if (place + size_t(element) <= symbol.bytes) std::memcpy(begin + place, &bits, size_t(element));
      place += size_t(element);
    }
  }
  symbol.value = reinterpret_cast<int64_t>(begin);
  module.variables.push_back(std::move(memory));
}

}  // namespace

// ".shared .align 16 .b8 memory[1024]", ".global .align 4 .u32 numbers[2] = {1, 2}"
Symbol declared(const std::string& declaration, std::string* name, int* element) {
  Symbol symbol{Space::kGlobal, 1, 1, 0};
  *element = 1;
  const std::vector<std::string> parts = words(declaration.substr(0, declaration.find('=')));
  for (size_t k = 0; k < parts.size(); ++k) {
    const std::string& word = parts[k];
    if (word == ".shared") symbol.space = Space::kShared;
    if (word == ".local") symbol.space = Space::kLocal;
    if (word == ".param") symbol.space = Space::kParam;
    if (word == ".align" && k + 1 < parts.size()) symbol.align = uint32_t(std::atoi(parts[++k].c_str()));
    if (word[0] != '.') *name = word;
    else if (bytes_of_type(word.substr(1)) > 0) *element = bytes_of_type(word.substr(1));
  }
  symbol.align = std::max(symbol.align, uint32_t(*element));
  const size_t bracket = name->find('[');
  const uint32_t count = bracket == std::string::npos ? 1 : uint32_t(std::atoi(name->c_str() + bracket + 1));
  *name = name->substr(0, bracket);
  symbol.bytes = count * uint32_t(*element);
  return symbol;
}

std::unique_ptr<Module> read_module(const std::string& text) {
  auto made = std::make_unique<Module>();
  Module& module = *made;
  module.text = without_comments(text);
  const int version = number_after(module.text, ".version");
  if (version < 0) throw Error("no PTX: it has no .version");
  if (version > kNewestVersion)
    throw Error("PTX of version " + std::to_string(version / 10) + "." + std::to_string(version % 10) + ", newer than " +
                std::to_string(kNewestVersion / 10) + "." + std::to_string(kNewestVersion % 10) + ", the newest that is known");
  module.target = number_after(module.text, ".target");
  read_files(module);
  const std::string& all = module.text;
  size_t at = all.find(".address_size");
  at = at == std::string::npos ? 0 : all.find('\n', at);
  while (at < all.size()) {
    const size_t stop = all.find_first_of(";({", at);
    if (stop == std::string::npos) break;
    std::string head = all.substr(at, stop - at);
    for (size_t file; (file = head.find(".file")) != std::string::npos;) head.erase(file, head.find('\n', file) - file);
    const size_t entry = head.find(".entry");
    if (entry != std::string::npos) {
      const size_t open = all.find('{', stop), end = closing(all, open);
      const int line = 1 + int(std::count(all.begin(), all.begin() + ptrdiff_t(stop), '\n'));
      module.entries[trimmed(head.substr(entry + 6))] = {stop, end + 1, line};
      at = end + 1;
    } else if (head.find(".func") != std::string::npos || head.find(".section") != std::string::npos) {
      const size_t end = all.find_first_of(";{", stop);  // called functions: a call is what is not known
      at = (end != std::string::npos && all[end] == '{' ? closing(all, end) : end) + 1;
    } else {
      const size_t end = all.find(';', stop);
      if (end == std::string::npos) break;
      const std::string declaration = all.substr(at, end - at);
      std::string name;
      int element;
      Symbol symbol = declared(declaration, &name, &element);
      if (symbol.space == Space::kGlobal) initialize(module, symbol, declaration, element);
      module.symbols[name] = symbol;
      at = end + 1;
    }
  }
  return made;
}

Kernel& kernel_of(Module& module, const std::string& name) {
  const auto found = module.kernels.find(name);
  if (found != module.kernels.end()) return *found->second;
  if (module.entries.count(name) == 0) throw Error("the PTX for sm_" + std::to_string(module.target) + " has no kernel " + name);
  return *module.kernels.emplace(name, translated(module, name)).first->second;
}

std::string describe(const Module& module, const Place& place) {
  const auto file = module.files.find(place.file);
  return file == module.files.end() ? "unknown source line" : file->second + ":" + std::to_string(place.line);
}

std::string describe(const Module& module, const Instruction& i) {
  std::string text = describe(module, i.at);
  if (i.inlined_at.file != 0) text += ", inlined at " + describe(module, i.inlined_at);
  return text;
}

}  // namespace ptx
