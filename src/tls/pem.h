// PEM (RFC 7468), read strictly: a file that somebody is still writing, or that was cut off, is an error and never a
// shorter list of certificates. For this room and jose.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "tls/openssl.h"

namespace postern::tls {

struct PemBlock {
  std::string_view label;  // "CERTIFICATE"
  std::string_view text;   // from the dashes of BEGIN to the dashes of END; both point into the text that was split
  std::size_t line = 0;    // of BEGIN, from 1
};

// At least one block. Text before, between and after blocks is a comment, unless it looks like a part of one: what says
// BEGIN or END must be a whole boundary that has its counterpart. At most 1 MiB.
[[nodiscard]] Result<std::vector<PemBlock>> split_pem(std::string_view text);

// A certificate of a block "CERTIFICATE".
[[nodiscard]] Result<X509Ptr> decode_certificate(const PemBlock& block);

// The one private key of a text: PKCS #8, or the older forms for RSA and EC. Not encrypted; its text is not copied.
[[nodiscard]] Result<KeyPtr> parse_key(std::string_view pem);

// A PKCS #10 request, whose signature is not yet checked.
[[nodiscard]] Result<RequestPtr> parse_request(std::string_view pem);

// All texts of this room that cannot be used: Code::io_failed, Side::gateway, and a detail that says everything.
[[nodiscard]] std::unexpected<Error> unusable(std::string detail);

}  // namespace postern::tls
