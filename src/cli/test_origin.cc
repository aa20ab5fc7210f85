// postern origin test NAME: makes a connection to each endpoint of an origin exactly as the gateway does, with its
// trust and its identity, sends one request, and says what was seen at each step.
#include <fmt/format.h>

#include "base/strings.h"
#include "cli/run_to_end.h"
#include "cli/verbs.h"
#include "config/diagnostics.h"
#include "fetch/http_fetcher.h"
#include "gateway/dry_run.h"
#include "gateway/tls_plans.h"
#include "http/connection/client_connection.h"
#include "http/h2/client_session.h"
#include "observe/json_text.h"
#include "origins/resolver.h"
#include "platform/socket_network.h"

namespace postern::cli {
namespace {

constexpr Duration kResolveTime = std::chrono::seconds(5);

// What one endpoint showed.
struct Seen {
  std::string address;
  bool tls = false;
  std::optional<tls::Handshake> handshake;
  bool http2 = false;
  int status = 0;
  std::vector<identity::Explanation> explanations;  // of what was signed, in the order of the identity methods
  std::string problem;                              // "" if a response came
};

class Ignore final : public http::h2::ClientSession::Owner, public TaskSet::ErrorHandler {
 public:
  void on_session_changed(http::h2::ClientSession& /*session*/) override {}
  void on_task_exception(std::exception_ptr /*exception*/) noexcept override {}
};

void hide(std::string& text, std::string_view secret) {
  if (secret.empty()) return;
  for (std::size_t at = 0; (at = text.find(secret, at)) != std::string::npos;)
    text.replace(at, secret.size(), "[removed]");
}

// A request as the gateway would send it, with every identity method of the origin.
Task<Result<int>> ask(Loop& loop, const origins::Origin& origin, const std::string& authority, const std::string& path,
                      http::Upstream& upstream, std::vector<identity::Explanation>& explanations) {
  http::RequestHead request;
  request.method = http::Method::get;
  request.method_text = "GET";
  request.headers.append("User-Agent", "postern-origin-test");
  http::Headers added;
  Arena arena;
  const std::string_view host =
      origin.config.host_mode == config::HostMode::name ? origin.config.host_name : std::string_view(authority);
  const std::string_view scheme = origin.config.tls ? "https" : "http";
  const MonoTime deadline = loop.now() + origin.config.timeouts.first_byte;
  std::vector<std::string_view> sensitive;
  identity::Attempt attempt{.request = request,
                            .scheme = scheme,
                            .host = host,
                            .path_and_query = path,
                            .now = loop.wall(),
                            .loop = loop,
                            .deadline = deadline,
                            .added = added,
                            .arena = arena,
                            .sensitive = sensitive,
                            .explanations = &explanations};
  for (const auto& method : origin.identity) {
    Result<void> applied = co_await method->apply(attempt);
    if (!applied) co_return std::unexpected(std::move(applied.error()));
  }
  // What is signed may name a field that another method has set: what is shown is never by what somebody could log in.
  for (identity::Explanation& shown : explanations) {
    for (const std::string_view secret : origin.secrets) hide(shown.text, secret);
    for (const std::string_view secret : sensitive) hide(shown.text, secret);
  }
  upstream.start({request, scheme, host, path, added});
  Result<void> sent = co_await upstream.flush();
  if (!sent) co_return std::unexpected(std::move(sent.error()));
  http::ResponseHead response;
  do {
    Result<void> received = co_await upstream.receive_head(http::Method::get, response, deadline);
    if (!received) co_return std::unexpected(std::move(received.error()));
  } while (http::is_interim(response.status));
  co_return response.status;
}

// Fills `seen` step by step, so that what was reached before a failure is shown. References outlive the task.
Task<Result<int>> probe(Loop& loop, Network& network, BufferPool& buffers, const origins::Origin& origin,
                        const origins::Endpoint& endpoint, const std::string& path, Seen& seen) {
  const MonoTime deadline = loop.now() + origin.config.timeouts.connect;
  Result<origins::Established> connection = co_await origins::establish(
      loop, buffers, network, endpoint.address, origin.transport_to(endpoint), origins::Want::any, nullptr, deadline);
  if (!connection) co_return std::unexpected(std::move(connection.error()));
  const tls::TlsStream* const tls = connection->tls;
  if (tls) seen.handshake = tls->info();
  seen.http2 = connection->http2;
  if (!connection->http2) {
    http::ClientConnection http1(loop, buffers, std::move(connection->stream), {origin.config.timeouts.idle});
    http1.set_tls(tls);
    co_return co_await ask(loop, origin, endpoint.authority, path, http1, seen.explanations);
  }
  Ignore ignore;
  http::h2::ClientSession session({loop, buffers, ignore}, std::move(connection->stream), {origin.config.timeouts.idle},
                                  {}, ignore);
  session.start();
  Result<void> ready = co_await session.ready(deadline);
  if (!ready && tls && !tls->failure().empty()) {
    co_return fail(Code::origin_tls_failed, Side::origin, std::string(tls->failure()));
  }
  if (!ready) co_return std::unexpected(std::move(ready.error()));
  if (!session.has_room()) co_return fail(Code::origin_unavailable, Side::origin, "no stream allowed");
  const std::unique_ptr<http::Upstream> stream = session.open();
  co_return co_await ask(loop, origin, endpoint.authority, path, *stream, seen.explanations);
}

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

std::vector<std::string> names_of(const tls::Certificate& certificate) {
  std::vector<std::string> names = certificate.dns_names();
  for (const auto* more : {&certificate.ip_addresses(), &certificate.uris(), &certificate.emails()}) {
    names.insert(names.end(), more->begin(), more->end());
  }
  return names;
}

// Which certificate of the chain carries a configured pin; -1: none.
int pinned(const config::TrustConfig& trust, const tls::Handshake& handshake) {
  for (std::size_t i = 0; i < handshake.peer.size(); ++i) {
    for (const std::string& pin : trust.pins) {
      if (handshake.peer[i]->spki_pin() == pin) return static_cast<int>(i);
    }
  }
  return -1;
}

void show_handshake(std::string& out, const origins::Origin& origin, const tls::Handshake& handshake) {
  out += fmt::format("  TLS       {}, {}, {}\n", handshake.protocol, handshake.cipher,
                     handshake.alpn == tls::Alpn::h2         ? "ALPN h2"
                     : handshake.alpn == tls::Alpn::http_1_1 ? "ALPN http/1.1"
                                                             : "no ALPN");
  out += fmt::format("  SNI       {}\n", handshake.server_name.empty() ? "none" : visible(handshake.server_name));
  for (std::size_t i = 0; i < handshake.peer.size(); ++i) {
    const tls::Certificate& certificate = *handshake.peer[i];
    out += fmt::format("  chain {}   {}, {}, until {}\n", i, visible(certificate.subject()), certificate.key_type(),
                       observe::timestamp_text(certificate.not_after()));
    if (i == 0) out += fmt::format("  names     {}\n", visible(joined(names_of(certificate))));
    if (i == 0) out += fmt::format("  SPKI      sha256/{}\n", certificate.spki_pin());
  }
  out += origin.config.insecure ? "  verified  NO: `insecure` is in force\n" : "  verified  chain and name\n";
  if (!origin.config.trust.pins.empty()) {
    const int at = pinned(origin.config.trust, handshake);
    out += at < 0 ? std::string("  pin       none\n") : fmt::format("  pin       matches chain {}\n", at);
  }
  std::string_view state = tls::to_string(handshake.client_certificate);
  if (handshake.client_certificate == tls::ClientCertificate::not_requested) {
    state = "not requested: the origin does not ask who comes";
  } else if (handshake.client_certificate == tls::ClientCertificate::requested_not_presented) {
    state = "requested but not presented";
  }
  out += fmt::format("  our certificate: {}\n", state);
}

// Line by line, so that nothing that a request holds can look like a line of ours.
void show_explanation(std::string& out, const identity::Explanation& explanation) {
  out += fmt::format("  {}\n", explanation.title);
  for (std::string_view left = explanation.text;;) {
    const std::size_t end = left.find('\n');
    out += fmt::format("    | {}\n", visible(left.substr(0, end)));
    if (end == std::string_view::npos) return;
    left.remove_prefix(end + 1);
  }
}

std::string as_text(const origins::Origin& origin, const std::vector<Seen>& all) {
  std::string out;
  for (const Seen& seen : all) {
    out += fmt::format("{} at {}\n", origin.config.name, seen.address);
    if (seen.handshake) show_handshake(out, origin, *seen.handshake);
    if (!seen.tls) out += "  in clear\n";
    for (const identity::Explanation& explanation : seen.explanations) show_explanation(out, explanation);
    if (seen.problem.empty()) {
      out += fmt::format("  answer    {} ({})\n", seen.status, seen.http2 ? "HTTP/2" : "HTTP/1.1");
    } else {
      out += fmt::format("  FAILED    {}\n", visible(seen.problem));
    }
  }
  return out;
}

std::string as_json(const origins::Origin& origin, const std::vector<Seen>& all) {
  std::string out;
  observe::JsonBuilder json(out);
  json.begin_object().text("origin", origin.config.name).begin_array("endpoints");
  for (const Seen& seen : all) {
    json.begin_object().text("address", seen.address).text("http", seen.http2 ? "2" : "1.1");
    if (seen.handshake) {
      const tls::Handshake& handshake = *seen.handshake;
      json.begin_object("tls").text("protocol", handshake.protocol).text("cipher", handshake.cipher);
      json.text("alpn", handshake.alpn == tls::Alpn::h2 ? "h2" : handshake.alpn == tls::Alpn::none ? "" : "http/1.1");
      json.text("server_name", handshake.server_name);
      json.text("verified", origin.config.insecure ? "no" : "yes");
      json.text("client_certificate", tls::to_string(handshake.client_certificate));
      if (!origin.config.trust.pins.empty()) {
        json.text("pin", pinned(origin.config.trust, handshake) < 0 ? "none" : "matches");
      }
      json.begin_array("chain");
      for (const auto& certificate : handshake.peer) {
        json.begin_object().text("subject", certificate->subject()).text("issuer", certificate->issuer());
        json.text("names", joined(names_of(*certificate))).text("spki", "sha256/" + certificate->spki_pin());
        json.time("not_after", certificate->not_after()).end_object();
      }
      json.end_array().end_object();
    }
    if (!seen.explanations.empty()) {
      json.begin_array("signed");
      for (const identity::Explanation& explanation : seen.explanations) {
        json.begin_object().text("what", explanation.title).text("text", explanation.text).end_object();
      }
      json.end_array();
    }
    if (seen.problem.empty()) {
      json.number("status", static_cast<std::uint64_t>(seen.status));
    } else {
      json.text("problem", seen.problem);
    }
    json.end_object();
  }
  json.end_array().end_object();
  return out + "\n";
}

}  // namespace

Exit test_origin(const OriginTestOptions& options, const Console& console) {
  config::Diagnostics diagnostics(options.config);
  const std::unique_ptr<gateway::DryRun> plan =
      gateway::DryRun::build(options.config, diagnostics, gateway::DryRun::Purpose::inspect);
  if (!plan) {
    static_cast<void>(console.error(diagnostics.to_text()));
    return Exit::configuration;
  }
  const origins::Origin* origin = nullptr;
  std::vector<std::string_view> known;
  for (const gateway::OriginPlan& candidate : plan->snapshot().origins) {
    known.push_back(candidate.origin->config.name);
    if (candidate.origin->config.name == options.origin) origin = candidate.origin.get();
  }
  if (!origin) {
    const std::string_view meant = config::nearest(options.origin, known);
    static_cast<void>(console.error(fmt::format(
        "postern: there is no origin {} in {}{}\n", config::printable(options.origin), visible(options.config),
        meant.empty() ? std::string() : fmt::format("; did you mean `{}`?", meant))));
    return Exit::usage;
  }
  SystemClock clock;
  if (!origin->usable(clock.wall())) {
    static_cast<void>(console.error("postern: the `insecure` exception of this origin has expired: nothing is sent\n"));
    return Exit::configuration;
  }
  if (clock.wall() >= origin->certificate_ends) {
    static_cast<void>(console.error("postern: the client certificate for this origin has expired: nothing is sent\n"));
    return Exit::configuration;
  }
  const auto before = origin->state->endpoints();
  const std::vector<std::string> names = origins::unknown_names(origin->config, *before);
  const auto endpoints = origins::known_endpoints(origin->config, *before, origins::resolve_now(names, kResolveTime));
  if (endpoints->empty()) {
    static_cast<void>(
        console.error(fmt::format("postern: the name of the origin cannot be resolved: {}\n", visible(joined(names)))));
    return Exit::unreachable;
  }
  const std::string path = !options.path.empty()   ? options.path
                           : origin->config.health ? origin->config.health->path
                                                   : "/";
  Loop& loop = plan->loop();
  SocketNetwork network;
  BufferPool buffers;
  // Tokens are obtained for real, afresh.
  const Result<std::unique_ptr<origins::Resolver>> resolver = origins::make_resolver(loop);
  if (!resolver) {
    static_cast<void>(console.error(fmt::format("postern: {}\n", resolver.error().to_string())));
    return Exit::runtime;
  }
  fetch::HttpFetcher fetcher({loop, network, buffers, **resolver});
  const config::EgressProxyConfig& proxy = plan->snapshot().config->egress_proxy;
  fetcher.set_proxy({proxy.host, proxy.port, proxy.bypass});
  struct Stop {
    tokens::TokenManager& tokens;
    ~Stop() { tokens.shut_down(); }
  } const stop{plan->tokens()};
  plan->tokens().warm_up(fetcher);
  std::vector<Seen> all;
  bool good = true;
  for (const auto& endpoint : *endpoints) {
    Seen& seen = all.emplace_back();
    seen.address = endpoint->address.to_string();
    seen.tls = origin->config.tls;
    const auto result = run_to_end(loop, probe(loop, network, buffers, *origin, *endpoint, path, seen));
    if (!result) return Exit::runtime;
    if (*result) {
      seen.status = **result;
    } else {
      seen.problem = result->error().to_string();
    }
    good = good && *result;
  }
  const bool shown = console.out(options.format == Format::json ? as_json(*origin, all) : as_text(*origin, all));
  if (!shown) return Exit::runtime;
  return good ? Exit::ok : Exit::unreachable;
}

}  // namespace postern::cli
