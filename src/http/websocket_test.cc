#include "http/websocket.h"

#include <gtest/gtest.h>

#include "http/h1/test_support.h"

namespace postern::http {
namespace {

constexpr const char* kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr const char* kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

class Parsed {
 public:
  explicit Parsed(std::string request) : bytes_(std::move(request)) {
    EXPECT_TRUE(parser_.parse(bytes_, {}, request_).has_value()) << bytes_;
  }
  RequestHead& operator*() { return request_; }

 private:
  std::string bytes_;
  h1::RequestParser parser_;
  RequestHead request_;
};

std::string request_with(const std::string& lines, const std::string& start = "GET / HTTP/1.1") {
  return start + "\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + lines + "\r\n";
}
const std::string kSound = "Sec-WebSocket-Key: " + std::string(kKey) + "\r\nSec-WebSocket-Version: 13\r\n";

TEST(WebSocket, AcceptAnswersTheKeyOfTheStandard) {
  EXPECT_EQ(websocket_accept(kKey), kAccept);  // RFC 6455 1.3
  EXPECT_EQ(websocket_accept("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

TEST(WebSocket, ASoundHandshakeIsTaken) {
  for (const std::string lines :
       {"", "Sec-WebSocket-Protocol: chat, superchat\r\n", "Content-Length: 0\r\n", "Origin: https://a\r\n"}) {
    Parsed request(request_with(kSound + lines));
    EXPECT_TRUE(check_websocket_request(*request).has_value()) << lines;
  }
}

TEST(WebSocket, AHandshakeThatIsNoneIsRefused) {
  const std::string key = "Sec-WebSocket-Key: " + std::string(kKey) + "\r\n";
  const std::string version = "Sec-WebSocket-Version: 13\r\n";
  const std::string only_get = "PST-R011 only GET by HTTP/1.1";
  const std::string body = "PST-R011 an upgrade with a body";
  const std::string bad_key = "PST-R011 malformed Sec-WebSocket-Key";
  const std::string bad_version = "PST-R011 only WebSocket version 13";
  const std::pair<std::string, std::string> rows[] = {
      {request_with(kSound, "POST / HTTP/1.1"), only_get},
      {request_with(kSound, "HEAD / HTTP/1.1"), only_get},
      {request_with(kSound, "get / HTTP/1.1"), only_get},
      {request_with(kSound, "GET / HTTP/1.0"), only_get},
      {request_with(kSound + "Content-Length: 1\r\n"), body},
      {request_with(kSound + "Transfer-Encoding: chunked\r\n"), body},
      {request_with(version), bad_key},
      {request_with(kSound + key), bad_key},
      {request_with(version + "Sec-WebSocket-Key:\r\n"), bad_key},
      {request_with(version + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"), bad_key},
      {request_with(version + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n"), bad_key},
      {request_with(version + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=a\r\n"), bad_key},
      {request_with(version + "Sec-WebSocket-Key: dGhl SHNhbXBsZSBub25jZQ==\r\n"), bad_key},
      {request_with(version + "Sec-WebSocket-Key: dGhl-HNhbXBsZSBub25jZQ==\r\n"), bad_key},
      {request_with(version + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==, x\r\n"), bad_key},
      {request_with(key), bad_version},
      {request_with(key + "Sec-WebSocket-Version: 8\r\n"), bad_version},
      {request_with(key + "Sec-WebSocket-Version: 013\r\n"), bad_version},
      {request_with(key + "Sec-WebSocket-Version: 13, 8\r\n"), bad_version},
      {request_with(key + version + version), bad_version},
  };
  for (const auto& [bytes, expected] : rows) {
    Parsed request(bytes);
    const Result<void> result = check_websocket_request(*request);
    ASSERT_FALSE(result.has_value()) << bytes;
    EXPECT_EQ(h1::text_of(result.error()), expected) << bytes;
  }
}

std::string check_response(const std::string& lines, const std::string& offered = "") {
  Parsed request(request_with(kSound + offered));
  const std::string bytes = "HTTP/1.1 101 Switching Protocols\r\n" + lines + "\r\n";
  h1::ResponseParser parser;
  ResponseHead response;
  EXPECT_TRUE(parser.parse(bytes, {}, Method::get, response).has_value()) << lines;
  const Result<void> result = check_websocket_response(*request, response);
  return result ? "" : h1::text_of(result.error());
}

TEST(WebSocket, TheAnswerOfTheStandardIsTaken) {
  const std::string accept = "Sec-WebSocket-Accept: " + std::string(kAccept) + "\r\n";
  EXPECT_EQ(check_response("Upgrade: websocket\r\nConnection: Upgrade\r\n" + accept), "");
  EXPECT_EQ(check_response("Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n" + accept), "");
}

// CVE-2024-23326: an answer that does not switch was taken for one that does.
TEST(WebSocket, AnyOtherAnswerIsRefused) {
  const std::string accept = "Sec-WebSocket-Accept: " + std::string(kAccept) + "\r\n";
  const std::string sound = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
  const std::string no_upgrade = "PST-U008 101 without Upgrade: websocket";
  const std::string no_connection = "PST-U008 101 without Connection: Upgrade";
  const std::string mismatch = "PST-U008 Sec-WebSocket-Accept does not match the key";
  const std::pair<std::string, std::string> rows[] = {
      {"Connection: Upgrade\r\n" + accept, no_upgrade},
      {"Upgrade: h2c\r\nConnection: Upgrade\r\n" + accept, no_upgrade},
      {"Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" + accept, no_upgrade},
      {"Upgrade: websocket\r\n" + sound + accept, no_upgrade},
      {"Upgrade: websocket\r\n" + accept, no_connection},
      {"Upgrade: websocket\r\nConnection: close\r\n" + accept, no_connection},
      {"Upgrade: websocket\r\nConnection: upgraded\r\n" + accept, no_connection},
      {sound, mismatch},
      {sound + "Sec-WebSocket-Accept:\r\n", mismatch},
      {sound + "Sec-WebSocket-Accept: " + kKey + "\r\n", mismatch},
      {sound + "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", mismatch},
      {sound + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n", mismatch},
      {sound + "Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n", mismatch},
      {sound + accept + accept, mismatch},
  };
  for (const auto& [lines, expected] : rows) EXPECT_EQ(check_response(lines), expected) << lines;
}

TEST(WebSocket, OnlyASubprotocolThatWasOfferedMayBeChosen) {
  const std::string sound =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + std::string(kAccept) + "\r\n";
  const std::string refused = "PST-U008 a subprotocol that was not offered";
  const std::string offered = "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Protocol: v2\r\n";
  EXPECT_EQ(check_response(sound, offered), "");
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol: superchat\r\n", offered), "");
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol: v2\r\n", offered), "");
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol: Chat\r\n", offered), refused);
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol: chat, v2\r\n", offered), refused);
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol:\r\n", offered), refused);
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: v2\r\n", offered), refused);
  EXPECT_EQ(check_response(sound + "Sec-WebSocket-Protocol: chat\r\n"), refused);
}

}  // namespace
}  // namespace postern::http
