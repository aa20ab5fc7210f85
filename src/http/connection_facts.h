// ConnectionFacts: what is known of the connection on which a client came in, for everything that judges its requests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "platform/clock.h"
#include "platform/network.h"
#include "tls/server_context.h"
#include "tls/tls_stream.h"

namespace postern::http {

// What the certificate of a client was found to be worth under one set of authorities.
struct ClientVerdict {
  std::uint64_t authorities = 0;  // tls::TrustAnchors::id()
  WallTime since{};               // it holds from here on, and before `until`: dates are part of what was judged
  WallTime until{};
  std::string refusal;  // "": the chain leads to one of them; else why not, for the log
};

// The verdicts on the certificate of one connection. To verify a chain takes as long as many requests, and what a
// client presented stays the same until the connection ends. One loop.
class ClientVerdicts {
 public:
  // Few policies meet on one connection; beyond that the oldest verdict makes room.
  static constexpr std::size_t kMax = 4;

  // nullptr if nothing is known that holds at `now`. Valid until the next remember().
  [[nodiscard]] const ClientVerdict* find(std::uint64_t authorities, WallTime now) const noexcept {
    if (!kept_) return nullptr;
    for (const ClientVerdict& verdict : kept_->verdicts) {
      if (verdict.authorities == authorities && verdict.since <= now && now < verdict.until) return &verdict;
    }
    return nullptr;
  }
  const ClientVerdict& remember(ClientVerdict verdict) {
    std::vector<ClientVerdict>& verdicts = kept().verdicts;
    for (ClientVerdict& old : verdicts) {
      if (old.authorities == verdict.authorities) return old = std::move(verdict);
    }
    if (verdicts.size() < kMax) return verdicts.emplace_back(std::move(verdict));
    ClientVerdict& oldest = verdicts[kept_->next];
    kept_->next = (kept_->next + 1) % kMax;
    return oldest = std::move(verdict);
  }

  // The certificate as a field value of RFC 9440, "" until somebody wants it.
  [[nodiscard]] std::string& client_cert() { return kept().client_cert; }

 private:
  // Most connections have no certificate, and idle ones should cost little.
  struct Kept {
    std::vector<ClientVerdict> verdicts;
    std::size_t next = 0;
    std::string client_cert;
  };
  Kept& kept() {
    if (!kept_) kept_ = std::make_unique<Kept>();
    return *kept_;
  }
  std::unique_ptr<Kept> kept_;
};

struct ConnectionFacts {
  PeerAddress peer;                                            // or what a PROXY header said
  const tls::Handshake* tls = nullptr;                         // nullptr: in clear. Lives as long as the connection
  std::shared_ptr<const tls::ServerContext> tls_context = {};  // under which the connection was made
  // Remembered for later requests; not a fact, so it may change while everything else is const.
  mutable ClientVerdicts verdicts = {};
  [[nodiscard]] bool secure() const noexcept { return tls != nullptr; }
};

}  // namespace postern::http
