#include "gateway/snapshot.h"

#include <algorithm>
#include <map>

#include "gateway/tls_plans.h"
#include "identity/gateway_jwt/bound_jwt.h"

namespace postern::gateway {
namespace {

http::ServerLimits server_limits(const config::Limits& limits) {
  http::ServerLimits out;
  out.head.max_header_count = limits.max_header_count;
  out.head.max_header_bytes = limits.max_header_bytes;
  out.head.max_target_length = limits.max_target_length;
  out.header_timeout = limits.header_timeout;
  out.idle_timeout = limits.idle_timeout;
  out.body_idle_timeout = limits.body_idle_timeout;
  out.body_min_rate = limits.body_min_rate;
  out.write_idle_timeout = limits.write_idle_timeout;
  out.max_requests = limits.max_requests_per_connection;
  return out;
}

http::h2::Limits http2_limits(const config::Limits& limits) {
  http::h2::Limits out;
  out.max_concurrent_streams = limits.max_concurrent_streams;
  return out;
}

bool same_secret(const config::SharedSecretConfig& a, const config::SharedSecretConfig& b) {
  if (a.header != b.header || a.prefix != b.prefix || !a.value.equals(b.value)) return false;
  if (a.next.has_value() != b.next.has_value()) return false;
  return !a.next || (a.next->switch_at == b.next->switch_at && a.next->value.equals(b.next->value));
}

// True if a connection that was made under `a` may carry requests under `b`, as far as the configuration says; what
// TLS adds is in OriginTls::terms.
bool same_identity(const config::OriginConfig& a, const config::OriginConfig& b) {
  if (a.tls != b.tls || a.insecure.has_value() != b.insecure.has_value()) return false;
  return std::equal(a.identity.begin(), a.identity.end(), b.identity.begin(), b.identity.end(),
                    [](const config::IdentityUse& x, const config::IdentityUse& y) {
                      if (x.config.index() != y.config.index()) return false;
                      if (const auto* const secret = std::get_if<config::SharedSecretConfig>(&x.config)) {
                        return same_secret(*secret, std::get<config::SharedSecretConfig>(y.config));
                      }
                      const auto* const method = std::get_if<config::MethodConfig>(&x.config);
                      return !method ||
                             (x.method == y.method && method->same_as(std::get<config::MethodConfig>(y.config)));
                    });
}

bool same_endpoints(const config::OriginConfig& a, const config::OriginConfig& b) {
  return std::equal(a.endpoints.begin(), a.endpoints.end(), b.endpoints.begin(), b.endpoints.end(),
                    [](const config::EndpointConfig& x, const config::EndpointConfig& y) {
                      return x.address.text == y.address.text && x.authority == y.authority;
                    });
}

}  // namespace

class Snapshot::Builder {
 public:
  Builder(Snapshot& snapshot, const Services& services, const Snapshot* previous, config::Diagnostics& diagnostics)
      : out_(snapshot), services_(services), previous_(previous), diagnostics_(diagnostics) {}

  void build() {
    // RFC 9440 4: an origin behind a gateway believes them, so nobody but the gateway may ever send them.
    for (const std::string_view name : {"client-cert", "client-cert-chain"}) out_.reserved.add(name);
    name_scopes();
    build_listeners();
    build_origins();
    identity::check_bound_keys(*out_.config, diagnostics_);
    build_routes();
    check_used_headers();
  }

 private:
  // Where each use stands: the same after a reload, because counters belong to it.
  void name_scopes() {
    const auto name_all = [&](const std::vector<config::PolicyUse>& uses, const std::string& owner) {
      for (std::size_t i = 0; i < uses.size(); ++i) scopes_[&uses[i]] = owner + "/" + std::to_string(i);
    };
    name_all(out_.config->policies, "gateway");
    for (const config::OriginConfig& backend : out_.config->origins)
      name_all(backend.policies, "origins." + backend.name);
    for (const config::RouteConfig& route : out_.config->routes) {
      name_all(route.policies, "routes." + route.name);
      if (route.answer) scopes_[&*route.answer] = "routes." + route.name + "/answer";
    }
  }

  void build_listeners() {
    std::size_t index = 0;
    for (const config::ListenerConfig& listener : out_.config->listeners) {
      ListenerPlan plan;
      plan.config = &listener;
      const Result<SocketAddress> address = listen_address(listener.address);
      if (!address) {
        diagnostics_.error(config::Problem::bad_value, listener.position, std::string(address.error().detail()),
                           "listeners take IP addresses: 0.0.0.0:8080, [::]:8080 or unix:/path");
        continue;
      }
      plan.address = *address;
      plan.limits = server_limits(listener.limits);
      plan.http2 = http2_limits(listener.limits);
      for (const std::string& network : listener.trusted_proxies) {
        if (const auto cidr = Cidr::parse(network)) plan.trusted_proxies.add(*cidr);
      }
      plan.open_connections = std::make_shared<std::atomic<std::uint32_t>>(0);
      if (previous_) {
        for (const ListenerPlan& old : previous_->listeners) {
          if (old.config->address.text != listener.address.text) continue;
          plan.open_connections = old.open_connections;
        }
      }
      secure(plan, listener);
      plan.metrics = services_.metrics.listener(out_.series_, std::to_string(index++));
      out_.listeners.push_back(std::move(plan));
    }
  }

  void secure(ListenerPlan& plan, const config::ListenerConfig& listener) {
    Result<ListenerTls> planned = plan_listener_tls(*out_.config, listener, services_.tickets, services_.loops);
    if (!planned) return refuse_tls(listener.position, planned.error());
    plan.tls = std::move(planned->contexts);
    plan.trust = std::move(planned->trust);
  }
  void refuse_tls(config::Position position, const Error& error) {
    diagnostics_.error(config::Problem::bad_value, position, "TLS cannot be set up: " + std::string(error.detail()),
                       "see the certificates, keys and versions under `tls`, `trust` and `identity`");
  }

  static Result<SocketAddress> listen_address(const config::Address& address) {
    if (address.kind == config::Address::Kind::unix_socket) return SocketAddress{{}, 0, address.path};
    const auto ip = IpAddress::parse(address.host == "localhost" ? "127.0.0.1" : address.host);
    if (!ip) return fail(Code::io_failed, Side::gateway, "`" + address.text + "` is not an address to listen on");
    return SocketAddress{*ip, address.port, {}};
  }

  void build_origins() {
    for (const config::OriginConfig& backend : out_.config->origins) {
      OriginPlan plan;
      std::vector<std::unique_ptr<const identity::IdentityMethod>> methods;
      for (const config::IdentityUse& use : backend.identity) {
        auto method = identity::make_method(use, diagnostics_, services_.identity);
        if (method) methods.push_back(std::move(method));
      }
      if (methods.size() != backend.identity.size()) continue;  // it has said why
      Result<OriginTls> planned = plan_origin_tls(backend, services_.managed);
      if (!planned) {
        refuse_tls(backend.position, planned.error());
        continue;
      }
      Inherited inherited = inherit_state(backend, *planned);
      if (!inherited.transports) {
        Result<std::shared_ptr<const origins::Transports>> made = make_transports(backend, *planned);
        if (!made) {
          refuse_tls(backend.position, made.error());
          continue;
        }
        inherited.transports = std::move(*made);
      }
      plan.origin = std::make_unique<origins::Origin>(backend, std::move(methods), std::vector<std::string_view>{},
                                                      std::move(inherited.state), inherited.generation,
                                                      std::move(inherited.transports));
      plan.tls_terms = std::move(planned->terms);
      plan.certificate_terms = std::move(planned->certificate_terms);
      plan.certificate = std::move(planned->certificate);
      if (plan.certificate) plan.origin->certificate_ends = plan.certificate->leaf().not_after();
      for (const auto& method : plan.origin->identity) {
        for (const std::string_view secret : method->secrets()) plan.origin->secrets.push_back(secret);
        for (const std::string_view header : method->headers()) reserve(*plan.origin, header);
        if (const auto limit = method->whole_body()) {
          plan.origin->whole_body = std::min(*limit, plan.origin->whole_body.value_or(*limit));
        }
        if (const auto* const filter = method->filter()) plan.origin->filters.push_back(filter);
      }
      if (backend.forward_authorization) out_.reserved.add("x-forwarded-authorization");
      plan.metrics = services_.metrics.origin(out_.series_, backend.name, backend.endpoints.size());
      out_.origins.push_back(std::move(plan));
    }
  }

  // A client's copy goes before anybody sees it. But Authorization is a field of the client's own: it may be what a
  // policy asks for, or meant for another origin, so it is taken off only on the way to the origin that it would
  // confuse (prepare_forwarding()).
  void reserve(origins::Origin& origin, std::string_view header) {
    identity_headers_.add(header);
    origin.replaces_authorization = origin.replaces_authorization || http::is_alias_of(header, "authorization");
    if (!http::is_alias_of(header, "authorization")) out_.reserved.add(header);
  }

  struct Inherited {
    std::shared_ptr<origins::OriginState> state;
    std::uint64_t generation = 0;
    std::shared_ptr<const origins::Transports> transports;  // nullptr: to be made
  };
  // What the origin of that name has learned before, and its endpoints as far as they are known. Its connections go on
  // only if the trust is the same, and the identity by which the origin knows the gateway.
  Inherited inherit_state(const config::OriginConfig& backend, const OriginTls& planned) {
    const std::uint32_t percent = backend.retries.budget_percent;
    if (previous_) {
      for (const OriginPlan& old : previous_->origins) {
        const origins::Origin& before = *old.origin;
        if (before.config.name != backend.name) continue;
        const bool same = same_identity(before.config, backend) && old.tls_terms == planned.terms;
        const bool keep = same && old.certificate_terms == planned.certificate_terms;
        const bool same_hosts = same_endpoints(before.config, backend);
        auto transports = keep && same_hosts ? before.transports : nullptr;
        if (keep && same_hosts && before.state->budget().percent() == percent) {
          return {before.state, before.generation, std::move(transports)};
        }
        // A state of its own: requests that began before stay with the endpoints they were configured for.
        const auto connections = keep ? origins::Connections::keep : origins::Connections::renew;
        auto state = origins::OriginState::next(*before.state, percent, connections);
        state->publish(origins::known_endpoints(backend, *state->endpoints()));
        return {std::move(state), same ? before.generation : out_.generation, std::move(transports)};
      }
    }
    auto state = std::make_shared<origins::OriginState>(percent);
    state->publish(origins::known_endpoints(backend, {}));
    return {std::move(state), out_.generation, nullptr};
  }

  // One object per use in the configuration, however many routes inherit it: a rate limit on the gateway is one limit.
  const policies::Policy* policy_for(const config::PolicyUse& use) {
    const auto known = made_.find(&use);
    if (known != made_.end()) return known->second;
    const policies::CatalogEntry* const entry = policies::find_policy(use.name);
    policies::Services with_scope = services_.policies;
    with_scope.scope = scopes_[&use];
    with_scope.authorities = use.authorities;
    std::unique_ptr<const policies::Policy> policy =
        entry ? entry->make(*use.options, diagnostics_, with_scope) : nullptr;
    const policies::Policy* const made = policy.get();
    if (policy) {
      for (const std::string_view header : policy->reserved_headers()) out_.reserved.add(header);
      out_.policies_.push_back(std::move(policy));
    }
    made_.emplace(&use, made);
    return made;
  }

  // policies/catalog.h: the order is fixed by rank; within a rank gateway, origin, route, and as written.
  std::vector<const config::PolicyUse*> ordered_policies(const config::RouteConfig& route) const {
    const auto rank = [](const config::PolicyUse* use) {
      return policies::find_policy(use->name)->rank(*use->options);
    };
    std::vector<const config::PolicyUse*> ordered;
    const auto insert = [&](const config::PolicyUse* use) {
      const auto at = std::upper_bound(ordered.begin(), ordered.end(), use,
                                       [&](const auto* a, const auto* b) { return rank(a) < rank(b); });
      ordered.insert(at, use);
    };
    for (const config::PolicyUse* const use : config::effective_policies(*out_.config, route)) insert(use);
    return ordered;
  }

  void build_routes() {
    std::vector<route::RouteSpec> specs;
    for (const config::RouteConfig& route : out_.config->routes) {
      RoutePlan plan;
      plan.config = &route;
      plan.origin = route.origin.empty() ? -1 : static_cast<int>(route.origin_index);
      for (const config::PolicyUse* const use : ordered_policies(route)) {
        if (const policies::Policy* const policy = policy_for(*use)) {
          plan.steps.push_back({policy, use, services_.metrics.policy(out_.series_, use->name)});
          for (const std::string_view header : policy->written_headers()) plan.written.add(header);
          for (const std::string_view header : policy->written_response_headers()) plan.written_responses.add(header);
          plan.answers_preflights = plan.answers_preflights || use->name == "cors";
        }
      }
      plan.metrics = services_.metrics.route(out_.series_, route.name);
      specs.push_back(
          {route.match.host, route.match.path, route.match.methods, static_cast<std::uint32_t>(out_.routes.size())});
      out_.routes.push_back(std::move(plan));
    }
    out_.unmatched = services_.metrics.route(out_.series_, "none");
    Result<route::Router> built = route::Router::build(specs);
    if (built) {
      out_.router = std::move(*built);
      return;
    }
    // Again with ever more of them, to name the line of the first that is wrong.
    for (std::size_t i = 1; i <= specs.size(); ++i) {
      const Result<route::Router> attempt = route::Router::build(std::span(specs).first(i));
      if (attempt) continue;
      diagnostics_.error(config::Problem::bad_value, out_.config->document->root().find("routes")->items()[i - 1],
                         std::string(attempt.error().detail()), "change `match` of this route");
      return;
    }
  }

  // No policy may write what identity methods or other policies vouch for; and none can read what is taken off before.
  void check_used_headers() {
    for (const auto& [use, policy] : made_) {
      if (!policy) continue;
      for (const std::string_view header : policy->written_headers()) {
        if (out_.reserved.contains(header) || identity_headers_.contains(header)) refuse_header(*use, header);
      }
      for (const std::string_view header : policy->written_response_headers()) {
        if (identity_headers_.contains(header)) refuse_header(*use, header);
      }
      for (const std::string_view header : policy->reserved_headers()) {
        if (identity_headers_.contains(header)) refuse_header(*use, header);
      }
      for (const std::string_view header : policy->read_headers()) {
        if (!out_.reserved.contains(header)) continue;
        diagnostics_.error(config::Problem::reserved_header, *use->options,
                           "`" + std::string(header) + "` is reserved: what clients send in it is removed unread",
                           "choose another name for what clients send");
      }
    }
  }
  void refuse_header(const config::PolicyUse& use, std::string_view header) {
    diagnostics_.error(config::Problem::reserved_header, *use.options,
                       "`" + std::string(header) + "` is reserved: the gateway vouches for it",
                       "choose another name; identity headers are set by the origin's identity only");
  }

  Snapshot& out_;
  const Services& services_;
  const Snapshot* previous_;
  config::Diagnostics& diagnostics_;
  std::map<const config::PolicyUse*, std::string> scopes_;
  std::map<const config::PolicyUse*, const policies::Policy*> made_;
  http::ReservedNames identity_headers_;  // of all origins
};

std::shared_ptr<const Snapshot> Snapshot::build(std::shared_ptr<const config::Config> loaded, const Services& services,
                                                const Snapshot* previous, std::uint64_t number,
                                                config::Diagnostics& diagnostics) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->generation = number;
  snapshot->config = std::move(loaded);
  snapshot->mint = services.identity.mint;
  snapshot->keys = services.policies.keys;
  snapshot->loop_buffer_memory = services.loop_buffer_memory;
  snapshot->series_ = observe::SeriesSet(services.registry);
  Builder(*snapshot, services, previous, diagnostics).build();
  if (diagnostics.has_errors()) return nullptr;
  return snapshot;
}

}  // namespace postern::gateway
