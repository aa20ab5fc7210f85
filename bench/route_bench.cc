// Routing: what a look-up costs with 1 and with 10,000 routes, how long the table takes to build, how much it holds.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <random>
#include <string>
#include <vector>

#include "route/router.h"

namespace postern::route {
namespace {

struct Table {
  explicit Table(std::size_t count) {
    const std::vector<std::string> verbs = {"GET", "POST"};
    for (std::size_t i = 0; i < count; ++i) {
      hosts.push_back(i % 4 == 0 ? "" : i % 4 == 1 ? "*.example.com" : fmt::format("api{}.example.com", i % 64));
      paths.push_back(i % 3 == 0   ? fmt::format("/service{}/items/{{id}}", i)
                      : i % 3 == 1 ? fmt::format("/service{}/items/{{id}}/parts/{{part}}", i)
                                   : fmt::format("/service{}/files/*", i));
      methods.push_back(i % 2 == 0 ? verbs : std::vector<std::string>{});
    }
    for (std::size_t i = 0; i < count; ++i) {
      specs.push_back({hosts[i], paths[i], methods[i], static_cast<std::uint32_t>(i)});
      targets.push_back({hosts[i].empty()     ? "any.test"
                         : hosts[i][0] == '*' ? "a.example.com"
                                              : hosts[i],
                         i % 3 == 0   ? fmt::format("/service{}/items/4711", i)
                         : i % 3 == 1 ? fmt::format("/service{}/items/4711/parts/a-b-c", i)
                                      : fmt::format("/service{}/files/some/deep/name.txt", i)});
    }
    // In no order that a cache could learn.
    std::shuffle(targets.begin(), targets.end(), std::mt19937_64(7));
  }
  std::vector<std::string> hosts;
  std::vector<std::string> paths;
  std::vector<std::vector<std::string>> methods;
  std::vector<RouteSpec> specs;
  std::vector<std::pair<std::string, std::string>> targets;
};

void lookup(benchmark::State& state) {
  const Table table(static_cast<std::size_t>(state.range(0)));
  const Result<Router> router = Router::build(table.specs);
  if (!router) return state.SkipWithError("not built");
  std::size_t i = 0;
  for (auto _ : state) {
    const auto& [host, path] = table.targets[i];
    if (++i == table.targets.size()) i = 0;
    Match match;
    if (router->lookup(host, path, "GET", match) != Lookup::found) return state.SkipWithError("not found");
    benchmark::DoNotOptimize(match.value);
  }
  state.counters["bytes"] = static_cast<double>(router->memory());
}
BENCHMARK(lookup)->Arg(1)->Arg(100)->Arg(10'000);

void lookup_of_nothing_10000_routes(benchmark::State& state) {
  const Table table(10'000);
  const Result<Router> router = Router::build(table.specs);
  if (!router) return state.SkipWithError("not built");
  for (auto _ : state) {
    Match match;
    benchmark::DoNotOptimize(router->lookup("api1.example.com", "/service17/item/4711", "GET", match));
  }
}
BENCHMARK(lookup_of_nothing_10000_routes);

void build_10000_routes(benchmark::State& state) {
  const Table table(10'000);
  for (auto _ : state) {
    Result<Router> router = Router::build(table.specs);
    benchmark::DoNotOptimize(router->memory());
  }
}
BENCHMARK(build_10000_routes)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace postern::route

BENCHMARK_MAIN();
