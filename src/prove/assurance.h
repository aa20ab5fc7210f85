// Assurance: how strongly an origin is known to be locked, as one number from 0 to 5 and the reason for it. A pure
// function of configuration (and, once probes exist, of the last proof).
//
//   0  no identity, or one that travels in clear or over TLS that is not verified
//   1  a static secret that only gateway and origin can read on its way (loopback, Unix socket, verified TLS)
//   2  a token that lives for minutes, which others can check but not make
//   3  a signature over the request itself, or mTLS: the origin sees a certificate whose key never leaves the gateway
//
// Higher levels need identity methods and proofs that are not in this version.
#pragma once

#include <string_view>

#include "config/config.h"

namespace postern::prove {

struct Assurance {
  int level = 0;
  std::string_view reason;  // constant text
};

[[nodiscard]] Assurance assess(const config::OriginConfig& origin) noexcept;

}  // namespace postern::prove
