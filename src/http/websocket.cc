#include "http/websocket.h"

#include <openssl/evp.h>

#include <array>

#include "base/strings.h"

namespace postern::http {
namespace {

constexpr std::size_t kKeySize = 24;  // base64 of 16 bytes

bool is_websocket_key(std::string_view key) noexcept {
  if (key.size() != kKeySize || !key.ends_with("==")) return false;
  for (const char c : key.substr(0, kKeySize - 2)) {
    if (!is_alpha(c) && !is_digit(c) && c != '+' && c != '/') return false;
  }
  return true;
}

}  // namespace

Result<void> check_websocket_request(const RequestHead& request) {
  const auto refuse = [](std::string_view rule) {
    return fail(Code::upgrade_refused, Side::client, std::string(rule));
  };
  // In HTTP/2 an extended CONNECT is shown as this GET (h2/server_session.h).
  if (request.method != Method::get || request.version == Version::http_1_0) return refuse("only GET by HTTP/1.1");
  if (request.framing != Framing::none && request.content_length != 0) return refuse("an upgrade with a body");
  if (request.framing == Framing::chunked) return refuse("an upgrade with a body");
  if (request.headers.count(HeaderName::sec_websocket_key) != 1 ||
      !is_websocket_key(request.headers.value(HeaderName::sec_websocket_key))) {
    return refuse("malformed Sec-WebSocket-Key");
  }
  if (request.headers.count(HeaderName::sec_websocket_version) != 1 ||
      request.headers.value(HeaderName::sec_websocket_version) != "13") {
    return refuse("only WebSocket version 13");
  }
  return {};
}

std::string websocket_accept(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 1.3
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  std::size_t size = 0;
  if (EVP_Q_digest(nullptr, "SHA1", nullptr, text.data(), text.size(), digest.data(), &size) != 1) return {};
  std::array<unsigned char, 64> encoded{};
  const int length = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(size));
  return {encoded.begin(), encoded.begin() + length};
}

Result<void> check_websocket_response(const RequestHead& request, const ResponseHead& response) {
  const auto refuse = [](std::string_view rule) {
    return fail(Code::origin_upgrade_failed, Side::origin, std::string(rule));
  };
  const Headers& headers = response.headers;
  if (headers.count(HeaderName::upgrade) != 1 || !iequals(headers.value(HeaderName::upgrade), "websocket")) {
    return refuse("101 without Upgrade: websocket");
  }
  bool connection_upgrade = false;
  for_each_list_element(headers.value(HeaderName::connection), [&](std::string_view option) {
    if (iequals(option, "upgrade")) connection_upgrade = true;
  });
  if (!connection_upgrade) return refuse("101 without Connection: Upgrade");
  if (headers.count(HeaderName::sec_websocket_accept) != 1 ||
      headers.value(HeaderName::sec_websocket_accept) !=
          websocket_accept(request.headers.value(HeaderName::sec_websocket_key))) {
    return refuse("Sec-WebSocket-Accept does not match the key");
  }
  const std::size_t protocols = headers.count(HeaderName::sec_websocket_protocol);
  if (protocols == 0) return {};
  bool offered = false;
  for (const Field& field : request.headers) {
    if (field.id != HeaderName::sec_websocket_protocol) continue;
    for_each_list_element(field.value, [&](std::string_view protocol) {
      if (protocol == headers.value(HeaderName::sec_websocket_protocol)) offered = true;
    });
  }
  if (protocols != 1 || !offered) return refuse("a subprotocol that was not offered");
  return {};
}

}  // namespace postern::http
