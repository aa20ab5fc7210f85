#include "origins/origin.h"

#include <algorithm>

namespace postern::origins {
namespace {

// A name of the configuration that must be looked up.
bool is_name(const config::Address& address) {
  return address.kind == config::Address::Kind::tcp && !IpAddress::parse(address.host);
}

bool belongs_to(const Endpoint& endpoint, const config::EndpointConfig& config) {
  return !endpoint.address.is_unix() && endpoint.authority == config.authority &&
         endpoint.address.port == config.address.port;
}

}  // namespace

std::shared_ptr<const EndpointSet> known_endpoints(const config::OriginConfig& config, const EndpointSet& before,
                                                   const KnownAddresses& known) {
  auto out = std::make_shared<EndpointSet>();
  for (const config::EndpointConfig& endpoint : config.endpoints) {
    const auto add = [&](SocketAddress address) {
      for (const auto& existing : before) {
        if (existing->address == address && existing->authority == endpoint.authority) {
          out->push_back(existing);
          return;
        }
      }
      out->push_back(std::make_shared<Endpoint>(std::move(address), endpoint.authority));
    };
    if (endpoint.address.kind == config::Address::Kind::unix_socket) {
      add(SocketAddress{{}, 0, endpoint.address.path});
    } else if (const auto ip = IpAddress::parse(endpoint.address.host)) {
      add(SocketAddress{*ip, endpoint.address.port, {}});
    } else if (const auto found = known.find(endpoint.address.host); found != known.end()) {
      for (const IpAddress& address : found->second) add(SocketAddress{address, endpoint.address.port, {}});
    } else {
      for (const auto& existing : before) {
        if (belongs_to(*existing, endpoint)) out->push_back(existing);
      }
    }
  }
  return out;
}

std::vector<std::string> unknown_names(const config::OriginConfig& config, const EndpointSet& endpoints) {
  std::vector<std::string> out;
  for (const config::EndpointConfig& endpoint : config.endpoints) {
    const bool known = std::any_of(endpoints.begin(), endpoints.end(),
                                   [&](const auto& existing) { return belongs_to(*existing, endpoint); });
    if (is_name(endpoint.address) && !known) out.push_back(endpoint.address.host);
  }
  return out;
}

std::shared_ptr<OriginState> OriginState::next(const OriginState& old, std::uint32_t retry_budget_percent,
                                               Connections connections) {
  auto state = std::make_shared<OriginState>(retry_budget_percent);
  std::shared_ptr<const EndpointSet> endpoints = old.endpoints();
  if (connections == Connections::keep) {
    state->publish(std::move(endpoints));
    return state;
  }
  constexpr auto kRelaxed = std::memory_order_relaxed;
  auto renewed = std::make_shared<EndpointSet>();
  for (const std::shared_ptr<Endpoint>& before : *endpoints) {
    auto endpoint = std::make_shared<Endpoint>(before->address, before->authority);
    endpoint->failures.store(before->failures.load(kRelaxed), kRelaxed);
    endpoint->ejections.store(before->ejections.load(kRelaxed), kRelaxed);
    endpoint->ejected_until.store(before->ejected_until.load(kRelaxed), kRelaxed);
    endpoint->healthy.store(before->healthy.load(kRelaxed), kRelaxed);
    renewed->push_back(std::move(endpoint));
  }
  state->publish(std::move(renewed));
  return state;
}

Transport Origin::transport_to(const Endpoint& endpoint) const {
  if (transports) {
    const auto found = transports->find(endpoint.authority);
    if (found != transports->end()) return found->second;
  }
  return {.tls = nullptr, .unshared = nullptr, .http2 = config.http2};
}

}  // namespace postern::origins
