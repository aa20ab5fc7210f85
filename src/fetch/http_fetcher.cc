#include "fetch/http_fetcher.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "http/connection/client_connection.h"
#include "http/h1/response_parser.h"
#include "platform/deadline.h"
#include "platform/event.h"

namespace postern::fetch {
namespace {

using tokens::FetchRequest;
using tokens::FetchResponse;

constexpr std::size_t kMaxTunnelHead = 8 * 1024;
constexpr std::size_t kMaxTriedAddresses = 4;

std::unexpected<Error> failed(std::string what, Retry retry = Retry::yes) {
  return fail(Code::token_unavailable, Side::gateway, std::move(what), retry);
}
// In the words of a client: the code of an origin's failure would say something else.
std::unexpected<Error> failed(std::string_view what, const Error& cause) {
  std::string detail(what);
  const std::string_view why = cause.detail().empty() ? info(cause.code()).title : cause.detail();
  return failed(detail + ": " + std::string(why));
}

bool is_below(std::string_view host, std::string_view suffix) noexcept {
  return suffix.starts_with('.') && host.size() > suffix.size() &&
         iequals(host.substr(host.size() - suffix.size()), suffix);
}

}  // namespace

Task<Result<FetchResponse>> HttpFetcher::fetch(FetchRequest request) {
  const MonoTime deadline = services_.loop.now() + request.total_timeout;
  const MonoTime connected_by = std::min(deadline, services_.loop.now() + request.connect_timeout);
  const Result<Target> target = parse_target(request.url);
  if (!target)
    co_return std::unexpected(Error(target.error().code(), Side::gateway, std::string(target.error().detail())));
  const bool by_proxy = needs_proxy(request, *target);

  Task<Result<std::unique_ptr<Stream>>> connecting =
      by_proxy ? connect(proxy_.host, IpAddress::parse(proxy_.host), proxy_.port, connected_by)
               : connect(target->host, target->address, target->port, connected_by);
  Result<std::unique_ptr<Stream>> stream = co_await std::move(connecting);
  if (!stream) co_return failed(by_proxy ? "the egress proxy" : "the server", stream.error());
  if (by_proxy) {
    const std::string host = target->host.find(':') == std::string::npos ? target->host : "[" + target->host + "]";
    Result<void> opened = co_await open_tunnel(**stream, host + ":" + std::to_string(target->port), deadline);
    if (!opened) co_return std::unexpected(std::move(opened.error()));
  }
  co_return co_await exchange(request, *target, std::move(*stream), deadline);
}

bool HttpFetcher::needs_proxy(const FetchRequest& request, const Target& target) const {
  if (proxy_.host.empty() || request.proxy == FetchRequest::Proxy::never || !target.tls || target.metadata)
    return false;
  if (target.host == "localhost" || (target.address && target.address->is_loopback())) return false;
  return std::ranges::none_of(proxy_.bypass, [&](const std::string& host) {
    return iequals(target.host, host) || is_below(target.host, host);
  });
}

Task<Result<std::vector<IpAddress>>> HttpFetcher::resolve(std::string host, MonoTime deadline) {
  // Shared with the callback, which may come after this task is gone.
  struct Answer final : Timer {
    explicit Answer(Loop& loop) : arrived(loop) {}
    void on_expired() override { arrived.set(); }
    Event arrived;
    Result<origins::Resolution> result =
        fail(Code::origin_unresolved, Side::gateway, "no answer of the name servers in time");
  };
  const auto answer = std::make_shared<Answer>(services_.loop);
  services_.resolver.resolve(host, [answer](Result<origins::Resolution> result) {
    answer->result = std::move(result);
    answer->arrived.set();
  });
  services_.loop.arm(*answer, deadline);
  co_await answer->arrived.wait();
  answer->disarm();
  if (!answer->result) co_return failed("its name cannot be resolved", answer->result.error());
  co_return std::move(answer->result->addresses);
}

Task<Result<std::unique_ptr<Stream>>> HttpFetcher::connect(std::string host, std::optional<IpAddress> address,
                                                           std::uint16_t port, MonoTime deadline) {
  std::vector<IpAddress> addresses;
  if (address) {
    addresses.push_back(*address);
  } else {
    Result<std::vector<IpAddress>> found = co_await resolve(host, deadline);
    if (!found) co_return std::unexpected(std::move(found.error()));
    addresses = std::move(*found);
  }
  const std::size_t tries = std::min(addresses.size(), kMaxTriedAddresses);
  Error last(Code::token_unavailable, Side::gateway, "it has no address");
  for (std::size_t i = 0; i < tries; ++i) {
    // Each gets its share of the time, so that one that is silent does not cost the others theirs.
    const MonoTime now = services_.loop.now();
    const MonoTime until = now + (deadline - now) / static_cast<int>(tries - i);
    Result<std::unique_ptr<Stream>> stream =
        co_await services_.network.connect(services_.loop, SocketAddress{addresses[i], port, {}}, until);
    if (stream) co_return stream;
    last = std::move(stream.error());
  }
  co_return failed(last.code() == Code::origin_connect_timeout ? "did not accept the connection in time"
                                                               : "cannot be reached");
}

Task<Result<void>> HttpFetcher::open_tunnel(Stream& stream, std::string authority, MonoTime deadline) {
  Deadline reading(services_.loop, stream);
  Deadline writing(services_.loop, stream, Deadline::Direction::write);
  reading.set(deadline);
  writing.set(deadline);
  const std::string ask = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
  for (std::size_t sent = 0; sent < ask.size();) {
    iovec part{const_cast<char*>(ask.data()) + sent, ask.size() - sent};
    const IoResult written = stream.try_write({&part, 1});
    if (written.status == IoStatus::ok) {
      sent += written.bytes;
      continue;
    }
    if (written.status != IoStatus::would_block) co_return failed("the egress proxy closed the connection");
    const Wake wake = co_await stream.writable();
    if (wake != Wake::ready) co_return failed("the egress proxy did not answer in time");
  }
  // Byte by byte at the end of the head: what follows it belongs to TLS. Nothing can follow, as we speak first there.
  std::string head;
  for (;;) {
    if (!stream.may_read()) {
      const Wake wake = co_await stream.readable();
      if (wake != Wake::ready) co_return failed("the egress proxy did not answer in time");
    }
    char bytes[1024];
    const IoResult read = stream.try_read(bytes);
    if (read.status == IoStatus::would_block) continue;
    if (read.status != IoStatus::ok) co_return failed("the egress proxy closed the connection");
    head.append(bytes, read.bytes);
    if (head.size() > kMaxTunnelHead) co_return failed("the egress proxy sent too large a head");
    http::h1::ResponseParser parser;
    http::ResponseHead parsed;
    const Result<http::h1::Parse> state = parser.parse(head, http::h1::HeadLimits{}, http::Method::connect, parsed);
    if (!state) co_return failed("the egress proxy sent a malformed answer");
    if (*state != http::h1::Parse::done) continue;
    if (parsed.status < 200 || parsed.status > 299) {
      co_return failed("the egress proxy answered " + std::to_string(parsed.status) + " to CONNECT");
    }
    if (parser.head_size() != head.size()) co_return failed("the egress proxy sent more than its answer");
    co_return Result<void>();
  }
}

Result<std::shared_ptr<const tls::ClientContext>> HttpFetcher::context_for(const FetchRequest& request,
                                                                           const Target& target) {
  tls::ClientOptions options;
  options.anchors = request.trust;
  if (!options.anchors) {
    if (!system_) {
      Result<std::shared_ptr<const tls::TrustAnchors>> read = tls::TrustAnchors::system();
      if (!read) return std::unexpected(std::move(read.error()));
      system_ = std::move(*read);
    }
    options.anchors = system_;
  }
  options.names = {target.host};
  if (!IpAddress::parse(target.host)) options.server_name = target.host;
  options.certificate = request.certificate;
  return tls::ClientContext::make(options);
}

Task<Result<FetchResponse>> HttpFetcher::exchange(const FetchRequest& request, const Target& target,
                                                  std::unique_ptr<Stream> stream, MonoTime deadline) {
  const tls::TlsStream* secured = nullptr;
  if (target.tls) {
    Result<std::shared_ptr<const tls::ClientContext>> context = context_for(request, target);
    if (!context) co_return failed("TLS cannot be prepared", context.error());
    std::unique_ptr<tls::TlsStream> wrapped =
        tls::ClientContext::connect(std::move(*context), services_.loop, services_.buffers, std::move(stream), nullptr);
    Result<void> verified = co_await wrapped->handshake(deadline);
    if (!verified) {
      const bool late = verified.error().code() == Code::origin_connect_timeout;
      co_return late ? failed("the server did not finish the TLS handshake in time")
                     : failed("TLS to the server failed", verified.error());
    }
    secured = wrapped.get();
    stream = std::move(wrapped);
  }
  http::ClientConnection connection(services_.loop, services_.buffers, std::move(stream), {request.total_timeout});
  connection.set_tls(secured);
  // Ends every wait, whatever for: the idle time of a connection is none of a body that drips.
  class End final : public Timer {
   public:
    explicit End(http::ClientConnection& ends) noexcept : ends_(ends) {}
    bool over = false;

   private:
    void on_expired() override {
      over = true;
      static_cast<void>(ends_.interrupt());
    }
    http::ClientConnection& ends_;
  } end(connection);
  services_.loop.arm(end, deadline);
  const auto why = [&](const Error& error) -> std::unexpected<Error> {
    if (end.over || error.code() == Code::origin_timeout) return failed("the server did not answer in time");
    if (error.code() == Code::origin_closed)
      return failed("the server closed the connection before its answer was whole");
    return failed("the server's answer", error);
  };

  http::RequestHead head;
  head.method_text = request.method;
  head.method = http::method_of(request.method);
  http::Headers none;
  for (const FetchRequest::Field& field : request.fields) head.headers.append(field.name, field.value.reveal());
  if (!request.content_type.empty()) head.headers.append("Content-Type", request.content_type);
  head.headers.append("User-Agent", "postern");
  head.headers.append("Connection", "close");
  const std::string_view body = request.body.reveal();
  if (!body.empty() || head.method == http::Method::post) {
    head.framing = http::Framing::length;
    head.content_length = body.size();
  }
  connection.start({head, target.tls ? "https" : "http", target.authority, target.path_and_query, none});
  Result<void> sent;
  if (!body.empty()) {
    sent = co_await connection.write(body, http::End::last);
  } else {
    sent = co_await connection.flush();
  }
  // A server may answer, and close, before it has read everything: the answer counts.
  if (!sent && (end.over || sent.error().code() != Code::origin_closed)) co_return why(sent.error());

  http::ResponseHead answer;
  do {
    Result<void> received = co_await connection.receive_head(head.method, answer, deadline);
    if (!received) co_return why(received.error());
  } while (http::is_interim(answer.status));
  FetchResponse out;
  out.status = answer.status;
  for (const http::Field& field : answer.headers) out.fields.emplace_back(to_lower(field.name), field.value);
  const auto too_large = [&] {
    return failed("the server's answer is larger than " + std::to_string(request.max_body) + " bytes", Retry::yes);
  };
  if (answer.framing == http::Framing::length && answer.content_length > request.max_body) co_return too_large();

  struct Wiped {
    std::string bytes;
    ~Wiped() { explicit_bzero(bytes.data(), bytes.size()); }
  } content;
  content.bytes.reserve(std::min<std::size_t>(request.max_body, 16 * 1024));
  for (;;) {
    if (end.over || services_.loop.now() >= deadline) co_return failed("the server did not finish its answer in time");
    Result<http::BodyPiece> piece = connection.body().poll();
    if (!piece) co_return why(piece.error());
    if (piece->kind == http::BodyPiece::Kind::end) break;
    if (piece->kind == http::BodyPiece::Kind::wait) {
      static_cast<void>(co_await connection.body().wait());  // the next round looks at the time
      continue;
    }
    if (content.bytes.size() + piece->bytes.size() > request.max_body) co_return too_large();
    content.bytes.append(piece->bytes);
    if (piece->last) break;
  }
  out.body = config::Secret(content.bytes);
  co_return out;
}

}  // namespace postern::fetch
