#include "route/router.h"

#include <algorithm>
#include <functional>
#include <unordered_map>

#include "base/strings.h"
#include "http/target.h"

namespace postern::route {
namespace {

constexpr std::size_t kMaxSegments = 64;

std::size_t edge_hash(std::uint32_t parent, std::string_view segment) noexcept {
  return (std::hash<std::string_view>()(segment) ^ (parent * 0x9e3779b97f4a7c15u));
}

std::unexpected<Error> refuse(const RouteSpec& route, std::string_view why) {
  return fail(Code::bad_target, Side::gateway, std::string(route.path) + ": " + std::string(why));
}

bool is_parameter(std::string_view segment) noexcept {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

}  // namespace

class Router::Builder {
 public:
  [[nodiscard]] Result<void> add(const RouteSpec& route) {
    if (route.path.empty() || route.path[0] != '/') return refuse(route, "a path begins with '/'");
    std::uint32_t node = root_of(route.host);
    std::string_view rest = route.path.substr(1);
    std::vector<std::string_view> names;
    for (std::size_t depth = 0;; ++depth) {
      if (depth == kMaxSegments) return refuse(route, "more than 64 segments");
      const std::size_t slash = rest.find('/');
      const std::string_view segment = rest.substr(0, slash);
      const bool last = slash == std::string_view::npos;
      if (segment == "*") {
        if (!last) return refuse(route, "'*' may only be the last segment");
        return add_leaves(route, router_.nodes_[node].tail);
      }
      if (is_parameter(segment)) {
        const std::string_view name = segment.substr(1, segment.size() - 2);
        if (std::find(names.begin(), names.end(), name) != names.end()) return refuse(route, "a name appears twice");
        names.push_back(name);
        if (router_.nodes_[node].parameter == kNone) {
          const std::uint32_t child = new_node();
          router_.nodes_[node].parameter = child;
        }
        node = router_.nodes_[node].parameter;
      } else {
        if (segment.find_first_of("{}*") != std::string_view::npos) {
          return refuse(route, "{name} and * stand for whole segments");
        }
        Result<std::string> literal = canonical_segment(route, segment, last);
        if (!literal) return std::unexpected(std::move(literal.error()));
        node = literal_child(node, *literal);
      }
      if (last) return add_leaves(route, router_.nodes_[node].leaves);
      rest = rest.substr(slash + 1);
    }
  }

  [[nodiscard]] Router finish() {
    std::size_t slots = 16;
    while (slots < pending_.size() * 2) slots *= 2;
    router_.edges_.assign(slots, Edge{});
    for (const Edge& edge : pending_) {
      std::size_t slot = edge_hash(edge.parent, router_.text(edge.text, edge.size)) & (slots - 1);
      while (router_.edges_[slot].parent != kNone) slot = (slot + 1) & (slots - 1);
      router_.edges_[slot] = edge;
    }
    for (std::vector<HostTree>* const trees : {&router_.exact_, &router_.wildcards_}) {
      std::sort(trees->begin(), trees->end(), [](const HostTree& a, const HostTree& b) { return a.name < b.name; });
    }
    router_.nodes_.shrink_to_fit();
    router_.leaves_.shrink_to_fit();
    router_.text_.shrink_to_fit();
    return std::move(router_);
  }

 private:
  // The same code as for requests, so that a template matches what it looks like.
  static Result<std::string> canonical_segment(const RouteSpec& route, std::string_view segment, bool last) {
    if (segment.empty()) {
      if (last) return std::string();
      return refuse(route, "an empty segment: no request can have one");
    }
    Arena arena;
    const auto canonical = http::canonicalize_path(arena.join("/", segment), arena);
    if (!canonical) return refuse(route, canonical.error().detail());
    if (canonical->size() < 2 || canonical->find('/', 1) != std::string_view::npos) {
      return refuse(route, "a dot segment: no request can have one");
    }
    return std::string(canonical->substr(1));
  }

  std::uint32_t new_node() {
    router_.nodes_.emplace_back();
    return static_cast<std::uint32_t>(router_.nodes_.size() - 1);
  }

  std::uint32_t root_of(std::string_view host) {
    if (host.empty()) {
      if (router_.any_host_ == kNone) router_.any_host_ = new_node();
      return router_.any_host_;
    }
    const bool wildcard = host.starts_with("*.");
    std::vector<HostTree>& trees = wildcard ? router_.wildcards_ : router_.exact_;
    const std::string_view name = wildcard ? host.substr(1) : host;
    const auto [it, fresh] = roots_.try_emplace(std::string(host), 0);
    if (fresh) {
      it->second = new_node();
      trees.push_back({std::string(name), it->second});
    }
    return it->second;
  }

  std::uint32_t literal_child(std::uint32_t parent, std::string_view segment) {
    std::string key = std::to_string(parent) + '/' + std::string(segment);
    const auto [it, fresh] = children_.try_emplace(std::move(key), 0);
    if (!fresh) return it->second;
    const std::uint32_t child = new_node();
    it->second = child;
    ++router_.nodes_[parent].literals;
    pending_.push_back({parent, child, intern(segment), static_cast<std::uint32_t>(segment.size())});
    return child;
  }

  std::uint32_t intern(std::string_view word) {
    const auto [it, fresh] = words_.try_emplace(std::string(word), static_cast<std::uint32_t>(router_.text_.size()));
    if (fresh) router_.text_.append(word);
    return it->second;
  }

  Result<void> add_leaves(const RouteSpec& route, std::uint32_t& head) {
    std::vector<std::string_view> methods(route.methods.begin(), route.methods.end());
    if (methods.empty()) methods.emplace_back();
    for (const std::string_view method : methods) {
      for (std::uint32_t i = head; i != kNone; i = router_.leaves_[i].next) {
        const Leaf& leaf = router_.leaves_[i];
        if (method.empty() ? leaf.method == kNone
                           : leaf.method != kNone && router_.text(leaf.method, leaf.method_size) == method) {
          return refuse(route, "two routes with the same host, path and method");
        }
      }
      Leaf leaf;
      leaf.next = head;
      leaf.value = route.value;
      if (!method.empty()) {
        leaf.method = intern(method);
        leaf.method_size = static_cast<std::uint32_t>(method.size());
      }
      head = static_cast<std::uint32_t>(router_.leaves_.size());
      router_.leaves_.push_back(leaf);
    }
    return {};
  }

  Router router_;
  std::vector<Edge> pending_;
  std::unordered_map<std::string, std::uint32_t> roots_;
  std::unordered_map<std::string, std::uint32_t> children_;
  std::unordered_map<std::string, std::uint32_t> words_;
};

// One lookup: walks a tree depth first, most specific branch first. Every node of the tree is visited at most once,
// because a node's depth fixes its place in the path; so no set of templates makes it exponential.
class Router::Search {
 public:
  Search(const Router& router, std::string_view method) : router_(router), method_(method) {}

  // `rest` is the path after the slash that ended the previous segment.
  [[nodiscard]] std::uint32_t walk(std::uint32_t node, std::string_view rest) {
    const Node& here = router_.nodes_[node];
    const std::size_t slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    const bool last = slash == std::string_view::npos;
    if (here.literals != 0) {
      const std::uint32_t child = router_.find_edge(node, segment);
      const std::uint32_t found = child == kNone ? kNone : step(child, last, rest, slash);
      if (found != kNone) return found;
    }
    if (here.parameter != kNone && !segment.empty()) {
      const std::uint32_t found = step(here.parameter, last, rest, slash);
      if (found != kNone) return found;
    }
    return here.tail == kNone ? kNone : select(here.tail);
  }

  [[nodiscard]] bool other_methods() const noexcept { return !allowed_.empty(); }
  // In alphabetical order, so that it does not depend on that of the routes.
  [[nodiscard]] std::string allow() {
    std::sort(allowed_.begin(), allowed_.end());
    std::string out;
    for (const std::string_view method : allowed_) {
      if (!out.empty()) out += ", ";
      out += method;
    }
    return out;
  }

 private:
  std::uint32_t step(std::uint32_t child, bool last, std::string_view rest, std::size_t slash) {
    if (!last) return walk(child, rest.substr(slash + 1));
    const std::uint32_t leaves = router_.nodes_[child].leaves;
    return leaves == kNone ? kNone : select(leaves);
  }

  std::uint32_t select(std::uint32_t head) {
    std::uint32_t all = kNone;
    std::uint32_t get = kNone;
    for (std::uint32_t i = head; i != kNone; i = router_.leaves_[i].next) {
      const Leaf& leaf = router_.leaves_[i];
      if (leaf.method == kNone) {
        all = i;
        continue;
      }
      const std::string_view method = router_.text(leaf.method, leaf.method_size);
      if (method == method_) return leaf.value;
      if (method == "GET") get = i;
    }
    if (method_ == "HEAD" && get != kNone) return router_.leaves_[get].value;
    if (all != kNone) return router_.leaves_[all].value;
    for (std::uint32_t i = head; i != kNone; i = router_.leaves_[i].next) {
      const Leaf& leaf = router_.leaves_[i];
      allow_method(router_.text(leaf.method, leaf.method_size));
    }
    if (get != kNone) allow_method("HEAD");
    return kNone;
  }

  void allow_method(std::string_view method) {
    if (std::find(allowed_.begin(), allowed_.end(), method) == allowed_.end()) allowed_.push_back(method);
  }

  const Router& router_;
  std::string_view method_;
  std::vector<std::string_view> allowed_;
};

Result<Router> Router::build(std::span<const RouteSpec> routes) {
  Builder builder;
  for (const RouteSpec& route : routes) {
    Result<void> added = builder.add(route);
    if (!added) return std::unexpected(std::move(added.error()));
  }
  return builder.finish();
}

std::uint32_t Router::find_edge(std::uint32_t parent, std::string_view segment) const noexcept {
  const std::size_t mask = edges_.size() - 1;
  for (std::size_t slot = edge_hash(parent, segment) & mask; edges_[slot].parent != kNone; slot = (slot + 1) & mask) {
    const Edge& edge = edges_[slot];
    if (edge.parent == parent && text(edge.text, edge.size) == segment) return edge.child;
  }
  return kNone;
}

const Router::HostTree* Router::find_host(const std::vector<HostTree>& trees, std::string_view name) noexcept {
  const auto tree = std::lower_bound(trees.begin(), trees.end(), name,
                                     [](const HostTree& t, std::string_view wanted) { return t.name < wanted; });
  return tree != trees.end() && tree->name == name ? &*tree : nullptr;
}

Lookup Router::lookup(std::string_view host, std::string_view path, std::string_view method, Match& match) const {
  Search search(*this, method);
  const auto try_tree = [&](std::uint32_t root) {
    if (path.empty() || path[0] != '/') return false;
    const std::uint32_t found = search.walk(root, path.substr(1));
    if (found == kNone) return false;
    match.value = found;
    return true;
  };
  const HostTree* const exact = exact_.empty() ? nullptr : find_host(exact_, host);
  if (exact && try_tree(exact->root)) return Lookup::found;
  if (!wildcards_.empty()) {
    // From the longest suffix to the shortest; one label at least stands for the '*'.
    for (std::size_t dot = host.find('.', 1); dot != std::string_view::npos; dot = host.find('.', dot + 1)) {
      const HostTree* const tree = find_host(wildcards_, host.substr(dot));
      if (tree && try_tree(tree->root)) return Lookup::found;
    }
  }
  if (any_host_ != kNone && try_tree(any_host_)) return Lookup::found;
  if (!search.other_methods()) return Lookup::no_route;
  match.allow = search.allow();
  return Lookup::method_not_allowed;
}

std::size_t Router::memory() const noexcept {
  std::size_t bytes = text_.capacity() + nodes_.capacity() * sizeof(Node) + leaves_.capacity() * sizeof(Leaf) +
                      edges_.capacity() * sizeof(Edge);
  for (const std::vector<HostTree>* const trees : {&exact_, &wildcards_}) {
    bytes += trees->capacity() * sizeof(HostTree);
    for (const HostTree& tree : *trees) bytes += tree.name.capacity();
  }
  return bytes;
}

}  // namespace postern::route
