// What it costs a loop to sign one request: each method as an attempt calls it, with a small body, beside what OpenSSL
// alone takes for the same bytes (a signature may take 1.25 times that) or the time of its own (HMAC: under 3 us).
#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <memory>
#include <string>

#include "identity/aws_sigv4/aws_sigv4.h"
#include "identity/hmac/hmac.h"
#include "identity/http_signature/http_signature.h"
#include "signature/message_keys.h"

namespace postern::identity {
namespace {

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
constexpr std::string_view kBody = R"({"order": 7, "items": [{"sku": "a-1", "count": 2}, {"sku": "b-2", "count": 1}]})";
constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
constexpr std::uint64_t kLimit = 1 << 20;

struct FreeKey {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

// A request as it stands when the methods of an origin are applied to it.
struct Request {
  http::RequestHead head;
  SystemClock clock;
  Loop loop{clock};

  Request() {
    head.method = http::Method::post;
    head.method_text = "POST";
    head.headers.append("User-Agent", "curl/8");
    head.headers.append("Accept", "*/*");
    head.headers.append("Content-Type", "application/json");
    head.headers.append("X-Request-Id", "0123456789abcdef");
    head.headers.append("X-Forwarded-For", "192.0.2.7");
    head.headers.append("Via", "1.1 postern");
  }

  // False if the method failed. `base`: what was signed.
  bool sign(const IdentityMethod& method, std::string* base = nullptr) {
    http::Headers added;
    Arena arena;
    std::vector<std::string_view> sensitive;
    std::vector<Explanation> explanations;
    Attempt attempt{.request = head,
                    .scheme = "https",
                    .host = "orders.internal:8443",
                    .path_and_query = "/orders/7/items?sort=desc",
                    .now = kNow,
                    .loop = loop,
                    .deadline = MonoTime::max(),
                    .added = added,
                    .arena = arena,
                    .sensitive = sensitive,
                    .body = kBody,
                    .explanations = base ? &explanations : nullptr};
    auto task = method.apply(attempt);
    auto awaiter = std::move(task).operator co_await();
    const bool done = awaiter.await_ready() && awaiter.await_resume();
    if (base && !explanations.empty()) *base = explanations.front().text;
    benchmark::DoNotOptimize(added.begin());
    return done && !added.empty();
  }
};

const SystemEntropy& entropy() {
  static const SystemEntropy it;
  return it;
}

std::unique_ptr<const HttpSignature> signature_with(std::shared_ptr<const signature::MessageSigner> signer) {
  HttpSignature::Settings settings;
  settings.signer = std::move(signer);
  settings.keyid = "gateway-2026";
  settings.label = "gateway";
  settings.tag = "postern-origin";
  settings.whole_body = kLimit;
  auto made = HttpSignature::make(std::move(settings), entropy());
  return made ? std::move(*made) : nullptr;
}

void run(benchmark::State& state, const IdentityMethod& method) {
  Request request;
  for (auto _ : state) {
    if (!request.sign(method)) state.SkipWithError("not signed");
  }
}

void hmac(benchmark::State& state) {
  Hmac::Settings settings;
  settings.form = state.range(0) == 0 ? signature::WebhookForm::stripe : signature::WebhookForm::standard;
  settings.header = "Webhook-Signature";
  settings.whole_body = kLimit;
  static_cast<void>(settings.keys.add(kSecret));
  run(state, Hmac(std::move(settings), entropy()));
}
BENCHMARK(hmac)->ArgName("standard")->Arg(0)->Arg(1);

void http_signature_hmac(benchmark::State& state) {
  run(state, *signature_with(std::make_shared<const signature::SharedSecret>(kSecret)));
}
BENCHMARK(http_signature_hmac);

void aws_sigv4(benchmark::State& state) {
  AwsSigV4::Settings settings;
  settings.region = "eu-central-1";
  settings.service = "execute-api";
  settings.access_key_id = "AKIAIOSFODNN7EXAMPLE";
  settings.secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  settings.whole_body = kLimit;
  run(state, AwsSigV4(std::move(settings)));
}
BENCHMARK(aws_sigv4);

// ---- a private key, and OpenSSL alone with the same bytes
// ------------------------------------------------------------

std::shared_ptr<const jose::PrivateKey> key_of(jose::Algorithm algorithm) {
  auto made = jose::PrivateKey::generate(algorithm);
  return made ? std::make_shared<const jose::PrivateKey>(std::move(*made)) : nullptr;
}

void http_signature(benchmark::State& state, jose::Algorithm algorithm) {
  auto signer = signature::PrivateMessageKey::make(key_of(algorithm));
  if (!signer) return state.SkipWithError("no key");
  run(state, *signature_with(*std::move(signer)));
}
BENCHMARK_CAPTURE(http_signature, ed25519, jose::Algorithm::EdDSA);
BENCHMARK_CAPTURE(http_signature, es256, jose::Algorithm::ES256);
BENCHMARK_CAPTURE(http_signature, rsa_pss, jose::Algorithm::PS512);

void openssl(benchmark::State& state, jose::Algorithm algorithm, const char* digest) {
  const auto signer = signature::PrivateMessageKey::make(key_of(algorithm));
  if (!signer) return state.SkipWithError("no key");
  std::string base;
  if (!Request().sign(*signature_with(*signer), &base)) return state.SkipWithError("not signed");
  const char* const type = algorithm == jose::Algorithm::EdDSA ? "ED25519" : "EC";
  const std::unique_ptr<EVP_PKEY, FreeKey> key(
      algorithm == jose::Algorithm::PS512   ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048})
      : algorithm == jose::Algorithm::ES256 ? EVP_PKEY_Q_keygen(nullptr, nullptr, type, "P-256")
                                            : EVP_PKEY_Q_keygen(nullptr, nullptr, type));
  const EVP_MD* const md = digest ? EVP_get_digestbyname(digest) : nullptr;
  unsigned char out[512];
  for (auto _ : state) {
    const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
    std::size_t size = sizeof out;
    const bool good = EVP_DigestSignInit(context.get(), nullptr, md, nullptr, key.get()) == 1 &&
                      EVP_DigestSign(context.get(), out, &size, reinterpret_cast<const unsigned char*>(base.data()),
                                     base.size()) == 1;
    if (!good) state.SkipWithError("OpenSSL failed");
    benchmark::DoNotOptimize(out[0]);
  }
}
BENCHMARK_CAPTURE(openssl, ed25519, jose::Algorithm::EdDSA, nullptr);
BENCHMARK_CAPTURE(openssl, es256, jose::Algorithm::ES256, "SHA256");
BENCHMARK_CAPTURE(openssl, rsa_pss, jose::Algorithm::PS512, "SHA512");

}  // namespace
}  // namespace postern::identity

BENCHMARK_MAIN();
