// What proves a request to its origin, in-process: HMAC and signatures over a request as it goes out, each beside what
// OpenSSL alone takes for the same bytes (the budget of a signature is 1.25 times that).
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <memory>
#include <string>

#include "signature/content_digest.h"
#include "signature/http_message_signature.h"
#include "signature/sigv4.h"
#include "signature/webhook_hmac.h"

namespace postern::signature {
namespace {

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
constexpr std::string_view kBody = R"({"order": 7, "items": [{"sku": "a-1", "count": 2}, {"sku": "b-2", "count": 1}]})";

struct FreeKey {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

std::string raw_ed25519(EVP_PKEY* key, std::string_view data) {
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  std::string out(64, '\0');
  std::size_t size = out.size();
  EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key);
  EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                 reinterpret_cast<const unsigned char*>(data.data()), data.size());
  return out;
}

class Ed25519 final : public MessageSigner {
 public:
  explicit Ed25519(EVP_PKEY* key) : key_(key) {}
  [[nodiscard]] std::string_view algorithm() const noexcept override { return kEd25519; }
  [[nodiscard]] Result<std::string> sign(std::string_view base) const override { return raw_ed25519(key_, base); }

 private:
  EVP_PKEY* key_;
};

struct Request {
  http::Headers fields;
  Message message;
  CoveredComponents covered;
  SignatureParameters parameters;
  std::string digest = content_digest_of(DigestAlgorithm::sha_256, kBody);

  Request() {
    fields.append("Host", "orders.internal:8443");
    fields.append("User-Agent", "curl/8");
    fields.append("Accept", "*/*");
    fields.append("Content-Type", "application/json");
    fields.append("Content-Digest", digest);
    fields.append("X-Request-Id", "0123456789abcdef");
    message = {"POST", "https", "orders.internal:8443", "/orders/7/items", "sort=desc", true, 0, &fields};
    for (const char* name : {"@method", "@authority", "@path", "@query", "content-digest", "content-type"}) {
      static_cast<void>(covered.add(name));
    }
    parameters.created = 1'700'000'000;
    parameters.expires = 1'700'000'060;
    parameters.keyid = "gateway-2026";
    parameters.nonce = "AAECAwQFBgcICQoLDA0ODw";
    parameters.tag = "postern";
  }
};

std::unique_ptr<EVP_PKEY, FreeKey> ed25519_key() {
  return std::unique_ptr<EVP_PKEY, FreeKey>(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
}

void hmac(benchmark::State& state) {
  const HmacSha256 key("0123456789abcdef0123456789abcdef");
  for (auto _ : state) benchmark::DoNotOptimize(key.compute(kBody));
}
BENCHMARK(hmac);

void webhook(benchmark::State& state) {
  WebhookKeys keys;
  static_cast<void>(keys.add("0123456789abcdef0123456789abcdef"));
  for (auto _ : state) {
    auto signer = WebhookSigner::begin(WebhookForm::stripe, keys, kNow);
    signer->update(kBody);
    benchmark::DoNotOptimize(signer->finish());
  }
}
BENCHMARK(webhook);

void message_hmac(benchmark::State& state) {
  const Request request;
  const SharedSecret key("0123456789abcdef0123456789abcdef");
  for (auto _ : state) {
    benchmark::DoNotOptimize(sign_message(request.message, request.covered, request.parameters, "sig", key));
  }
}
BENCHMARK(message_hmac);

void message_ed25519(benchmark::State& state) {
  const Request request;
  const auto key = ed25519_key();
  const Ed25519 signer(key.get());
  for (auto _ : state) {
    benchmark::DoNotOptimize(sign_message(request.message, request.covered, request.parameters, "sig", signer));
  }
}
BENCHMARK(message_ed25519);

void openssl_ed25519(benchmark::State& state) {
  const Request request;
  const auto key = ed25519_key();
  const Ed25519 signer(key.get());
  const std::string base = sign_message(request.message, request.covered, request.parameters, "sig", signer)->base;
  for (auto _ : state) benchmark::DoNotOptimize(raw_ed25519(key.get(), base));
}
BENCHMARK(openssl_ed25519);

void sigv4(benchmark::State& state) {
  const Request request;
  const auto key = SigV4Key::derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", kNow, "us-east-1", "execute-api");
  const std::string hash = payload_hash_of(kBody);
  SigV4Request it;
  it.method = "POST";
  it.path = "/orders/7/items";
  it.query = "sort=desc";
  it.host = "orders.internal";
  it.fields = &request.fields;
  it.payload_hash = hash;
  for (auto _ : state) benchmark::DoNotOptimize(sign_v4(it, "AKIDEXAMPLE", "a session token", *key, kNow));
}
BENCHMARK(sigv4);

}  // namespace
}  // namespace postern::signature

BENCHMARK_MAIN();
