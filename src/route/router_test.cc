#include "route/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <set>

namespace postern::route {
namespace {

struct Route {
  std::string host;
  std::string path;
  std::vector<std::string> methods;
};

// Specs borrow from the routes. The value of a route is its index.
std::vector<RouteSpec> specs_of(const std::vector<Route>& routes) {
  std::vector<RouteSpec> specs;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    specs.push_back({routes[i].host, routes[i].path, routes[i].methods, static_cast<std::uint32_t>(i)});
  }
  return specs;
}

Router build(const std::vector<Route>& routes) {
  Result<Router> router = Router::build(specs_of(routes));
  EXPECT_TRUE(router) << router.error().to_string();
  return router ? std::move(*router) : Router();
}

// The path of the route that serves the request; "-" for none, "405 ..." with what is allowed.
std::string find(const Router& router, const std::vector<Route>& routes, std::string_view host, std::string_view path,
                 std::string_view method = "GET") {
  Match match;
  switch (router.lookup(host, path, method, match)) {
    case Lookup::found: {
      const Route& route = routes[match.value];
      return route.host.empty() ? route.path : route.host + route.path;
    }
    case Lookup::no_route: return "-";
    case Lookup::method_not_allowed: return "405 " + match.allow;
  }
  return "?";
}

TEST(Router, an_empty_one_finds_nothing) {
  const Router router = build({});
  EXPECT_EQ(find(router, {}, "a", "/"), "-");
  Match match;
  EXPECT_EQ(Router().lookup("a", "/", "GET", match), Lookup::no_route);
}

TEST(Router, the_most_specific_path_wins_segment_by_segment_from_the_left) {
  const std::vector<Route> routes = {{"", "/*", {}},
                                     {"", "/orders/{id}", {}},
                                     {"", "/orders/new", {}},
                                     {"", "/{kind}/new", {}},
                                     {"", "/orders/*", {}},
                                     {"", "/orders/{id}/lines/{n}", {}},
                                     {"", "/orders/new/*", {}},
                                     {"", "/{kind}/x/lines/1", {}}};
  const Router router = build(routes);
  EXPECT_EQ(find(router, routes, "a", "/orders/new"), "/orders/new");
  EXPECT_EQ(find(router, routes, "a", "/orders/7"), "/orders/{id}");
  EXPECT_EQ(find(router, routes, "a", "/other/new"), "/{kind}/new");
  EXPECT_EQ(find(router, routes, "a", "/orders/"), "/orders/*") << "a {name} is not empty";
  EXPECT_EQ(find(router, routes, "a", "/orders"), "/*") << "/orders/* needs its slash";
  EXPECT_EQ(find(router, routes, "a", "/orders/new/x/y"), "/orders/new/*");
  EXPECT_EQ(find(router, routes, "a", "/orders/7/lines/2"), "/orders/{id}/lines/{n}");
  EXPECT_EQ(find(router, routes, "a", "/orders/x/lines/1"), "/orders/{id}/lines/{n}") << "the left segment decides";
  EXPECT_EQ(find(router, routes, "a", "/orders/7/lines"), "/orders/*") << "back to where a wider one stands";
  EXPECT_EQ(find(router, routes, "a", "/orders/new/"), "/orders/new/*");
  EXPECT_EQ(find(router, routes, "a", "/"), "/*");
  EXPECT_EQ(find(router, routes, "a", "*"), "-") << "OPTIONS * has no path";
  EXPECT_EQ(find(router, routes, "a", ""), "-");
}

TEST(Router, matching_is_literal_case_sensitive_and_counts_trailing_slashes) {
  const std::vector<Route> routes = {
      {"", "/a.c", {}}, {"", "/x/", {}}, {"", "/Case", {}}, {"", "/caf%c3%a9", {}}, {"", "/%61b", {}}};
  const Router router = build(routes);
  EXPECT_EQ(find(router, routes, "a", "/abc"), "-") << "a dot is a dot";
  EXPECT_EQ(find(router, routes, "a", "/a.c"), "/a.c");
  EXPECT_EQ(find(router, routes, "a", "/a.c/"), "-");
  EXPECT_EQ(find(router, routes, "a", "/x"), "-");
  EXPECT_EQ(find(router, routes, "a", "/x/"), "/x/");
  EXPECT_EQ(find(router, routes, "a", "/case"), "-");
  // Templates have the canonical form of requests: upper-case hex, nothing encoded that need not be.
  EXPECT_EQ(find(router, routes, "a", "/caf%C3%A9"), "/caf%c3%a9");
  EXPECT_EQ(find(router, routes, "a", "/ab"), "/%61b");
}

TEST(Router, the_exact_host_beats_the_longest_wildcard_beats_any) {
  const std::vector<Route> routes = {{"", "/*", {}},
                                     {"*.com", "/*", {}},
                                     {"*.example.com", "/*", {}},
                                     {"*.a.example.com", "/x", {}},
                                     {"api.example.com", "/*", {}},
                                     {"api.example.com", "/only", {}},
                                     {"*.example.com", "/wild/x", {}}};
  const Router router = build(routes);
  EXPECT_EQ(find(router, routes, "api.example.com", "/only"), "api.example.com/only");
  EXPECT_EQ(find(router, routes, "api.example.com", "/wild/x"), "api.example.com/*") << "the host decides first";
  EXPECT_EQ(find(router, routes, "b.example.com", "/wild/x"), "*.example.com/wild/x");
  EXPECT_EQ(find(router, routes, "deep.b.example.com", "/y"), "*.example.com/*");
  EXPECT_EQ(find(router, routes, "z.a.example.com", "/x"), "*.a.example.com/x");
  EXPECT_EQ(find(router, routes, "z.a.example.com", "/y"), "*.example.com/*") << "what the longer does not serve";
  EXPECT_EQ(find(router, routes, "example.com", "/"), "*.com/*") << "the wildcard stands for one label at least";
  EXPECT_EQ(find(router, routes, "com", "/"), "/*");
  EXPECT_EQ(find(router, routes, "notexample.com", "/"), "*.com/*") << "labels, not letters";
  EXPECT_EQ(find(router, routes, "api.example.com.evil.org", "/only"), "/*");
  EXPECT_EQ(find(router, routes, "", "/"), "/*");
  EXPECT_EQ(find(router, routes, ".com", "/"), "/*");
}

TEST(Router, a_method_that_the_best_template_does_not_serve_may_be_served_by_a_wider_one) {
  const std::vector<Route> routes = {
      {"", "/a", {"GET", "POST"}}, {"", "/{x}", {"PUT"}},  {"", "/*", {"DELETE"}},  {"", "/all", {}},
      {"", "/all", {"GET"}},       {"h", "/a", {"PATCH"}}, {"", "/head", {"HEAD"}}, {"", "/head", {"GET"}}};
  const Router router = build(routes);
  EXPECT_EQ(find(router, routes, "a", "/a", "POST"), "/a");
  EXPECT_EQ(find(router, routes, "a", "/a", "PUT"), "/{x}");
  EXPECT_EQ(find(router, routes, "a", "/a", "DELETE"), "/*");
  EXPECT_EQ(find(router, routes, "a", "/a", "HEAD"), "/a") << "GET serves HEAD";
  EXPECT_EQ(find(router, routes, "a", "/all", "BREW"), "/all");
  EXPECT_EQ(find(router, routes, "h", "/a", "PATCH"), "h/a");
  EXPECT_EQ(find(router, routes, "h", "/a", "GET"), "/a") << "a less specific host";
  Match match;
  EXPECT_EQ(router.lookup("a", "/head", "HEAD", match), Lookup::found);
  EXPECT_EQ(match.value, 6u) << "HEAD itself before GET";
  EXPECT_EQ(router.lookup("a", "/all", "GET", match), Lookup::found);
  EXPECT_EQ(match.value, 4u) << "a named method before all methods";
}

TEST(Router, a_405_names_what_every_matching_template_allows) {
  const std::vector<Route> routes = {
      {"", "/a", {"GET"}}, {"", "/{x}", {"PUT", "GET"}}, {"h", "/a", {"PATCH"}}, {"", "/b/c", {"POST"}}};
  const Router router = build(routes);
  EXPECT_EQ(find(router, routes, "h", "/a", "DELETE"), "405 GET, HEAD, PATCH, PUT");
  EXPECT_EQ(find(router, routes, "a", "/b/c", "GET"), "405 POST");
  EXPECT_EQ(find(router, routes, "a", "/b/c", "HEAD"), "405 POST");
  EXPECT_EQ(find(router, routes, "a", "/b", "POST"), "405 GET, HEAD, PUT");
  EXPECT_EQ(find(router, routes, "a", "/b/d", "POST"), "-");
  EXPECT_EQ(find(router, routes, "a", "/a", "get"), "405 GET, HEAD, PUT") << "methods are case-sensitive";
}

TEST(Router, refuses_what_is_wrong_and_says_which_template) {
  struct Bad {
    std::string path;
    std::string why;
  };
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "/x";
  for (const auto& [path, why] :
       {Bad{"", "begins with '/'"}, Bad{"orders", "begins with '/'"}, Bad{"/a/*/b", "only be the last"},
        Bad{"/a*", "whole segments"}, Bad{"/{id}.json", "whole segments"}, Bad{"/{}", "whole segments"},
        Bad{"/{a}/{a}", "twice"}, Bad{"/a//b", "empty segment"}, Bad{"//", "empty segment"}, Bad{"/a/../b", "root"},
        Bad{"/.", "dot segment"}, Bad{"/a%2fb", ""}, Bad{"/a%00", ""}, Bad{"/a b", ""}, Bad{"/a?b", ""},
        Bad{"/%zz", ""}, Bad{deep, "64 segments"}}) {
    const RouteSpec spec{"", path, {}, 0};
    const Result<Router> router = Router::build({&spec, 1});
    ASSERT_FALSE(router) << path;
    EXPECT_TRUE(router.error().detail().starts_with(path + ": ")) << router.error().detail();
    EXPECT_NE(router.error().detail().find(why), std::string_view::npos) << router.error().detail();
  }
  const std::string fits = deep.substr(2);
  const RouteSpec spec{"", fits, {}, 0};
  EXPECT_TRUE(Router::build({&spec, 1}));
}

TEST(Router, two_routes_with_the_same_host_path_and_method_are_refused) {
  const Route a{"h", "/x/{id}", {"GET", "PUT"}};
  for (const auto& [other, conflict] : {std::pair<Route, bool>{{"h", "/x/{id}", {"PUT"}}, true},
                                        {{"h", "/x/{name}", {"GET"}}, true},
                                        {{"h", "/%78/{name}", {"GET"}}, true},
                                        {{"h", "/x/{name}", {"POST"}}, false},
                                        {{"h", "/x/{name}", {}}, false},
                                        {{"", "/x/{id}", {"GET"}}, false},
                                        {{"*.h", "/x/{id}", {"GET"}}, false},
                                        {{"h", "/x/{id}/", {"GET"}}, false},
                                        {{"h", "/x/*", {"GET"}}, false}}) {
    EXPECT_EQ(!Router::build(specs_of({a, other})), conflict) << other.host << other.path;
  }
  EXPECT_FALSE(Router::build(specs_of({{"", "/a", {}}, {"", "/a", {}}})));
  EXPECT_FALSE(Router::build(specs_of({{"", "/*", {}}, {"", "/*", {}}})));
  EXPECT_FALSE(Router::build(specs_of({{"", "/a", {"GET", "GET"}}})));
}

// ---- against a matcher that simply looks at every route
// ----------------------------------------------------------------

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> out;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    out.emplace_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return out;
}

// How specific a match is, or nullopt: 2 for a literal, 1 for {name}, 0 for *; a longer list of those compares greater.
std::optional<std::vector<int>> match_path(const std::string& pattern, std::string_view path) {
  const std::vector<std::string> want = split(pattern);
  const std::vector<std::string> have = split(path);
  std::vector<int> rank;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (want[i] == "*") {
      if (i >= have.size()) return std::nullopt;
      rank.push_back(0);
      return rank;
    }
    if (i >= have.size()) return std::nullopt;
    const bool parameter = want[i].starts_with("{");
    if (parameter ? have[i].empty() : want[i] != have[i]) return std::nullopt;
    rank.push_back(parameter ? 1 : 2);
  }
  if (want.size() != have.size()) return std::nullopt;
  return rank;
}

std::optional<int> match_host(const std::string& pattern, std::string_view host) {
  if (pattern.empty()) return 0;
  if (!pattern.starts_with("*.")) return pattern == host ? std::optional(1000) : std::nullopt;
  const std::string_view suffix = std::string_view(pattern).substr(1);
  if (host.size() <= suffix.size() || !host.ends_with(suffix)) return std::nullopt;
  return static_cast<int>(suffix.size());
}

struct Verdict {
  Lookup lookup = Lookup::no_route;
  std::uint32_t value = 0;
  std::set<std::string> allowed;
  bool operator==(const Verdict&) const = default;
};

Verdict naive(const std::vector<Route>& routes, std::string_view host, std::string_view path,
              const std::string& method) {
  Verdict verdict;
  std::optional<std::tuple<int, std::vector<int>, int>> best;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const auto host_rank = match_host(routes[i].host, host);
    const auto path_rank = match_path(routes[i].path, path);
    if (!host_rank || !path_rank) continue;
    const std::vector<std::string>& methods = routes[i].methods;
    const auto has = [&](const std::string& wanted) {
      return std::find(methods.begin(), methods.end(), wanted) != methods.end();
    };
    const int method_rank = has(method) ? 3 : method == "HEAD" && has("GET") ? 2 : methods.empty() ? 1 : 0;
    if (method_rank == 0) {
      verdict.allowed.insert(methods.begin(), methods.end());
      if (has("GET")) verdict.allowed.insert("HEAD");
      continue;
    }
    const std::tuple rank(*host_rank, *path_rank, method_rank);
    if (best && !(*best < rank)) continue;
    best = rank;
    verdict.value = static_cast<std::uint32_t>(i);
  }
  verdict.lookup = best ? Lookup::found : verdict.allowed.empty() ? Lookup::no_route : Lookup::method_not_allowed;
  if (best) verdict.allowed.clear();
  if (!best) verdict.value = 0;
  return verdict;
}

Verdict ask(const Router& router, std::string_view host, std::string_view path, std::string_view method) {
  Verdict verdict;
  Match match;
  verdict.lookup = router.lookup(host, path, method, match);
  if (verdict.lookup == Lookup::found) verdict.value = match.value;
  if (verdict.lookup == Lookup::method_not_allowed) {
    std::string_view list = match.allow;
    while (!list.empty()) {
      const std::size_t comma = std::min(list.find(", "), list.size());
      EXPECT_TRUE(verdict.allowed.emplace(list.substr(0, comma)).second) << match.allow;
      list.remove_prefix(std::min(list.size(), comma + 2));
    }
  }
  return verdict;
}

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t limit) { return random_() % limit; }
  template <typename List>
  const auto& any(const List& list) {
    return list[below(std::size(list))];
  }
  std::mt19937& engine() { return random_; }

 private:
  std::mt19937 random_;
};

const std::vector<std::string> kHosts = {"", "", "a.test", "b.a.test", "*.test", "*.a.test", "*.b.a.test"};
const std::vector<std::string> kMethods = {"GET", "HEAD", "POST", "PUT", "BREW"};

Route random_route(Dice& dice) {
  Route route;
  route.host = dice.any(kHosts);
  const std::size_t depth = 1 + dice.below(4);
  const char* const names[] = {"{p}", "{q}", "{r}", "{s}"};
  for (std::size_t i = 0; i < depth; ++i) {
    const std::size_t kind = dice.below(8);
    const bool last = i + 1 == depth;
    if (kind < 4) {
      route.path += std::string("/") + static_cast<char>('a' + kind % 3);
    } else if (kind < 7) {
      route.path += std::string("/") + names[i];
    } else {
      route.path += last && dice.below(2) == 0 ? "/" : last ? "/*" : "/a";
    }
  }
  for (const std::string& method : kMethods) {
    if (dice.below(4) == 0) route.methods.push_back(method);
  }
  return route;
}

// What the router must call the same: names of parameters do not count.
std::string shape(const Route& route) {
  std::string out = route.host + ' ';
  for (const std::string& segment : split(route.path)) out += '/' + (segment.starts_with("{") ? "{}" : segment);
  return out;
}

TEST(Router, agrees_with_a_naive_matcher_and_does_not_depend_on_the_order_of_routes) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Dice dice(seed);
    std::vector<Route> routes;
    std::set<std::string> taken;
    const std::size_t count = 1 + dice.below(40);
    while (routes.size() < count) {
      Route route = random_route(dice);
      std::set<std::string> keys;
      if (route.methods.empty()) keys.insert(shape(route) + " *");
      for (const std::string& method : route.methods) keys.insert(shape(route) + ' ' + method);
      const bool conflict =
          std::any_of(keys.begin(), keys.end(), [&](const std::string& key) { return taken.contains(key); });
      std::vector<Route> with = routes;
      with.push_back(route);
      ASSERT_EQ(!Router::build(specs_of(with)), conflict) << "seed " << seed << ": " << route.host << route.path;
      if (conflict) continue;
      taken.merge(keys);
      routes = std::move(with);
    }
    const Router router = build(routes);
    std::vector<RouteSpec> shuffled = specs_of(routes);
    std::shuffle(shuffled.begin(), shuffled.end(), dice.engine());
    const Router other = std::move(*Router::build(shuffled));
    for (int i = 0; i < 300; ++i) {
      static const std::vector<std::string> hosts = {"a.test", "b.a.test", "c.b.a.test", "x.test",
                                                     "test",   "other",    "",           "d.c.b.a.test"};
      static const std::vector<std::string> segments = {"a", "b", "c", "d", ""};
      std::string path;
      const std::size_t depth = 1 + dice.below(5);
      for (std::size_t k = 0; k < depth; ++k) {
        // Only the last segment of a canonical path may be empty.
        path += '/' + segments[dice.below(k + 1 == depth ? 5 : 4)];
      }
      const std::string& host = dice.any(hosts);
      const std::string& method = dice.any(kMethods);
      const Verdict expected = naive(routes, host, path, method);
      const Verdict got = ask(router, host, path, method);
      ASSERT_TRUE(got == expected) << "seed " << seed << ": " << method << ' ' << host << path << " finds " << got.value
                                   << ", should be " << expected.value << " (" << static_cast<int>(got.lookup) << ", "
                                   << static_cast<int>(expected.lookup) << ")";
      ASSERT_TRUE(ask(other, host, path, method) == got) << "seed " << seed << ": order matters";
    }
  }
}

TEST(Router, ten_thousand_routes_are_built_at_once_and_small) {
  std::vector<Route> routes;
  for (int i = 0; i < 10'000; ++i) {
    const std::string n = std::to_string(i);
    switch (i % 4) {
      case 0: routes.push_back({"", "/service-" + n + "/items/{id}", {"GET", "POST"}}); break;
      case 1: routes.push_back({"tenant-" + n + ".example.com", "/orders/{id}", {}}); break;
      case 2: routes.push_back({"*.tenant-" + n + ".example.com", "/*", {}}); break;
      default: routes.push_back({"", "/v1/{kind}/" + n + "/*", {"PUT"}}); break;
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  const Router router = build(routes);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << "a guard, not a measurement";
  EXPECT_LT(router.memory(), 20u << 20);
  EXPECT_EQ(find(router, routes, "any", "/service-4000/items/9"), "/service-4000/items/{id}");
  EXPECT_EQ(find(router, routes, "tenant-4001.example.com", "/orders/1"), "tenant-4001.example.com/orders/{id}");
  EXPECT_EQ(find(router, routes, "x.tenant-4002.example.com", "/"), "*.tenant-4002.example.com/*");
  EXPECT_EQ(find(router, routes, "any", "/v1/x/4003/y/z", "PUT"), "/v1/{kind}/4003/*");
  EXPECT_EQ(find(router, routes, "any", "/v1/x/4003/y/z", "GET"), "405 PUT");
  EXPECT_EQ(find(router, routes, "any", "/service-10000/items/9"), "-");
}

// Many templates that agree for long must not make the search exponential.
TEST(Router, look_alikes_do_not_explode) {
  std::vector<Route> routes;
  for (unsigned bits = 0; bits < 1024; ++bits) {
    Route route{"", "", {"GET"}};
    for (unsigned i = 0; i < 10; ++i) route.path += bits >> i & 1 ? "/a" : "/{p" + std::to_string(i) + "}";
    route.path += "/end-" + std::to_string(bits);
    routes.push_back(route);
  }
  const Router router = build(routes);
  std::string path;
  for (int i = 0; i < 10; ++i) path += "/a";
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(find(router, routes, "a", path + "/nowhere"), "-");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(find(router, routes, "a", path + "/end-0"), routes[0].path);
}

}  // namespace
}  // namespace postern::route
