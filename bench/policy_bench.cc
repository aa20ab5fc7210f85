// Policies and identity: what each adds to a request, in-process. An exchange is made once; each pass runs the policy
// on it and takes back what it appended.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <string>

#include "config/diagnostics.h"
#include "config/yaml.h"
#include "identity/shared_secret/shared_secret.h"
#include "policies/catalog.h"
#include "store/api_key.h"
#include "store/key_file.h"
#include "store/key_store.h"
#include "store/rate_table.h"

namespace postern::policies {
namespace {

// A store of a thousand keys in a file, as in the other benchmarks. The file stays: a store whose file is gone lets
// nobody in.
class ThousandKeys {
 public:
  ThousandKeys() {
    {
      std::ofstream file(path_);
      file << "version: 1\nconsumers:\n";
      for (int i = 0; i < 1000; ++i) {
        const Result<config::Secret> key = store::generate_api_key();
        if (!key) return;
        one_ = key->reveal();
        file << "  - id: consumer-" << i << "\n    keys: [{id: " << store::key_id_of(one_)
             << ", sha256: " << store::to_hex(store::hash_api_key(one_)) << ", created: 2026-01-01T00:00:00Z}]\n";
      }
    }
    auto opened = store::KeyStore::open({.database = "", .file = path_}, clock_);
    if (opened) store_ = std::move(*opened);
  }
  ThousandKeys(const ThousandKeys&) = delete;
  ThousandKeys& operator=(const ThousandKeys&) = delete;
  ~ThousandKeys() {
    store_.reset();
    std::remove(path_.c_str());
  }
  [[nodiscard]] const store::KeyStore* store() const { return store_.get(); }
  [[nodiscard]] const std::string& one() const { return one_; }

 private:
  SystemClock clock_;
  const std::string path_ = fmt::format("/tmp/postern-bench-keys-{}.yaml", ::getpid());
  std::string one_;  // the last of them
  std::unique_ptr<store::KeyStore> store_;
};

// A policy with everything it stands on.
class PolicyBench {
 public:
  PolicyBench(std::string_view name, const std::string& options, const store::KeyStore* keys = nullptr)
      : services_{clock_, keys, &rates_, "bench/0"} {
    config::Diagnostics diagnostics("bench.yaml");
    document_ = config::read_document("bench.yaml", options, diagnostics);
    if (document_) policy_ = find_policy(name)->make(document_->root(), diagnostics, services_);
    exchange_.started = clock_.now();
    exchange_.started_wall = clock_.wall();
    exchange_.request_id = "0123456789abcdef0123456789abcdef";
    exchange_.client_address = *IpAddress::parse("192.0.2.1");
    exchange_.request.method = http::Method::get;
    static_cast<void>(http::canonicalize("GET", "/orders/7?x=1", "api.example.com", exchange_.arena, exchange_.target));
  }

  // The client sends this field with every request.
  void send(std::string_view name, std::string_view value) { sent_.append(name, value); }

  // `expected`: respond for policies that answer themselves.
  void run(benchmark::State& state, Flow expected = Flow::next) {
    if (!policy_) return state.SkipWithError("not made");
    const http::CanonicalTarget target = exchange_.target;
    for (const http::Field& field : sent_) exchange_.request.headers.append(field.name, field.value);
    const std::size_t headers = exchange_.request.headers.size();
    for (auto _ : state) {
      auto task = policy_->on_request(exchange_);
      auto awaiter = std::move(task).operator co_await();
      const Result<Flow> flow = awaiter.await_resume();
      if (!flow || *flow != expected) return state.SkipWithError("refused");
      exchange_.response_additions.clear();
      exchange_.local.headers.clear();
      exchange_.target = target;
      if (exchange_.request.headers.size() < headers) {  // a credential, taken off
        exchange_.request.headers.clear();
        for (const http::Field& field : sent_) exchange_.request.headers.append(field.name, field.value);
      }
      // What it put on the request comes off again, or the next pass would do more.
      while (exchange_.request.headers.size() > headers) {
        exchange_.request.headers.remove(exchange_.request.headers[exchange_.request.headers.size() - 1].name);
      }
    }
  }

  // The way back: a response with three fields, made anew for each pass.
  void run_response(benchmark::State& state) {
    if (!policy_) return state.SkipWithError("not made");
    http::ResponseHead response;
    exchange_.response = &response;
    for (const http::Field& field : sent_) exchange_.request.headers.append(field.name, field.value);
    for (auto _ : state) {
      response.headers.clear();
      response.headers.append("Content-Type", "application/json");
      response.headers.append("Server", "backend");
      response.headers.append("Cache-Control", "no-store");
      policy_->on_response(exchange_);
      benchmark::DoNotOptimize(response.headers.size());
      exchange_.response_additions.clear();
    }
    exchange_.response = nullptr;
  }

 private:
  SystemClock clock_;
  store::RateTable rates_;
  Services services_;
  http::Headers sent_;
  std::shared_ptr<config::Document> document_;
  std::unique_ptr<const Policy> policy_;
  http::Exchange exchange_;
};

void rate_limit_by_address(benchmark::State& state) {
  PolicyBench bench("rate_limit", "{requests: 1000000, per: 1s}");
  bench.run(state);
}
BENCHMARK(rate_limit_by_address);

void ip_filter_100_networks(benchmark::State& state) {
  std::string allow = "allow: [192.0.2.0/24";
  for (int i = 0; i < 99; ++i) allow += fmt::format(", 10.{}.0.0/16", i);
  PolicyBench bench("ip_filter", allow + "]");
  bench.run(state);
}
BENCHMARK(ip_filter_100_networks);

void body_limit(benchmark::State& state) {
  PolicyBench bench("body_limit", "{max: 1MiB}");
  bench.run(state);
}
BENCHMARK(body_limit);

void request_headers_set_two(benchmark::State& state) {
  PolicyBench bench("request_headers", "{set: {X-A: constant, X-B: \"${request_id}\"}}");
  bench.run(state);
}
BENCHMARK(request_headers_set_two);

constexpr const char* kCors = "{origins: [\"https://app.example.com\", \"https://*.preview.example.com\"]}";

void cors_request_of_a_page(benchmark::State& state) {
  PolicyBench bench("cors", kCors);
  bench.send("Origin", "https://one.preview.example.com");
  bench.run(state);
}
BENCHMARK(cors_request_of_a_page);

void cors_response_to_a_page(benchmark::State& state) {
  PolicyBench bench("cors", kCors);
  bench.send("Origin", "https://one.preview.example.com");
  bench.run_response(state);
}
BENCHMARK(cors_response_to_a_page);

void response_headers_set_and_remove(benchmark::State& state) {
  PolicyBench bench("response_headers", "{set: {X-Frame-Options: DENY}, remove: [Server]}");
  bench.run_response(state);
}
BENCHMARK(response_headers_set_and_remove);

void rewrite_prefix(benchmark::State& state) {
  PolicyBench bench("rewrite", "{strip_prefix: /orders, add_prefix: /v2}");
  bench.run(state);
}
BENCHMARK(rewrite_prefix);

void respond(benchmark::State& state) {
  PolicyBench bench("respond", "{status: 200, body: hello, headers: {X-A: constant}}");
  bench.run(state, Flow::respond);
}
BENCHMARK(respond);

void redirect_with_path_and_query(benchmark::State& state) {
  PolicyBench bench("redirect", "{to: \"https://www.example.com/new${path}${query}\", strip_prefix: /orders}");
  bench.run(state, Flow::respond);
}
BENCHMARK(redirect_with_path_and_query);

// With the hash of the key, the fields about the consumer, and the key off the request.
void api_key_one_of_1000(benchmark::State& state) {
  const ThousandKeys keys;
  if (!keys.store()) return state.SkipWithError("no store");
  PolicyBench bench("api_key", "{}", keys.store());
  bench.send("X-API-Key", keys.one());
  bench.run(state);
}
BENCHMARK(api_key_one_of_1000);

void look_up_one_key_of_1000(benchmark::State& state) {
  const ThousandKeys keys;
  if (!keys.store()) return state.SkipWithError("no store");
  for (auto _ : state) {
    const store::KeyIndex* const index = keys.store()->index();
    if (!index) return state.SkipWithError("no index");
    benchmark::DoNotOptimize(index->find(store::hash_api_key(keys.one())));
  }
}
BENCHMARK(look_up_one_key_of_1000);

void identity_shared_secret(benchmark::State& state) {
  config::SharedSecretConfig config;
  config.header = "X-Backend-Secret";
  config.value = config::Secret("0123456789abcdef0123456789abcdef");
  const identity::SharedSecret method(config);
  http::RequestHead request;
  Arena arena;
  http::Headers added;
  ManualClock clock;
  Loop loop(clock);
  std::vector<std::string_view> sensitive;
  identity::Attempt attempt{.request = request,
                            .scheme = "https",
                            .host = "orders.internal",
                            .path_and_query = "/orders/7",
                            .now = SystemClock().wall(),
                            .loop = loop,
                            .deadline = loop.now(),
                            .added = added,
                            .arena = arena,
                            .sensitive = sensitive};
  for (auto _ : state) {
    auto task = method.apply(attempt);
    auto awaiter = std::move(task).operator co_await();
    const Result<void> applied = awaiter.await_resume();
    if (!applied) return state.SkipWithError("refused");
    benchmark::DoNotOptimize(added[0].value.data());
    added.clear();
  }
}
BENCHMARK(identity_shared_secret);

}  // namespace
}  // namespace postern::policies

BENCHMARK_MAIN();
