// Router: finds the route of a canonical target. Built once, immutable, shared by all loops.
//
// Host: exact beats wildcard ("*.example.com", the longest first) beats any. Path templates: "/orders/{id}" where {id}
// is one segment, "/files/*" where * is the rest (perhaps empty). At every segment a literal beats {name} beats *, from
// left to right; what a more specific host or template does not serve, a less specific one may. A GET route serves
// HEAD. Trailing slashes count, matching is literal and case-sensitive.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace postern::route {

struct RouteSpec {
  std::string_view host;  // "" any, "api.example.com", "*.example.com"; lower-case
  std::string_view path;
  std::span<const std::string> methods;  // empty: all
  std::uint32_t value = 0;
};

struct Match {
  std::uint32_t value = 0;
  std::string allow;  // with method_not_allowed: "GET, HEAD, POST", sorted
};

enum class Lookup : std::uint8_t { found, no_route, method_not_allowed };

class Router {
 public:
  Router() = default;

  // The error's detail says which template is wrong, or which two are the same.
  [[nodiscard]] static Result<Router> build(std::span<const RouteSpec> routes);

  [[nodiscard]] Lookup lookup(std::string_view host, std::string_view path, std::string_view method,
                              Match& match) const;

  // Bytes held, for the budget.
  [[nodiscard]] std::size_t memory() const noexcept;

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  struct Leaf {  // one method of one template; a list by index
    std::uint32_t next = kNone;
    std::uint32_t method = kNone;  // offset in text_; kNone: all
    std::uint32_t method_size = 0;
    std::uint32_t value = 0;
  };
  struct Node {
    std::uint32_t parameter = kNone;  // child for {name}
    std::uint32_t leaves = kNone;     // templates that end here
    std::uint32_t tail = kNone;       // leaves of "/*"
    std::uint32_t literals = 0;       // how many edges
  };
  struct Edge {  // slot of an open-addressed table
    std::uint32_t parent = kNone;
    std::uint32_t child = 0;
    std::uint32_t text = 0;
    std::uint32_t size = 0;
  };
  struct HostTree {
    std::string name;  // exact, or ".example.com" for a wildcard
    std::uint32_t root = 0;
  };
  class Search;
  class Builder;

  [[nodiscard]] std::string_view text(std::uint32_t offset, std::uint32_t size) const noexcept {
    return std::string_view(text_).substr(offset, size);
  }
  [[nodiscard]] std::uint32_t find_edge(std::uint32_t parent, std::string_view segment) const noexcept;
  // nullptr if `trees`, which are sorted, have no such name.
  [[nodiscard]] static const HostTree* find_host(const std::vector<HostTree>& trees, std::string_view name) noexcept;

  std::string text_;
  std::vector<Node> nodes_;
  std::vector<Leaf> leaves_;
  std::vector<Edge> edges_;          // a power of two, at most half full
  std::vector<HostTree> exact_;      // sorted by name
  std::vector<HostTree> wildcards_;  // sorted by name
  std::uint32_t any_host_ = kNone;
};

}  // namespace postern::route
