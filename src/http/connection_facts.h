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
    for (const ClientVerdict& verdict : verdicts_) {
      if (verdict.authorities == authorities && verdict.since <= now && now < verdict.until) return &verdict;
    }
    return nullptr;
  }
  const ClientVerdict& remember(ClientVerdict verdict) {
    for (ClientVerdict& old : verdicts_) {
      if (old.authorities == verdict.authorities) return old = std::move(verdict);
    }
    if (verdicts_.size() < kMax) return verdicts_.emplace_back(std::move(verdict));
    ClientVerdict& oldest = verdicts_[next_];
    next_ = (next_ + 1) % kMax;
    return oldest = std::move(verdict);
  }

  // The certificate as a field value of RFC 9440, "" until somebody wants it.
  std::string client_cert;

 private:
  std::vector<ClientVerdict> verdicts_;
  std::size_t next_ = 0;
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
