// Splitting the text of PTX.
#pragma once

#include <cctype>
#include <string>
#include <vector>

namespace ptx {

inline std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n\r"), last = text.find_last_not_of(" \t\n\r");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// At a character outside of braces and brackets; every part is trimmed.
inline std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts{""};
  int depth = 0;
  for (char c : text) {
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (c == at && depth == 0) parts.emplace_back();
    else parts.back() += c;
  }
  for (std::string& part : parts) part = trimmed(part);
  return parts;
}

inline std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> found;
  bool within = false;
  for (char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space && !within) found.emplace_back();
    if (!space) found.back() += c;
    within = !space;
  }
  return found;
}

inline bool starts_with(const std::string& text, const char* head) { return text.rfind(head, 0) == 0; }

// Bytes of a number of this type, such as "u32"; 0 of a predicate, -1 of what is none.
inline int bytes_of_type(const std::string& type) {
  if (type == "pred") return 0;
  if (type.size() < 2 || std::string("busf").find(type[0]) == std::string::npos) return -1;
  const std::string size = type.substr(type[0] == 'b' && type[1] == 'f' ? 2 : 1);
  return size == "8" ? 1 : size == "16" ? 2 : size == "32" ? 4 : size == "64" ? 8 : -1;
}

}  // namespace ptx
