#include "cli/http_client.h"

#include "http/connection/client_connection.h"
#include "http/h1/serialize.h"
#include "origins/transport.h"

namespace postern::cli {
namespace {

constexpr Duration kPatience = std::chrono::seconds(10);
constexpr std::size_t kMaxBody = 16 * 1024 * 1024;

}  // namespace

Task<Result<ClientAnswer>> fetch(Loop& loop, Network& network, ClientRequest request) {
  BufferPool buffers;
  const origins::Transport transport{request.tls, nullptr, config::OriginHttp2::never};
  Result<origins::Established> established = co_await origins::establish(
      loop, buffers, network, request.address, transport, origins::Want::any, nullptr, loop.now() + kPatience);
  if (!established) co_return std::unexpected(std::move(established.error()));
  http::ClientConnection connection(loop, buffers, std::move(established->stream), {kPatience});
  connection.set_tls(established->tls);
  Buffer& out = connection.writer().head();
  http::h1::begin_request_head(out, request.method, request.path);
  http::h1::write_field(out, "Host", request.host);
  for (const auto& [name, value] : request.headers) http::h1::write_field(out, name, value);
  out.append("Connection: close\r\n\r\n");
  connection.writer().begin_body(http::Framing::none, 0);
  Result<void> sent = co_await connection.writer().flush();
  if (!sent) co_return std::unexpected(std::move(sent.error()));
  http::ResponseHead head;
  const MonoTime deadline = loop.now() + kPatience;
  do {
    Result<void> received = co_await connection.receive_head(http::Method::get, head, deadline);
    if (!received) co_return std::unexpected(std::move(received.error()));
  } while (http::is_interim(head.status));
  ClientAnswer answer{head.status, {}};
  for (;;) {
    Result<http::BodyPiece> piece = connection.body().poll();
    if (!piece) co_return std::unexpected(std::move(piece.error()));
    if (piece->kind == http::BodyPiece::Kind::end) co_return answer;
    if (piece->kind == http::BodyPiece::Kind::wait) {
      const Wake wake = co_await connection.body().wait();
      static_cast<void>(wake);  // a timeout is what the next poll() reports
      continue;
    }
    answer.body += piece->bytes;
    if (answer.body.size() > kMaxBody) co_return fail(Code::origin_malformed, Side::origin, "the answer is too large");
  }
}

}  // namespace postern::cli
