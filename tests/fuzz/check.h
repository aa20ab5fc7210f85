// What all fuzz targets share: an invariant that says what broke, and a number drawn from the input.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace postern::fuzz {

// Ends the process if `holds` is false, with the rule and what it was about.
inline void check(bool holds, std::string_view rule, std::string_view about = {}) {
  if (holds) return;
  std::fprintf(stderr, "broken: %.*s\n%.*s\n", static_cast<int>(rule.size()), rule.data(),
               static_cast<int>(about.size()), about.data());
  std::abort();
}

inline void check_equal(std::string_view a, std::string_view b, std::string_view rule) {
  if (a != b) check(false, rule, std::string(a) + "\n<>\n" + std::string(b));
}

inline std::string_view view(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A number that depends on every byte: chooses where to cut, so that seeds can be plain messages. FNV-1a.
inline std::uint64_t number_of(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace postern::fuzz
