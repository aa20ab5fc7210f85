#include "observe/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "observe/gateway_metrics.h"

namespace postern::observe {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<MetricRegistry> make_registry(const MetricRegistry::Options& options = {.loops = 2}) {
  Result<std::unique_ptr<MetricRegistry>> made = MetricRegistry::create(options);
  EXPECT_TRUE(made.has_value());
  return std::move(*made);
}

std::string render(const MetricRegistry& registry) {
  std::string out;
  registry.render(out);
  return out;
}

// The grammar of text format 0.0.4, line by line; the first line that breaks it.
std::string first_bad_line(const std::string& exposition) {
  const std::string name = "[a-zA-Z_:][a-zA-Z0-9_:]*";
  const std::string label = "[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\\\\n]|\\\\[\\\\\"n])*\"";
  const std::regex sample("^" + name + "(\\{" + label + "(," + label + ")*\\})? -?[0-9]+(\\.[0-9]+)?$");
  const std::regex comment("^# (HELP " + name + " .*|TYPE " + name + " (counter|gauge|histogram))$");
  std::istringstream lines(exposition);
  std::string line;
  while (std::getline(lines, line)) {
    if (!std::regex_match(line, line.starts_with('#') ? comment : sample)) return line;
  }
  return exposition.ends_with('\n') ? "" : "no line feed at the end";
}

TEST(MetricRegistry, MergesLoopsAndOtherThreads) {
  const auto registry = make_registry();
  const FamilyId family = registry->declare(MetricKind::counter, {.name = "a_total", .help = "A.", .labels = {"x"}});
  const FamilyId level = registry->declare(MetricKind::gauge, {.name = "g", .help = "G."});
  SeriesSet set(*registry);
  const std::string_view value = "one";
  const Counter counter = set.counter(family, {&value, 1});
  const Gauge gauge = set.gauge(level, {});
  registry->loop(0).add(counter);
  registry->loop(1).add(counter, 2);
  registry->add(counter, 4);
  registry->loop(0).add(gauge, 5);
  registry->loop(1).add(gauge, -7);
  EXPECT_EQ(render(*registry),
            "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"one\"} 7\n"
            "# HELP g G.\n# TYPE g gauge\ng -2\n");
}

TEST(MetricRegistry, EscapesLabelsAndHelp) {
  const auto registry = make_registry();
  const FamilyId family = registry->declare(MetricKind::counter, {.name = "a", .help = "l\\1\nl2", .labels = {"x"}});
  SeriesSet set(*registry);
  const std::string_view values[] = {"q\"b\\n\nz", "\x01\xFF", "\xC3\xA9"};
  for (const std::string_view& value : values) static_cast<void>(set.counter(family, {&value, 1}));
  const std::string out = render(*registry);
  EXPECT_THAT(out, HasSubstr("# HELP a l\\\\1\\nl2\n"));
  EXPECT_THAT(out, HasSubstr("a{x=\"q\\\"b\\\\n\\nz\"} 0\n"));
  EXPECT_THAT(out, HasSubstr("a{x=\"__\"} 0\n"));
  EXPECT_THAT(out, HasSubstr("a{x=\"\xC3\xA9\"} 0\n"));
  EXPECT_EQ(first_bad_line(out), "");
}

TEST(LatencyBucket, IsTheFirstBoundThatIsNotSmaller) {
  for (std::size_t i = 0; i < kLatencyBounds.size(); ++i) {
    EXPECT_EQ(latency_bucket(kLatencyBounds[i]), i);
    EXPECT_EQ(latency_bucket(kLatencyBounds[i] + Duration(1)), i + 1);
    EXPECT_EQ(latency_bucket(kLatencyBounds[i] - Duration(1)), i);
  }
  EXPECT_EQ(latency_bucket(Duration(0)), 0u);
  EXPECT_EQ(latency_bucket(Duration(-1)), 0u);
  EXPECT_EQ(latency_bucket(Duration::max()), kLatencyBounds.size());
}

TEST(Histogram, IsCumulativeAndInSeconds) {
  const auto registry = make_registry();
  const FamilyId family = registry->declare(MetricKind::histogram, {.name = "h", .help = "H.", .labels = {"r"}});
  SeriesSet set(*registry);
  const std::string_view value = "a";
  const Histogram histogram = set.histogram(family, {&value, 1});
  registry->loop(0).observe(histogram, microseconds(500));
  registry->loop(1).observe(histogram, milliseconds(2));
  registry->loop(1).observe(histogram, seconds(60));
  const std::string out = render(*registry);
  EXPECT_THAT(out, HasSubstr("h_bucket{r=\"a\",le=\"0.0005\"} 1\n"));
  EXPECT_THAT(out, HasSubstr("h_bucket{r=\"a\",le=\"0.001\"} 1\n"));
  EXPECT_THAT(out, HasSubstr("h_bucket{r=\"a\",le=\"0.0025\"} 2\n"));
  EXPECT_THAT(out, HasSubstr("h_bucket{r=\"a\",le=\"30\"} 2\n"));
  EXPECT_THAT(out, HasSubstr("h_bucket{r=\"a\",le=\"+Inf\"} 3\nh_sum{r=\"a\"} 60.0025\nh_count{r=\"a\"} 3\n"));
  EXPECT_THAT(out, Not(HasSubstr("_other")));
}

TEST(SeriesSet, AReloadKeepsTheCountsOfWhatStaysAndOfWhatGoes) {
  const auto registry = make_registry();
  const FamilyId family = registry->declare(MetricKind::counter, {.name = "a", .help = "A.", .labels = {"x"}});
  const FamilyId gauges = registry->declare(MetricKind::gauge, {.name = "g", .help = "G.", .labels = {"x"}});
  const std::string_view stays = "stays";
  const std::string_view goes = "goes";
  auto before = std::make_unique<SeriesSet>(*registry);
  const Counter first = before->counter(family, {&stays, 1});
  registry->loop(0).add(first, 3);
  registry->loop(0).add(before->counter(family, {&goes, 1}), 5);
  registry->set(before->gauge(gauges, {&goes, 1}), 1);
  EXPECT_THAT(render(*registry), HasSubstr("g{x=\"goes\"} 1\n"));

  SeriesSet after(*registry);
  EXPECT_EQ(after.counter(family, {&stays, 1}).cell, first.cell);
  before.reset();
  const std::string out = render(*registry);
  EXPECT_THAT(out, HasSubstr("a{x=\"stays\"} 3\n"));
  EXPECT_THAT(out, HasSubstr("a{x=\"goes\"} 5\n"));
  EXPECT_THAT(out, Not(HasSubstr("g{x=\"goes\"}"))) << "the state of something that is gone";

  const Counter again = after.counter(family, {&goes, 1});
  registry->loop(1).add(again);
  EXPECT_EQ(registry->value(again), 6u);
}

TEST(SeriesSet, RetiredSeriesAreBoundedOldestFirstAndTheirCellsComeBackEmpty) {
  const auto registry = make_registry({.loops = 1, .capacity = 4096, .max_retired = 2});
  const FamilyId family = registry->declare(MetricKind::counter, {.name = "a", .help = "A.", .labels = {"x"}});
  for (int i = 0; i < 10'000; ++i) {  // more than there are cells
    SeriesSet set(*registry);
    const std::string name = "n" + std::to_string(i);
    const std::string_view value = name;
    const Counter counter = set.counter(family, {&value, 1});
    ASSERT_EQ(registry->value(counter), 0u);
    registry->loop(0).add(counter, 7);
    registry->add(counter, 1);
  }
  EXPECT_EQ(render(*registry), "# HELP a A.\n# TYPE a counter\na{x=\"n9998\"} 8\na{x=\"n9999\"} 8\n");
}

TEST(SeriesSet, WhatDoesNotFitIsCountedUnderOther) {
  const auto registry = make_registry({.loops = 1, .capacity = 100'000, .max_retired = 10});
  const FamilyId family =
      registry->declare(MetricKind::counter, {.name = "a", .help = "A.", .labels = {"x"}, .max_series = 3});
  SeriesSet set(*registry);
  for (int i = 0; i < 5; ++i) {
    const std::string name = "n" + std::to_string(i);
    const std::string_view value = name;
    registry->loop(0).add(set.counter(family, {&value, 1}));
  }
  EXPECT_EQ(render(*registry), "# HELP a A.\n# TYPE a counter\na{x=\"_other\"} 3\na{x=\"n0\"} 1\na{x=\"n1\"} 1\n");
}

TEST(SeriesSet, AFullRegistryNeverCountsIntoAForeignCell) {
  const auto registry = make_registry({.loops = 1, .capacity = 256 + 20, .max_retired = 10});
  const FamilyId first = registry->declare(MetricKind::histogram, {.name = "h", .help = "H.", .labels = {"x"}});
  const FamilyId second = registry->declare(MetricKind::histogram, {.name = "i", .help = "I.", .labels = {"x"}});
  SeriesSet set(*registry);
  const std::string_view value = "a";
  registry->loop(0).observe(set.histogram(second, {&value, 1}), seconds(1));  // no room even for "_other"
  registry->loop(0).observe(set.histogram(first, {&value, 1}), seconds(2));
  const std::string out = render(*registry);
  EXPECT_THAT(out, HasSubstr("h_count{x=\"_other\"} 1\n"));
  EXPECT_THAT(out, Not(HasSubstr("i_count")));
}

TEST(SeriesSet, DefaultHandlesCountWhereNobodyLooks) {
  const auto registry = make_registry();
  SeriesSet none;
  registry->loop(0).add(none.counter({}, {}));
  registry->loop(0).add(CounterRow{}.at(99));
  registry->loop(0).observe(Histogram{}, seconds(1));
  EXPECT_EQ(render(*registry), "");
}

// Loops count, somebody scrapes, somebody reloads: no count is lost, and no scrape sees one go back.
TEST(MetricRegistry, LoopsScrapesAndReloadsTogether) {
  constexpr std::size_t kLoops = 3;
  constexpr std::uint64_t kRounds = 200'000;
  const auto registry = make_registry({.loops = kLoops, .capacity = 1 << 16, .max_retired = 4});
  GatewayMetrics metrics(*registry, WallTime{});
  SeriesSet set(*registry);
  const RouteMetrics route = metrics.route(set, "steady");
  std::atomic<std::size_t> running{kLoops};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kLoops; ++i) {
    threads.emplace_back([&, i] {
      LoopMetrics& mine = registry->loop(i);
      for (std::uint64_t round = 0; round < kRounds; ++round) {
        mine.add(route.status(200));
        mine.observe(route.duration, microseconds(round));
      }
      running.fetch_sub(1);
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; running.load() != 0; ++i) {
      SeriesSet passing(*registry);
      const OriginMetrics origin = metrics.origin(passing, "origin" + std::to_string(i), 3);
      registry->set(origin.endpoint_healthy[2], 1);
      registry->add(origin.outcome(OriginOutcome::timeout));
    }
  });
  std::uint64_t last = 0;
  while (running.load() != 0) {
    const std::string out = render(*registry);
    const std::uint64_t now = registry->value(route.status(200));
    ASSERT_GE(now, last);
    last = now;
    ASSERT_THAT(out, HasSubstr("# TYPE postern_requests_total counter\n"));
  }
  for (std::thread& thread : threads) thread.join();
  const std::string out = render(*registry);
  EXPECT_THAT(out, HasSubstr("postern_requests_total{route=\"steady\",status=\"2xx\"} 600000\n"));
  EXPECT_THAT(out, HasSubstr("postern_request_duration_seconds_count{route=\"steady\"} 600000\n"));
  EXPECT_EQ(first_bad_line(out), "");
}

TEST(GatewayMetrics, ExposesItsFamiliesWithTheRightLabels) {
  const auto registry = make_registry();
  GatewayMetrics metrics(*registry, WallTime{seconds(1'700'000'000)});
  SeriesSet set(*registry);
  LoopMetrics& loop = registry->loop(0);
  const RouteMetrics route = metrics.route(set, "orders");
  for (const int status : {200, 204, 404, 500, 0, 999}) loop.add(route.status(status));
  loop.observe(route.duration, milliseconds(3));
  const OriginMetrics origin = metrics.origin(set, "backend", 2);
  loop.add(origin.outcome(origin_outcome(200)));
  loop.add(origin.outcome(origin_outcome(Code::origin_connect_timeout)));
  loop.add(origin.retries);
  loop.add(origin.reflections);
  registry->set(origin.endpoint_healthy[0], 1);
  registry->set(origin.endpoint_healthy[1], 0);
  const PolicyMetrics policy = metrics.policy(set, "api_key");
  loop.add(policy.refusal(Code::credentials_missing));
  loop.add(policy.refusal(Code::bad_request));
  const ListenerMetrics listener = metrics.listener(set, "0");
  loop.add(listener.accepted);
  loop.add(listener.open, 1);
  loop.add(metrics.error(Code::io_failed, Side::gateway));
  loop.add(metrics.error(Error(Code::bad_request, Side::client)));
  loop.add(metrics.strip(StripReason::forwarding));
  metrics.reloaded(ReloadOutcome::rejected);
  metrics.set_generation(7);
  metrics.set_insecure_options(2);
  metrics.set_log_dropped(11, 12);

  const std::string out = metrics.render();
  EXPECT_EQ(first_bad_line(out), "");
  for (const char* const line : {
           "postern_requests_total{route=\"orders\",status=\"2xx\"} 2",
           "postern_requests_total{route=\"orders\",status=\"4xx\"} 1",
           "postern_requests_total{route=\"orders\",status=\"5xx\"} 1",
           "postern_requests_total{route=\"orders\",status=\"aborted\"} 2",
           "postern_request_duration_seconds_count{route=\"orders\"} 1",
           "postern_origin_requests_total{origin=\"backend\",outcome=\"2xx\"} 1",
           "postern_origin_requests_total{origin=\"backend\",outcome=\"connect_failed\"} 1",
           "postern_origin_requests_total{origin=\"backend\",outcome=\"cancelled\"} 0",
           "postern_retries_total{origin=\"backend\"} 1",
           "postern_reflections_total{origin=\"backend\"} 1",
           "postern_origin_endpoint_healthy{origin=\"backend\",endpoint=\"0\"} 1",
           "postern_origin_endpoint_healthy{origin=\"backend\",endpoint=\"1\"} 0",
           "postern_policy_refusals_total{policy=\"api_key\",code=\"PST-P401\"} 1",
           "postern_policy_refusals_total{policy=\"api_key\",code=\"other\"} 1",
           "postern_connections{listener=\"0\"} 1",
           "postern_connections_total{listener=\"0\"} 1",
           "postern_errors_total{side=\"gateway\",code=\"PST-G005\"} 1",
           "postern_errors_total{side=\"client\",code=\"PST-R001\"} 1",
           "postern_header_strips_total{reason=\"forwarding\"} 1",
           "postern_header_strips_total{reason=\"reserved\"} 0",
           "postern_config_reloads_total{outcome=\"rejected\"} 1",
           "postern_config_generation 7",
           "postern_insecure_options 2",
           "postern_log_dropped_total{log=\"access\"} 11",
           "postern_log_dropped_total{log=\"operational\"} 12",
           "process_start_time_seconds 1700000000.00",
       }) {
    EXPECT_THAT(out, HasSubstr(std::string("\n") + line + "\n"));
  }
  for (const char* const name : {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"}) {
    EXPECT_THAT(out, HasSubstr(std::string("\n") + name + " "));
  }
}

// What the alerts ask for and what the README promises exists, and the README leaves nothing out.
TEST(GatewayMetrics, AlertsAndReadmeNameWhatIsExposed) {
  const auto registry = make_registry();
  const GatewayMetrics metrics(*registry, WallTime{});
  const std::string exposed = metrics.render();
  const auto names_in = [](const std::string& text) {
    const std::regex name("(postern|process)_[a-z_]+[a-z]");
    return std::set<std::string>(std::sregex_token_iterator(text.begin(), text.end(), name), {});
  };
  const auto read = [](const char* path) {
    std::ifstream in(std::string(POSTERN_SOURCE_DIR) + path);
    std::ostringstream out;
    out << in.rdbuf();
    EXPECT_FALSE(out.str().empty()) << path;
    return out.str();
  };
  const std::string alerts = read("/examples/prometheus-alerts.yaml");
  for (std::string name : names_in(alerts)) {
    if (name.ends_with("_bucket")) name.resize(name.size() - std::string_view("_bucket").size());
    EXPECT_THAT(exposed, HasSubstr("# TYPE " + name + " ")) << "in the alerts";
  }
  const std::string readme = read("/src/observe/README.md");
  std::istringstream lines(exposed);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# TYPE postern_")) continue;
    const std::string name = line.substr(7, line.rfind(' ') - 7);
    EXPECT_THAT(readme, HasSubstr("`" + name + "`"));
  }
}

TEST(GatewayMetrics, ARouteThatNobodyCallsCostsNoLine) {
  const auto registry = make_registry({.loops = 1});
  GatewayMetrics metrics(*registry, WallTime{});
  SeriesSet set(*registry);
  std::vector<RouteMetrics> routes;
  for (int i = 0; i < 10'000; ++i) routes.push_back(metrics.route(set, "route" + std::to_string(i)));
  registry->loop(0).add(routes[9'999].status(200));
  const std::string out = render(*registry);
  EXPECT_THAT(out, HasSubstr("postern_requests_total{route=\"route9999\",status=\"2xx\"} 1\n"));
  EXPECT_LT(out.size(), 8'000u);
}

}  // namespace
}  // namespace postern::observe
