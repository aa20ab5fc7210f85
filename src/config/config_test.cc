#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "config/test_support.h"
#include "config/units.h"

namespace postern::config {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;

constexpr std::string_view kFull = R"(version: 1
listeners:
  - address: 0.0.0.0:8080
  - address: "[::1]:8081"
    proxy_protocol: v2
    trusted_proxies: [10.0.0.0/8]
    limits: {max_body_size: unlimited, idle_timeout: 5s}
  - address: unix:/run/postern/in.sock
observe: {address: "127.0.0.1:9090"}
admin: {socket: /run/x/admin.sock}
workers: 2
state_directory: /var/lib/x
drain: 10s
limits: {max_header_count: 50, max_header_bytes: 16KiB, body_min_rate: 1KiB}
trusted_proxies: ["fd00::/8"]
policies:
  - rate_limit: {requests: 1000, per: 1s}
origins:
  orders:
    url: http://127.0.0.1:9000
    identity:
      - shared_secret:
          header: X-Backend-Secret
          value: ${file:/s/a}
          next: {value: "${file:/s/b}", switch_at: 2026-12-24T08:00:00Z}
    policies: [api_key]
    timeouts: {connect: 1s, first_byte: 2s, idle: 3s}
    pool: {max_idle: 1, idle_timeout: 4s, max_connections: 5, max_lifetime: 6s}
    retries: {attempts: 1, budget_percent: 7}
    ejection: {consecutive_failures: 0, base_time: 8s, max_percent: 9}
    health: {path: /health, interval: 5s, timeout: 1s, expected_status: [200, 204]}
    allow_headers: [X-HTTP-Method-Override]
  reports:
    endpoints: ["http://Reports.Internal", "http://[fd00::1]:8080", "unix:///run/reports.sock"]
    host: Reports.Example.com
    balance: least_request
    identity:
      - shared_secret: {header: Authorization, prefix: bearer, value: "${file:/s/b}"}
    insecure: {reason: moving to TLS next month, until: 2026-12-24}
    without: [rate_limit]
    reason: reports limits itself
routes:
  - match: {path: "/orders/{id}", methods: [GET, POST], host: API.example.com}
    origin: orders
  - match: {path: /reports}
    origin: reports
    policies: [{api_key: {header: X-Key}}]
    name: reports
  - match: {path: /health}
    respond: {status: 204}
    public: true
  - match: {path: /open}
    origin: orders
    without: [api_key]
    reason: the catalogue is public
    public: true
access_log: {path: /var/log/postern.log, query_values: keep}
consumers: {file: /etc/postern/consumers.yaml}
)";

TEST(Config, EverythingWrittenArrives) {
  const World world;
  Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(kFull, diagnostics);
  ASSERT_TRUE(config) << diagnostics.to_text();
  EXPECT_EQ(diagnostics.warnings(), 0U) << diagnostics.to_text();
  ASSERT_EQ(config->listeners.size(), 3U);
  const ListenerConfig& second = config->listeners[1];
  EXPECT_EQ(second.address.host, "::1");
  EXPECT_EQ(second.address.port, 8081);
  EXPECT_EQ(second.proxy_protocol, ProxyProtocol::v2);
  EXPECT_EQ(second.limits.max_body_size, kUnlimited);
  EXPECT_EQ(second.limits.max_header_count, 50U);  // inherited from the gateway
  EXPECT_EQ(second.limits.idle_timeout, seconds(5));
  EXPECT_THAT(second.trusted_proxies, ElementsAre("10.0.0.0/8"));
  EXPECT_THAT(config->listeners[0].trusted_proxies, ElementsAre("fd00::/8"));
  EXPECT_EQ(config->listeners[2].address.path, "/run/postern/in.sock");
  EXPECT_EQ(config->observe->address.port, 9090);
  EXPECT_EQ(config->admin.socket, "/run/x/admin.sock");
  EXPECT_EQ(config->workers, 2U);
  EXPECT_EQ(config->drain, seconds(10));
  EXPECT_EQ(config->limits.max_header_bytes, 16U * 1024);
  EXPECT_EQ(config->limits.body_min_rate, 1024U);
  EXPECT_EQ(config->access_log.path, "/var/log/postern.log");
  EXPECT_EQ(config->access_log.query_values, AccessLogConfig::QueryValues::keep);
  EXPECT_EQ(config->consumers.file, "/etc/postern/consumers.yaml");
  EXPECT_EQ(config->consumers.database, "/var/lib/x/postern.db");
}

TEST(Config, Origins) {
  const World world;
  Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(kFull, diagnostics);
  ASSERT_TRUE(config) << diagnostics.to_text();
  const OriginConfig& orders = config->origins[0];
  EXPECT_EQ(orders.endpoints[0].authority, "127.0.0.1:9000");
  EXPECT_EQ(orders.timeouts.connect, seconds(1));
  EXPECT_EQ(orders.timeouts.first_byte, seconds(2));
  EXPECT_EQ(orders.timeouts.idle, seconds(3));
  EXPECT_EQ(orders.pool.max_idle, 1U);
  EXPECT_EQ(orders.pool.idle_timeout, seconds(4));
  EXPECT_EQ(orders.pool.max_connections, 5U);
  EXPECT_EQ(orders.pool.max_lifetime, seconds(6));
  EXPECT_EQ(orders.retries.attempts, 1U);
  EXPECT_EQ(orders.retries.budget_percent, 7U);
  EXPECT_EQ(orders.ejection.consecutive_failures, 0U);
  EXPECT_EQ(orders.ejection.base_time, seconds(8));
  EXPECT_EQ(orders.ejection.max_percent, 9U);
  EXPECT_EQ(orders.health->path, "/health");
  EXPECT_THAT(orders.health->expected_status, ElementsAre(200, 204));
  EXPECT_THAT(orders.allow_headers, ElementsAre("x-http-method-override"));
  const auto& secret = std::get<SharedSecretConfig>(orders.identity[0].config);
  EXPECT_EQ(secret.header, "X-Backend-Secret");
  EXPECT_EQ(secret.value.reveal(), kSecretA);
  EXPECT_EQ(secret.next->value.reveal(), kSecretB);
  EXPECT_EQ(format_timestamp(secret.next->switch_at), "2026-12-24T08:00:00Z");

  const OriginConfig& reports = config->origins[1];
  EXPECT_EQ(reports.host_mode, HostMode::name);
  EXPECT_EQ(reports.host_name, "reports.example.com");
  EXPECT_EQ(reports.balance, Balance::least_request);
  ASSERT_EQ(reports.endpoints.size(), 3U);
  EXPECT_EQ(reports.endpoints[0].authority, "reports.internal");
  EXPECT_EQ(reports.endpoints[0].address.port, 80);
  EXPECT_EQ(reports.endpoints[1].address.host, "fd00::1");
  EXPECT_EQ(reports.endpoints[1].authority, "[fd00::1]:8080");
  EXPECT_EQ(reports.endpoints[2].address.path, "/run/reports.sock");
  EXPECT_EQ(std::get<SharedSecretConfig>(reports.identity[0].config).prefix, SecretPrefix::bearer);
  EXPECT_EQ(format_timestamp(reports.insecure->until), "2026-12-25T00:00:00Z");
  EXPECT_THAT(reserved_headers(*config), ElementsAre("authorization", "x-backend-secret"));
}

TEST(Config, RoutesInheritPoliciesAndDropThemByName) {
  const World world;
  Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(kFull, diagnostics);
  ASSERT_TRUE(config) << diagnostics.to_text();
  std::vector<std::string> seen;
  for (const RouteConfig& route : config->routes) {
    std::string line = route.name + " ->";
    for (const PolicyUse* const use : effective_policies(*config, route)) {
      constexpr std::string_view kLevels[] = {"gateway", "origin", "route"};
      line += " " + std::string(kLevels[static_cast<std::size_t>(use->level)]) + ":" + use->name;
    }
    seen.push_back(line);
  }
  EXPECT_THAT(seen, ElementsAre("GET,POST api.example.com/orders/{id} -> gateway:rate_limit origin:api_key",
                                "reports -> route:api_key", "/health -> gateway:rate_limit route:respond",
                                "/open -> gateway:rate_limit"));
  EXPECT_EQ(config->routes[1].origin_index, 1U);
  EXPECT_EQ(config->routes[1].policies[0].options->find("header")->text(), "X-Key");
  EXPECT_TRUE(config->origins[0].policies[0].options->is(Kind::mapping));
  EXPECT_EQ(config->routes[1].policies[0].position, (Position{47, 17}));
}

// The defaults that the schema prints are the defaults of the structs.
TEST(Config, DefaultsAreThoseOfTheSchema) {
  const World world;
  Diagnostics diagnostics("postern.yaml");
  const auto implicit = world.load(R"({version: 1, listeners: [{address: "a:1"}],
      origins: {o: {url: "http://a", health: {path: /}}}, routes: [{match: {path: /}, origin: o, public: true}]})",
                                   diagnostics);
  const auto written = world.load(R"(
version: 1
listeners: [{address: "a:1", proxy_protocol: "off", http2: auto, redirect_to_https: false}]
workers: auto
drain: 30s
buffer_memory: auto
limits: {max_header_count: 100, max_header_bytes: 32KiB, max_target_length: 8KiB, max_body_size: 10MiB,
  header_timeout: 10s, idle_timeout: 75s, body_idle_timeout: 30s, body_min_rate: 256B, write_idle_timeout: 30s,
  max_connections: 65536, max_requests_per_connection: 10000, max_concurrent_streams: 128}
origins: {o: {url: "http://a", host: origin, balance: round_robin, http2: auto,
  timeouts: {connect: 5s, first_byte: 30s, idle: 60s}, pool: {max_idle: 64, idle_timeout: 30s, max_lifetime: 1h},
  retries: {attempts: 2, budget_percent: 20}, ejection: {consecutive_failures: 5, base_time: 30s, max_percent: 50},
  health: {path: /, interval: 10s, timeout: 2s, healthy_threshold: 2, unhealthy_threshold: 3}}}
routes: [{match: {path: /}, origin: o, public: true}]
access_log: {path: stdout, query_values: redact})",
                                  diagnostics);
  ASSERT_TRUE(implicit && written) << diagnostics.to_text();
  const auto flat = [](const Config& c) {
    const Limits& l = c.listeners[0].limits;
    const OriginConfig& o = c.origins[0];
    const auto ns = [](Duration d) { return static_cast<std::uint64_t>(d.count()); };
    return std::vector<std::uint64_t>{c.workers,
                                      ns(c.drain),
                                      c.buffer_memory,
                                      l.max_header_count,
                                      l.max_header_bytes,
                                      l.max_target_length,
                                      l.max_body_size,
                                      ns(l.header_timeout),
                                      ns(l.idle_timeout),
                                      ns(l.body_idle_timeout),
                                      l.body_min_rate,
                                      ns(l.write_idle_timeout),
                                      l.max_connections,
                                      l.max_requests_per_connection,
                                      l.max_concurrent_streams,
                                      static_cast<std::uint64_t>(c.listeners[0].http2),
                                      c.listeners[0].redirects(),
                                      static_cast<std::uint64_t>(o.host_mode),
                                      static_cast<std::uint64_t>(o.balance),
                                      static_cast<std::uint64_t>(o.http2),
                                      ns(o.timeouts.connect),
                                      ns(o.timeouts.first_byte),
                                      ns(o.timeouts.idle),
                                      o.pool.max_idle,
                                      ns(o.pool.idle_timeout),
                                      o.pool.max_connections,
                                      ns(o.pool.max_lifetime),
                                      o.retries.attempts,
                                      o.retries.budget_percent,
                                      o.ejection.consecutive_failures,
                                      ns(o.ejection.base_time),
                                      o.ejection.max_percent,
                                      ns(o.health->interval),
                                      ns(o.health->timeout),
                                      o.health->healthy_threshold,
                                      o.health->unhealthy_threshold,
                                      static_cast<std::uint64_t>(c.access_log.sink),
                                      static_cast<std::uint64_t>(c.access_log.query_values)};
  };
  EXPECT_EQ(flat(*implicit), flat(*written));
}

TEST(Config, DefaultPaths) {
  const auto paths = [](std::map<std::string, std::string, std::less<>> values, unsigned uid) {
    const DefaultPaths p = default_paths(MapEnvironment(std::move(values)), uid);
    return p.admin_socket + " " + p.state_directory;
  };
  EXPECT_EQ(paths({{"XDG_RUNTIME_DIR", "/run/user/0"}, {"HOME", "/root"}}, 0),
            "/run/postern/admin.sock /var/lib/postern");
  EXPECT_EQ(paths({{"XDG_RUNTIME_DIR", "/run/user/7"}, {"HOME", "/home/x"}}, 7),
            "/run/user/7/postern/admin.sock /home/x/.local/state/postern");
  EXPECT_EQ(paths({{"RUNTIME_DIRECTORY", "/run/p"}, {"STATE_DIRECTORY", "/var/lib/p:/b"}, {"HOME", "/"}}, 7),
            "/run/p/admin.sock /var/lib/p");
  EXPECT_EQ(paths({{"HOME", "/home/x"}}, 7), "/home/x/.local/state/postern/admin.sock /home/x/.local/state/postern");
  EXPECT_EQ(paths({{"XDG_RUNTIME_DIR", "relative"}}, 7), "/var/lib/postern/admin.sock /var/lib/postern");
}

TEST(Config, JsonIsReadTheSame) {
  const World world;
  Diagnostics diagnostics("postern.json");
  const auto config = world.load(R"({"version": 1, "listeners": [{"address": "127.0.0.1:1"}],
    "routes": [{"match": {"path": "/"}, "respond": {"status": 200}, "public": true}]})",
                                 diagnostics, "postern.json");
  EXPECT_TRUE(config) << diagnostics.to_text();
}

TEST(Config, FoldsHeaderNames) { EXPECT_EQ(fold_header_name("X_Backend.Secret"), "x-backend-secret"); }

std::string routes_of(std::size_t count) {
  std::string text =
      "version: 1\nlisteners: [{address: \"127.0.0.1:1\"}]\norigins: {o: {url: \"http://127.0.0.1:2\"}}\n";
  text += "routes:\n";
  for (std::size_t i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    text += "  - match: {host: h" + std::to_string(i % 50) + ".example.com, path: \"/v1/r" + n +
            "/{id}\", methods: [GET, POST]}\n    origin: o\n    policies:\n      - api_key\n" +
            "      - rate_limit: {requests: 10, per: 1s}\n";
  }
  return text;
}

// Guard against quadratic behaviour; the budget itself (0.2 s in a release build) is printed and checked by the bench.
TEST(Config, LoadsTenThousandRoutesInLinearTime) {
  const World world;
  const auto time = [&](std::size_t count) {
    const std::string text = routes_of(count);
    const auto start = std::chrono::steady_clock::now();
    Diagnostics diagnostics("postern.yaml");
    EXPECT_TRUE(world.load(text, diagnostics)) << diagnostics.to_text();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double one = time(1000);
  const double ten = time(10'000);
  RecordProperty("load_10000_routes_ms", static_cast<int>(ten * 1000));
  EXPECT_LT(ten, one * 50 + 0.05);
}

}  // namespace
}  // namespace postern::config
