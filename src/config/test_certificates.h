// For tests of configurations: PEM files of certificates, keys and authorities, under /tls/, judged at kTestNow. Made
// once per process; whatever is random in them decides nothing.
#pragma once

#include <openssl/pem.h>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "config/test_support.h"
#include "tls/authority.h"
#include "tls/test_certificates.h"

namespace postern::config {

class TestFiles {
 public:
  using Use = tls::CertifiedKey::Use;
  static constexpr auto day = std::chrono::days(1);

  static const TestFiles& get() {
    static const TestFiles files;
    return files;
  }
  // Adds all of them to the world's files.
  static void add_to(World& world) {
    for (const auto& [path, content] : get().values) world.files.values[path] = content;
  }

  // A pair as the texts of its two files.
  struct Pem {
    std::string chain;
    std::string key;
  };
  static Pem to_pem(const tls::CertifiedKey& pair) {
    Pem out;
    for (const auto& certificate : pair.chain()) out.chain += certificate->to_pem();
    out.key = tls::to_pem(pair.key());
    return out;
  }
  // A fresh one, from the authority of that use.
  [[nodiscard]] Pem issue(Use use, std::vector<std::string> dns_names, WallTime not_before, WallTime not_after) const {
    tls::LeafRequest request;
    request.use = use;
    request.common_name = dns_names.empty() ? "nobody.example.com" : dns_names.front();
    request.dns_names = std::move(dns_names);
    request.not_before = not_before;
    request.not_after = not_after;
    return issue(request);
  }
  [[nodiscard]] Pem issue(const tls::LeafRequest& request) const {
    const auto made = (request.use == Use::server ? servers_ : clients_).issue(request);
    if (!made) throw std::runtime_error(made.error().to_string());
    return to_pem(**made);
  }

  std::map<std::string, std::string> values;

 private:
  static tls::Authority make_authority(const char* name, Use use, WallTime from, WallTime to) {
    auto made = tls::Authority::make(name, use, from, to);
    if (!made) throw std::runtime_error(made.error().to_string());
    return std::move(*made);
  }
  void put(const std::string& name, const Pem& pair) {
    values["/tls/" + name + ".pem"] = pair.chain;
    values["/tls/" + name + ".key"] = pair.key;
  }

  TestFiles()
      : servers_(make_authority("Servers", Use::server, kTestNow - 3650 * day, kTestNow + 3650 * day)),
        clients_(make_authority("Clients", Use::client, kTestNow - 3650 * day, kTestNow + 3650 * day)) {
    const WallTime from = kTestNow - 100 * day;
    const WallTime to = kTestNow + 265 * day;
    put("api", issue(Use::server, {"api.example.com", "*.Api.example.com"}, from, to));
    put("api2", issue(Use::server, {"api.example.com", "web.example.com"}, from, to));
    put("other", issue(Use::server, {"other.example.com"}, from, to));
    put("expired", issue(Use::server, {"old.example.com"}, from, kTestNow - std::chrono::seconds(1)));
    put("early", issue(Use::server, {"new.example.com"}, kTestNow + std::chrono::seconds(1), to));
    put("soon", issue(Use::server, {"soon.example.com"}, from, kTestNow + 14 * day - std::chrono::seconds(1)));
    put("later", issue(Use::server, {"later.example.com"}, from, kTestNow + 14 * day));
    const auto hour = std::chrono::hours(1);
    put("short", issue(Use::server, {"short.example.com"}, kTestNow - 16 * hour, kTestNow + 8 * hour));
    put("short-soon", issue(Use::server, {"short.example.com"}, kTestNow - 17 * hour, kTestNow + 7 * hour));
    put("nameless", issue(Use::server, {}, from, to));
    put("client", issue(Use::client, {"gateway.example.com"}, from, to));
    put("client-expired", issue(Use::client, {"gateway.example.com"}, from, kTestNow - day));
    tls::LeafRequest by_address;
    by_address.use = Use::server;
    by_address.common_name = "address";
    by_address.ip_addresses = {"192.0.2.1"};
    by_address.not_before = from;
    by_address.not_after = to;
    put("address", issue(by_address));
    put("rsa", rsa({"api.example.com"}, tls::TestKey::rsa, from, to));
    put("weak", rsa({"api.example.com"}, tls::TestKey::weak_rsa, from, to));

    const std::string& api = values["/tls/api.pem"];
    values["/tls/half.pem"] = api.substr(0, api.size() / 2);
    values["/tls/half.key"] = values["/tls/api.key"].substr(0, 60);
    values["/tls/encrypted.key"] = encrypted(values["/tls/api.key"]);
    values["/tls/reversed.pem"] = servers_.certificate().to_pem() + api;
    values["/tls/empty.pem"] = "";
    values["/tls/garbage.pem"] = "these are not the certificates that you look for\n";
    values["/tls/ca.pem"] = servers_.certificate().to_pem();
    values["/tls/clients-ca.pem"] = clients_.certificate().to_pem();
    const std::string old = make_authority("Old", Use::server, from, kTestNow - day).certificate().to_pem();
    values["/tls/old-ca.pem"] = old;
    values["/tls/old-and-new-ca.pem"] = old + values["/tls/ca.pem"];
    values["/tls/client-ca-of-others.pem"] = make_authority("Others", Use::client, from, to).certificate().to_pem();
    values["/tls/large.pem"] = std::string(tls::kMaxBundleText + 1, '\n');
  }

  static std::string encrypted(const std::string& pem) {
    BIO* const in = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    EVP_PKEY* const key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO* const out = BIO_new(BIO_s_mem());
    char passphrase[] = "hunter2hunter2";
    PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), passphrase, 14, nullptr, nullptr);
    char* text = nullptr;
    const long size = BIO_get_mem_data(out, &text);
    std::string result(text, static_cast<std::size_t>(size));
    BIO_free(in);
    BIO_free(out);
    EVP_PKEY_free(key);
    return result;
  }
  static Pem rsa(std::vector<std::string> dns_names, tls::TestKey key, WallTime from, WallTime to) {
    const tls::TestIdentity made = tls::make_test_certificate(
        {.dns_names = std::move(dns_names), .key = key, .not_before = from, .not_after = to});
    return {made.chain_pem(), made.key_pem()};
  }

  tls::Authority servers_;
  tls::Authority clients_;
};

}  // namespace postern::config
