// Exchange: one request and its response on their way through the gateway, whatever protocol carried them. It lives in
// the frame of handle_request() on one loop; policies, identity methods and the account read and change it.
//
// Views inside borrow from `arena`, from the connection's pinned head buffer, or from the configuration snapshot that
// the exchange holds; all of them outlive the exchange.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "base/arena.h"
#include "base/ip.h"
#include "http/message.h"
#include "http/target.h"
#include "platform/clock.h"

namespace postern::http {

struct ConnectionFacts;

// The API client that a policy authenticated. Empty views: nobody.
struct ConsumerIdentity {
  std::string_view id;  // stable, unique
  std::string_view name;
  std::string_view key_id;  // public part of the key that was used; "" if it was no key
  [[nodiscard]] bool authenticated() const noexcept { return !id.empty(); }
};

// An answer made by the gateway itself: by a policy (redirect, preflight, fixed answer) or by fail().
struct LocalResponse {
  int status = 0;
  std::string_view content_type;
  std::string_view body;
  Headers headers;
};

struct Exchange {
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() = default;

  Arena arena;
  MonoTime started{};  // when the head was complete
  WallTime started_wall{};
  std::string_view request_id;
  IpAddress client_address;                     // effective: the peer, or what a trusted proxy said
  bool secure = false;                          // client came over TLS
  const ConnectionFacts* connection = nullptr;  // that it came on; outlives the exchange. nullptr: not known

  RequestHead request;     // as policies leave it, this is what goes to the origin
  bool websocket = false;  // a valid opening handshake
  CanonicalTarget target;  // the one form for match, policy, log and forwarding
  ConsumerIdentity consumer;
  std::uint64_t body_limit = std::numeric_limits<std::uint64_t>::max();  // bytes; policies lower it

  // Appended to whatever response goes out, errors included (rate limit fields, CORS).
  Headers response_additions;
  LocalResponse local;               // filled by a policy that returns Flow::respond
  ResponseHead* response = nullptr;  // outbound phase only: the head about to be sent
};

}  // namespace postern::http
