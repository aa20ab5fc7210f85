// What the gateway's own tokens cost a request: one that was signed ahead of time, for one loop and for several that
// ask for the same, and one that is signed for this request alone.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <utility>

#include "issuer/token_mint.h"

namespace {

using namespace postern;
using namespace postern::issuer;

constexpr std::array kAlgorithms = {jose::Algorithm::RS256, jose::Algorithm::ES256, jose::Algorithm::EdDSA};
constexpr WallTime kNow{std::chrono::seconds(1'800'000'000)};

const Entropy& entropy() {
  static const SystemEntropy system;
  return system;
}

TokenMint& mint() {
  static TokenMint* const made = [] {
    IssuerOptions options;
    options.url = "https://id.example.com/postern";
    options.algorithms.assign(kAlgorithms.begin(), kAlgorithms.end());
    KeyRing ring;
    std::vector<IssuerKey> keys;
    for (const jose::Algorithm algorithm : kAlgorithms) {
      auto key = std::make_shared<const jose::PrivateKey>(jose::PrivateKey::generate(algorithm).value());
      if (!ring.add(key->kid(), algorithm, kNow, options.rotation)) std::abort();
      keys.push_back({{key->kid(), algorithm, kNow, kNow}, std::move(key)});
    }
    auto* const out = new TokenMint(options, entropy());
    out->replace(Issuer::make(options, std::move(ring), std::move(keys)).value(), kNow);
    return out;
  }();
  return *made;
}

// DESIGN 7: below 200 ns.
void token_signed_ahead(benchmark::State& state) {
  static const std::shared_ptr<TokenMint::Slot> slot =
      mint().keep({.subject = "postern/origins/orders", .audience = "https://orders.example.com"}, kNow);
  for (auto _ : state) benchmark::DoNotOptimize(slot->current(kNow));
}
BENCHMARK(token_signed_ahead)->Threads(1)->Threads(2)->Threads(4);

void token_of_its_own(benchmark::State& state) {
  const jose::Algorithm algorithm = kAlgorithms[static_cast<std::size_t>(state.range(0))];
  state.SetLabel(std::string(jose::name_of(algorithm)));
  const std::array<std::pair<std::string_view, std::string_view>, 3> claims = {
      {{"htm", "POST"},
       {"path_sha256", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"},
       {"body_sha256", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"}}};
  const TokenRequest request{.subject = "postern/origins/orders",
                             .audience = "https://orders.example.com",
                             .algorithm = algorithm,
                             .type = "postern-request+jwt",
                             .more = claims,
                             .lifetime = std::chrono::seconds(60)};
  for (auto _ : state) benchmark::DoNotOptimize(mint().sign(request, kNow));
}
BENCHMARK(token_of_its_own)->DenseRange(0, 2);

}  // namespace

BENCHMARK_MAIN();
