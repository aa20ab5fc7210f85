// What it costs a loop to be observed: one counter, one histogram, one access log line.
#include <benchmark/benchmark.h>

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "observe/access_log.h"
#include "observe/gateway_metrics.h"
#include "observe/log.h"
#include "observe/metrics.h"

namespace postern::observe {
namespace {

// A gateway with `routes` routes, so that cells do not all lie in the first cache lines.
struct Counted {
  explicit Counted(std::size_t routes)
      : registry(std::move(*MetricRegistry::create({.loops = 2}))), metrics(*registry, WallTime{}), set(*registry) {
    for (std::size_t i = 0; i < routes; ++i) handles.push_back(metrics.route(set, "route" + std::to_string(i)));
  }
  std::unique_ptr<MetricRegistry> registry;
  GatewayMetrics metrics;
  SeriesSet set;
  std::vector<RouteMetrics> handles;
};

void counter_add(benchmark::State& state) {
  Counted counted(16);
  LoopMetrics& loop = counted.registry->loop(0);
  std::size_t i = 0;
  for (auto _ : state) {
    loop.add(counted.handles[i++ & 15].status(200));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_add);

void histogram_observe(benchmark::State& state) {
  Counted counted(16);
  LoopMetrics& loop = counted.registry->loop(0);
  std::size_t i = 0;
  std::uint64_t nanoseconds = 1;
  for (auto _ : state) {
    nanoseconds = (nanoseconds * 6364136223846793005u + 1442695040888963407u);
    loop.observe(counted.handles[i++ & 15].duration, Duration(static_cast<std::int64_t>(nanoseconds >> 36)));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(histogram_observe);

void scrape_10000_routes_all_used(benchmark::State& state) {
  Counted counted(10'000);
  for (const RouteMetrics& route : counted.handles) {
    counted.registry->loop(0).add(route.status(200));
    counted.registry->loop(0).observe(route.duration, std::chrono::milliseconds(3));
  }
  for (auto _ : state) benchmark::DoNotOptimize(counted.metrics.render());
}
BENCHMARK(scrape_10000_routes_all_used)->Unit(benchmark::kMillisecond);

void register_10000_routes(benchmark::State& state) {
  for (auto _ : state) Counted counted(10'000);
}
BENCHMARK(register_10000_routes)->Unit(benchmark::kMillisecond);

AccessRecord record() {
  AccessRecord out;
  out.request_id = "01HQ3V7Y9K2M4N6P8R0S2T4V6W";
  out.client = "203.0.113.97";
  out.method = "GET";
  out.host = "api.example.com";
  out.path = "/orders/17/items/4711";
  out.query = "page=2&limit=50";
  out.protocol = "HTTP/1.1";
  out.status = 200;
  out.route = "GET api.example.com/orders/{id}";
  out.consumer = "c_7f3a9d";
  out.origin = "orders";
  out.endpoint = 1;
  out.attempts = 1;
  out.first_byte = std::chrono::microseconds(2'345);
  out.duration = std::chrono::microseconds(2'567);
  out.bytes_out = 1234;
  out.user_agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
  return out;
}

// The whole cost for the loop, with a writer thread that discards; a new millisecond every tenth line.
void access_log_append(benchmark::State& state) {
  const SystemClock clock;
  Log log(STDERR_FILENO, clock);
  auto opened = AccessLog::open({.writer = {.sink = BlockWriter::Sink::file, .path = "/dev/null"}}, log);
  if (!opened) return state.SkipWithError("/dev/null");
  {
    LoopAccessLog loop(**opened);
    AccessRecord line = record();
    for (auto _ : state) {
      line.time += std::chrono::microseconds(100);
      loop.append(line);
    }
  }
  state.counters["dropped"] = static_cast<double>((*opened)->dropped());
}
BENCHMARK(access_log_append);

void log_line(benchmark::State& state) {
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  ManualClock clock;
  Log log(null, clock);
  for (auto _ : state) {
    clock.advance(Log::kWindow);
    log.warning("origin ejected", {LogField::name("origin", "orders"), LogField::number("endpoint", 1)});
  }
  close(null);
}
BENCHMARK(log_line);

}  // namespace
}  // namespace postern::observe

BENCHMARK_MAIN();
