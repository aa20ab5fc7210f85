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

// A policy with everything it stands on.
class PolicyBench {
 public:
  PolicyBench(std::string_view name, const std::string& options) {
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

  void run(benchmark::State& state) {
    if (!policy_) return state.SkipWithError("not made");
    const std::size_t headers = exchange_.request.headers.size();
    for (auto _ : state) {
      auto task = policy_->on_request(exchange_);
      auto awaiter = std::move(task).operator co_await();
      const Result<Flow> flow = awaiter.await_resume();
      if (!flow || *flow != Flow::next) return state.SkipWithError("refused");
      exchange_.response_additions.clear();
      // What it put on the request comes off again, or the next pass would do more.
      while (exchange_.request.headers.size() > headers) {
        exchange_.request.headers.remove(exchange_.request.headers[exchange_.request.headers.size() - 1].name);
      }
    }
  }

 private:
  SystemClock clock_;
  store::RateTable rates_;
  Services services_{clock_, nullptr, &rates_, "bench/0"};
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

// A store of a thousand keys in a file, as in the other benchmarks.
void look_up_one_key_of_1000(benchmark::State& state) {
  const std::string path = fmt::format("/tmp/postern-bench-keys-{}.yaml", ::getpid());
  std::string one;
  {
    std::ofstream file(path);
    file << "version: 1\nconsumers:\n";
    for (int i = 0; i < 1000; ++i) {
      const Result<config::Secret> key = store::generate_api_key();
      if (!key) return state.SkipWithError("no key");
      one = key->reveal();
      file << "  - id: consumer-" << i << "\n    keys: [{id: " << store::key_id_of(one)
           << ", sha256: " << store::to_hex(store::hash_api_key(one)) << ", created: 2026-01-01T00:00:00Z}]\n";
    }
  }
  SystemClock clock;
  auto keys = store::KeyStore::open({.database = "", .file = path}, clock);
  std::remove(path.c_str());
  if (!keys) return state.SkipWithError("no store");
  for (auto _ : state) {
    const store::KeyIndex* const index = (*keys)->index();
    if (!index) break;  // the file is gone, and after a second so is its index
    benchmark::DoNotOptimize(index->find(store::hash_api_key(one)));
  }
}
BENCHMARK(look_up_one_key_of_1000)->Iterations(200'000);

void identity_shared_secret(benchmark::State& state) {
  config::SharedSecretConfig config;
  config.header = "X-Backend-Secret";
  config.value = config::Secret("0123456789abcdef0123456789abcdef");
  const identity::SharedSecret method(config);
  http::RequestHead request;
  Arena arena;
  http::Headers added;
  identity::Attempt attempt{request, "orders.internal", "/orders/7", SystemClock().wall(), added, arena};
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
