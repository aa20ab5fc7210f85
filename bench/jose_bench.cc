// Signatures of tokens: ours beside OpenSSL as one would call it without preparing anything, and what a whole token
// costs. The raw ES256 has DER, ours r||s, so ours does that much more.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "jose/jwk.h"
#include "jose/jwt.h"

namespace {

using namespace postern;
using namespace postern::jose;

constexpr std::array kAlgorithms = {Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA};
constexpr std::string_view kClaims =
    R"({"iss":"https://gateway.example.com","sub":"postern","aud":"https://orders.example.com","iat":1700000000,)"
    R"("nbf":1700000000,"exp":1700000300,"jti":"0123456789abcdef0123456789abcdef"})";

const PrivateKey& key_of(benchmark::State& state) {
  static const std::array<PrivateKey, 4> keys = {
      PrivateKey::generate(kAlgorithms[0], "k").value(), PrivateKey::generate(kAlgorithms[1], "k").value(),
      PrivateKey::generate(kAlgorithms[2], "k").value(), PrivateKey::generate(kAlgorithms[3], "k").value()};
  const PrivateKey& key = keys[static_cast<std::size_t>(state.range(0))];
  state.SetLabel(std::string(name_of(key.algorithm())));
  return key;
}

std::string raw_sign(EVP_PKEY* key, Algorithm algorithm, std::string_view data) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_PKEY_CTX* options = nullptr;
  const EVP_MD* const digest = algorithm == Algorithm::EdDSA ? nullptr : EVP_sha256();
  EVP_DigestSignInit(context.get(), &options, digest, nullptr, key);
  if (algorithm == Algorithm::PS256) {
    EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
  }
  std::string out(512, '\0');
  std::size_t size = out.size();
  EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                 reinterpret_cast<const unsigned char*>(data.data()), data.size());
  out.resize(size);
  return out;
}

void sign_raw(benchmark::State& state) {
  const PrivateKey& key = key_of(state);
  const tls::KeyPtr raw = [&] {
    const SecretText pem = key.to_pem().value();
    BIO* const bio = BIO_new_mem_buf(pem.reveal().data(), static_cast<int>(pem.reveal().size()));
    tls::KeyPtr out(PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr));
    BIO_free(bio);
    return out;
  }();
  for (auto _ : state) benchmark::DoNotOptimize(raw_sign(raw.get(), key.algorithm(), kClaims));
}
BENCHMARK(sign_raw)->DenseRange(0, 3);

void sign_ours(benchmark::State& state) {
  const PrivateKey& key = key_of(state);
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(kClaims));
}
BENCHMARK(sign_ours)->DenseRange(0, 3);

void verify_ours(benchmark::State& state) {
  const PrivateKey& key = key_of(state);
  const std::string signature = key.sign(kClaims).value();
  for (auto _ : state) benchmark::DoNotOptimize(key.public_key().verify(kClaims, signature));
}
BENCHMARK(verify_ours)->DenseRange(0, 3);

// Parse, verify, read and judge the claims.
void verify_token(benchmark::State& state) {
  const PrivateKey& key = key_of(state);
  const KeySet keys = KeySet::of({key.public_key()}).value();
  const std::string token = sign_jws(key, kClaims).value();
  const std::array<std::string_view, 1> audiences = {"https://orders.example.com"};
  const Expectations expected{.issuer = "https://gateway.example.com",
                              .audiences = audiences,
                              .now = WallTime(std::chrono::seconds(1'700'000'001))};
  if (!verify_jwt(token, keys, expected)) state.SkipWithError("the token is not good");
  for (auto _ : state) benchmark::DoNotOptimize(verify_jwt(token, keys, expected));
}
BENCHMARK(verify_token)->DenseRange(0, 3);

void hmac_sign(benchmark::State& state) {
  const SymmetricKey key = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  for (auto _ : state) benchmark::DoNotOptimize(key.sign(kClaims));
}
BENCHMARK(hmac_sign);

void parse_token(benchmark::State& state) {
  const SymmetricKey key = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  const std::string token = sign_jws(key, kClaims).value();
  for (auto _ : state) benchmark::DoNotOptimize(Jws::parse(token));
}
BENCHMARK(parse_token);

}  // namespace

BENCHMARK_MAIN();
