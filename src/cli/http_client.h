// One request and its whole answer, for verbs that ask somebody: a running gateway, the backends of the demo.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "platform/loop.h"
#include "platform/network.h"
#include "platform/task.h"
#include "tls/client_context.h"

namespace postern::cli {

struct ClientRequest {
  SocketAddress address;
  std::string method = "GET";
  std::string path;
  std::string host;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<const tls::ClientContext> tls = nullptr;  // nullptr: in clear
};

struct ClientAnswer {
  int status = 0;
  std::string body;  // at most a few MiB
};

// An error of TLS is Code::origin_tls_failed. Waits at most ten seconds for each step. References outlive the task.
[[nodiscard]] Task<Result<ClientAnswer>> fetch(Loop& loop, Network& network, ClientRequest request);

}  // namespace postern::cli
