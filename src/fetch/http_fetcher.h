// HttpFetcher: the Fetcher (tokens/fetcher.h) that asks the network: HTTP/1.1 on a connection of its own for every
// request, over verified TLS. On the control loop; any number of requests at once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fetch/target.h"
#include "origins/resolver.h"
#include "platform/buffer.h"
#include "platform/network.h"
#include "tls/client_context.h"
#include "tokens/fetcher.h"

namespace postern::fetch {

// An HTTP proxy that makes tunnels (CONNECT, RFC 9110 9.3.6). TLS goes through it end to end: it sees host and port.
struct EgressProxy {
  std::string host;  // a name, or an address without brackets; "": none
  std::uint16_t port = 0;
  // Hosts that are asked directly: a name, or ".example.com" for everything below it. Loopback and metadata servers are
  // never asked by way of a proxy.
  std::vector<std::string> bypass;
  bool operator==(const EgressProxy&) const = default;
};

class HttpFetcher final : public tokens::Fetcher {
 public:
  struct Services {
    Loop& loop;
    Network& network;
    BufferPool& buffers;
    origins::Resolver& resolver;
  };

  // All services outlive the fetcher, and the fetcher its tasks.
  explicit HttpFetcher(const Services& services) : services_(services) {}

  void set_proxy(EgressProxy proxy) { proxy_ = std::move(proxy); }
  // As tokens::Fetcher has it. Errors: token_unavailable.
  [[nodiscard]] Task<Result<tokens::FetchResponse>> fetch(tokens::FetchRequest request) override;

 private:
  [[nodiscard]] Task<Result<std::vector<IpAddress>>> resolve(std::string host, MonoTime deadline);
  [[nodiscard]] Task<Result<std::unique_ptr<Stream>>> connect(std::string host, std::optional<IpAddress> address,
                                                              std::uint16_t port, MonoTime deadline);
  [[nodiscard]] Task<Result<void>> open_tunnel(Stream& stream, std::string authority, MonoTime deadline);
  [[nodiscard]] Task<Result<tokens::FetchResponse>> exchange(const tokens::FetchRequest& request, const Target& target,
                                                             std::unique_ptr<Stream> stream, MonoTime deadline);
  [[nodiscard]] Result<std::shared_ptr<const tls::ClientContext>> context_for(const tokens::FetchRequest& request,
                                                                              const Target& target);
  [[nodiscard]] bool needs_proxy(const tokens::FetchRequest& request, const Target& target) const;

  const Services services_;
  EgressProxy proxy_;
  std::shared_ptr<const tls::TrustAnchors> system_;  // read when first needed
};

}  // namespace postern::fetch
