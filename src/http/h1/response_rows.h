// The hostile table of response heads: what an origin must not get away with, and what is taken, and how.
#pragma once

#include <string>
#include <vector>

#include "http/h1/request_rows.h"
#include "http/message.h"

namespace postern::http::h1 {

struct ResponseRow {
  std::string name;
  std::string bytes;
  std::string expected;      // Verdict::decision
  std::string differs = {};  // as in RequestRow
  Method request_method = Method::get;
};

namespace rows {

inline constexpr const char* kStatus =
    "a status is three digits from 100 to 599 (RFC 9110 15); llhttp takes any number";
inline constexpr const char* kReason = "llhttp does not look at the reason phrase";
inline constexpr const char* kUntilEnd = "llhttp reads a body of an unknown coding until the end of the connection";
inline constexpr const char* kBodiless = "who announces a body will send it, and it would be read as the next response";

inline std::string ok(const std::string& lines) { return "HTTP/1.1 200 OK\r\n" + lines + "\r\n\r\n"; }
inline std::string status(const std::string& status_line) { return status_line + "\r\nContent-Length: 0\r\n\r\n"; }

}  // namespace rows

inline std::vector<ResponseRow> status_line_rows() {
  using namespace rows;
  using namespace std::string_literals;
  const std::string stranger = "PST-U005 this is not HTTP/1";
  const std::string malformed = "PST-U005 malformed status line";
  const std::string code = "PST-U005 malformed status code";
  const std::string range = "PST-U005 status code out of range";
  const std::string reason = "PST-U005 control character in the reason phrase";
  const std::string bare_lf = "PST-U005 a line ends with a bare LF";
  return {
      {"a response", status("HTTP/1.1 200 OK"), "200 'OK' 1.1 length 0 keep"},
      {"no reason", status("HTTP/1.1 200 "), "200 1.1 length 0 keep"},
      {"no reason and no space", status("HTTP/1.1 200"), "200 1.1 length 0 keep"},
      {"a reason of words", status("HTTP/1.1 404 Not Found At All"), "404 'Not Found At All' 1.1 length 0 keep"},
      {"a reason with high bytes and tabs", status("HTTP/1.1 200 \xe4\t!"), "200 '\xe4\t!' 1.1 length 0 keep"},
      {"HTTP/1.0", status("HTTP/1.0 200 OK"), "200 'OK' 1.0 length 0 close"},
      {"the last status", status("HTTP/1.1 599 x"), "599 'x' 1.1 length 0 keep"},
      {"HTTP/1.2", status("HTTP/1.2 200 OK"), malformed},
      {"HTTP/2.0", status("HTTP/2.0 200 OK"), stranger, kVersion},
      {"HTTP/0.9", status("HTTP/0.9 200 OK"), stranger, kVersion},
      {"HTTP/11.1", status("HTTP/11.1 200 OK"), stranger},
      {"lower-case protocol", status("http/1.1 200 OK"), stranger},
      {"another protocol", status("ICY 200 OK"), stranger},
      {"another protocol of the same shape", status("RTSP/1.0 200 OK"), stranger},
      {"no protocol", "<html></html>", stranger},
      {"an empty line before it", "\r\n" + status("HTTP/1.1 200 OK"), stranger, kBefore},
      {"a space before it", " " + status("HTTP/1.1 200 OK"), stranger},
      {"a NUL before it", "\0"s + status("HTTP/1.1 200 OK"), stranger},
      {"only the version", status("HTTP/1.1"), malformed},
      {"no status", status("HTTP/1.1 OK"), malformed},
      {"two digits", status("HTTP/1.1 20 OK"), code, kStatus},
      {"two digits and no reason", status("HTTP/1.1 20"), malformed, kStatus},
      {"four digits", status("HTTP/1.1 2000 OK"), malformed},
      {"letters", status("HTTP/1.1 2xx OK"), code},
      {"a sign", status("HTTP/1.1 +20 OK"), code},
      {"a negative status", status("HTTP/1.1 -20 OK"), code},
      {"hexadecimal", status("HTTP/1.1 0x2 OK"), code},
      {"000", status("HTTP/1.1 000 OK"), range, kStatus},
      {"099", status("HTTP/1.1 099 OK"), range, kStatus},
      {"600", status("HTTP/1.1 600 x"), range, kStatus},
      {"999", status("HTTP/1.1 999 x"), range, kStatus},
      {"two spaces before the status", status("HTTP/1.1  200 OK"), code, kStatus},
      {"a tab before the status", status("HTTP/1.1\t200 OK"), malformed},
      {"a tab behind the status", status("HTTP/1.1 200\tOK"), malformed},
      {"a colon behind the status", status("HTTP/1.1 200:OK"), malformed},
      {"NUL in the reason", status("HTTP/1.1 200 O\0K"s), reason, kReason},
      {"a control character in the reason", status("HTTP/1.1 200 O\x01K"), reason, kReason},
      {"DEL in the reason", status("HTTP/1.1 200 O\x7fK"), reason, kReason},
      {"bare CR in the reason", status("HTTP/1.1 200 O\rK"), reason},
      {"bare LF as line end", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", bare_lf, kBareLf},
      {"bare LF everywhere", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", bare_lf},
      {"half a status line", "HTTP/1.1 20", "need more"},
      {"only a letter", "H", "need more"},
      {"a status line of 1024 bytes", status("HTTP/1.1 200 " + std::string(1009, 'x')),
       "200 '" + std::string(1009, 'x') + "' 1.1 length 0 keep"},
      {"a status line of 1025 bytes", status("HTTP/1.1 200 " + std::string(1010, 'x')), "PST-U005 status line too long",
       "our limit"},
  };
}

inline std::vector<ResponseRow> response_field_rows() {
  using namespace rows;
  using namespace std::string_literals;
  const std::string name = "PST-U005 malformed field name";
  const std::string value = "PST-U005 control character in a field value";
  const std::string folded = "PST-U005 folded field line";
  const std::string bare_lf = "PST-U005 a line ends with a bare LF";
  return {
      {"a field", ok("Content-Length: 0\r\nX-A: b"), "200 'OK' 1.1 length 0 keep"},
      {"an empty name", ok(": x\r\nContent-Length: 0"), name, kEmptyName},
      {"space before the colon", ok("Content-Length : 0"), name},
      {"no colon", ok("X-A\r\nContent-Length: 0"), name},
      {"NUL in the name", ok("X\0A: b"s), name},
      {"a name of 257 bytes", ok(std::string(257, 'n') + ": b"), name, kLongName},
      {"NUL in the value", ok("X-A: a\0b"s), value},
      {"a control character in the value", ok("X-A: a\x01"), value},
      {"bare CR in the value", ok("X-A: a\rb"), "PST-U005 a bare CR"},
      {"bare LF in the value", ok("X-A: a\nSet-Cookie: evil"), bare_lf},
      {"bare LF for the empty line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", bare_lf, kBareLf},
      {"folded line", ok("X-A: a\r\n b\r\nContent-Length: 0"), folded, kFolded},
      {"folded length", ok("Content-Length:\r\n 0"), folded, kFolded},
      {"the first field folded", "HTTP/1.1 200 OK\r\n X: y\r\n\r\n", folded},
      {"no empty line", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "need more"},
  };
}

inline std::vector<ResponseRow> response_framing_rows() {
  using namespace rows;
  using namespace std::string_literals;
  const std::string length = "PST-U005 malformed or repeated Content-Length";
  const std::string coding = "PST-U005 Transfer-Encoding other than chunked";
  const std::string both = "PST-U005 Content-Length and Transfer-Encoding";
  const std::string bodiless = "PST-U005 a body with a status that cannot have one";
  const auto with = [](const char* status, const char* lines) {
    return "HTTP/1.1 "s + status + " x\r\n" + lines + "\r\n";
  };
  std::vector<ResponseRow> out = {
      {"a length", ok("Content-Length: 5"), "200 'OK' 1.1 length 5 keep"},
      {"chunked", ok("Transfer-Encoding: chunked"), "200 'OK' 1.1 chunked keep"},
      {"neither", ok("X: y"), "200 'OK' 1.1 until close close"},
      {"neither, but keep-alive", ok("Connection: keep-alive"), "200 'OK' 1.1 until close close"},
      {"length and close", ok("Content-Length: 5\r\nConnection: close"), "200 'OK' 1.1 length 5 close"},
      {"HTTP/1.0 that keeps alive", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
       "200 'OK' 1.0 length 5 keep"},
      {"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       "PST-U005 Transfer-Encoding in HTTP/1.0", kFaulty},
      {"length and chunked", ok("Content-Length: 5\r\nTransfer-Encoding: chunked"), both},
      {"chunked and length", ok("Transfer-Encoding: chunked\r\nContent-Length: 5"), both},
      {"two lengths that differ", ok("Content-Length: 0\r\nContent-Length: 6"), length},
      {"two lengths that agree", ok("Content-Length: 5\r\nContent-Length: 5"), length},
      {"a list of lengths", ok("Content-Length: 5, 5"), length},
      {"an empty length", ok("Content-Length:"), length},
      {"a signed length", ok("Content-Length: +5"), length},
      {"a hexadecimal length", ok("Content-Length: 0x5"), length},
      {"a length over 64 bits", ok("Content-Length: 18446744073709551621"), length},
      {"one more than the greatest length", ok("Content-Length: 4611686018427387905"), length, kOverflow},
      {"chunked twice in one field", ok("Transfer-Encoding: chunked, chunked"), coding, kLast},
      {"chunked in two fields", ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), coding, kLast},
      {"chunked and identity in two fields", ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), coding,
       kUntilEnd},
      {"chunked before gzip", ok("Transfer-Encoding: chunked, gzip"), coding, kUntilEnd},
      {"gzip before chunked", ok("Transfer-Encoding: gzip, chunked"), coding, kLast},
      {"an unknown coding", ok("Transfer-Encoding: cow"), coding, kUntilEnd},
      {"identity", ok("Transfer-Encoding: identity"), coding, kUntilEnd},
      {"an empty coding", ok("Transfer-Encoding:"), coding, kUntilEnd},
      {"no Host is asked for, two are no matter", ok("Content-Length: 0\r\nHost: a\r\nHost: b"),
       "200 'OK' 1.1 length 0 keep"},

      {"204", with("204", ""), "204 'x' 1.1 none keep"},
      {"204 with length 0", with("204", "Content-Length: 0\r\n"), "204 'x' 1.1 none keep"},
      {"204 with a length", with("204", "Content-Length: 5\r\n"), bodiless, kBodiless},
      {"204 with chunked", with("204", "Transfer-Encoding: chunked\r\n"), bodiless, kBodiless},
      {"205 is like 200", with("205", "Content-Length: 0\r\n"), "205 'x' 1.1 length 0 keep"},
      {"304", with("304", ""), "304 'x' 1.1 none keep"},
      {"304 with a length", with("304", "Content-Length: 5\r\n"), "304 'x' 1.1 none 5 keep announced"},
      {"304 with chunked", with("304", "Transfer-Encoding: chunked\r\n"), "304 'x' 1.1 none keep"},
      {"304 with both", with("304", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), both},
      {"100", with("100", ""), "100 'x' 1.1 none keep"},
      {"100 with a length", with("100", "Content-Length: 5\r\n"), bodiless, kBodiless},
      {"100 with chunked", with("100", "Transfer-Encoding: chunked\r\n"), bodiless, kBodiless},
      {"101", with("101", "Upgrade: websocket\r\nConnection: Upgrade\r\n"), "101 'x' 1.1 none keep"},
      {"101 with a length", with("101", "Content-Length: 5\r\n"), bodiless, kBodiless},
      {"103", with("103", "Link: </a>\r\n"), "103 'x' 1.1 none keep"},
      {"103 with a length", with("103", "Content-Length: 5\r\n"), bodiless, kBodiless},
      {"199 is interim as well", with("199", ""), "199 'x' 1.1 none keep"},

      {"HEAD with a length", ok("Content-Length: 5"), "200 'OK' 1.1 none 5 keep announced", "", Method::head},
      {"HEAD with chunked", ok("Transfer-Encoding: chunked"), "200 'OK' 1.1 none keep", "", Method::head},
      {"HEAD with neither", ok("X: y"), "200 'OK' 1.1 none keep", "", Method::head},
      {"HEAD with both", ok("Content-Length: 5\r\nTransfer-Encoding: chunked"), both, "", Method::head},
      {"HEAD with two lengths", ok("Content-Length: 5\r\nContent-Length: 6"), length, "", Method::head},
      {"HEAD with 404", with("404", "Content-Length: 5\r\n"), "404 'x' 1.1 none 5 keep announced", "", Method::head},
      {"POST is no HEAD", ok("Content-Length: 5"), "200 'OK' 1.1 length 5 keep", "", Method::post},
  };
  return out;
}

inline std::vector<ResponseRow> response_rows() {
  std::vector<ResponseRow> all;
  for (auto part : {status_line_rows, response_field_rows, response_framing_rows}) {
    for (ResponseRow& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace postern::http::h1
