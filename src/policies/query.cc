#include "policies/query.h"

#include "base/strings.h"

namespace postern::policies {
namespace {

std::string_view decode(std::string_view text, Arena& arena) {
  if (text.find_first_of("%+") == std::string_view::npos) return text;
  const std::span<char> out = arena.allocate(text.size());
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i] == '+' ? ' ' : text[i];
    if (c == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      c = static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    }
    out[size++] = c;
  }
  return {out.data(), size};
}

}  // namespace

QueryParameter find_query_parameter(std::string_view query, std::string_view name, Arena& arena) {
  QueryParameter found;
  const std::span<char> kept = arena.allocate(query.size());
  std::size_t size = 0;
  std::string_view left = query;
  bool first = true;
  while (!left.empty()) {
    const std::size_t end = left.find('&');
    const std::string_view pair = left.substr(0, end);
    left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
    const std::size_t equals = pair.find('=');
    if (decode(pair.substr(0, equals), arena) == name) {
      ++found.count;
      found.value = equals == std::string_view::npos ? std::string_view() : decode(pair.substr(equals + 1), arena);
      continue;
    }
    if (!first) kept[size++] = '&';
    first = false;
    size += pair.copy(kept.data() + size, pair.size());
  }
  found.rest = found.count == 0 ? query : std::string_view(kept.data(), size);
  return found;
}

}  // namespace postern::policies
