// Why a configuration that is right cannot be put into force: an address, a file or another resource cannot be had.
//
//   postern.yaml:3:5 listeners[0]: 127.0.0.1:80: bind: Permission denied
//     the gateway has everything that its configuration asks for, or does not start (PST-G005)
//     fix: ...
#pragma once

#include <string>

#include "base/error.h"
#include "config/config.h"

namespace postern::gateway {

[[nodiscard]] std::string describe_failure(const std::string& file, const config::Config& config, const Error& error);

}  // namespace postern::gateway
