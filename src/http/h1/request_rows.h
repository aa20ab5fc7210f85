// The hostile table of request heads (and their harmless neighbours): what is refused, with the rule, and what is
// taken, and how. request_parser_test.cc feeds every row in all ways, llhttp_test.cc asks the second opinion.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::http::h1 {

struct RequestRow {
  std::string name;
  std::string bytes;
  std::string expected;  // Verdict::decision
  // Why llhttp decides otherwise: takes what we refuse, or refuses what we take. "" if it agrees.
  std::string differs = {};
};

namespace rows {

using namespace std::string_literals;

// Why llhttp decides otherwise.
inline constexpr const char* kOverflow = "sums of lengths must not overflow; llhttp goes to 2^64 - 1";
inline constexpr const char* kFolded = "RFC 9112 5.2 lets a server refuse obs-fold; llhttp joins it to the line before";
inline constexpr const char* kLast = "no coding but chunked is known here; llhttp only wants chunked to be last";
inline constexpr const char* kEmptyName = "llhttp takes an empty name (HAProxy's CVE-2023-25725)";
inline constexpr const char* kBareLf = "llhttp takes a bare LF here even in strict mode";
inline constexpr const char* kLongName = "our limit; a length kept in 8 bits wraps here (HAProxy's CVE-2021-40346)";
inline constexpr const char* kTab = "a tab is white space (RFC 9110 5.6.3); llhttp strips spaces only";
inline constexpr const char* kMethods = "any token is a method (RFC 9110 9.1); llhttp has a fixed list";
inline constexpr const char* kSpaces = "RFC 9112 3 wants single spaces; llhttp skips them";
inline constexpr const char* kBefore = "RFC 9112 2.2 forgives one empty line; llhttp skips any CR and LF";
inline constexpr const char* kVersion = "only HTTP/1.0 and 1.1 are spoken here; llhttp reads others like them";
inline constexpr const char* kHost = "llhttp does not look at Host";
inline constexpr const char* kExpect = "llhttp does not look at Expect";
inline constexpr const char* kFaulty = "RFC 9112 6.1: faulty framing; llhttp reads it";

inline std::string get(const std::string& lines) { return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n\r\n"; }
inline std::string post(const std::string& lines) { return "POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n\r\n"; }
inline std::string line(const std::string& request_line) { return request_line + "\r\nHost: a\r\n\r\n"; }
inline std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  for (std::size_t at = 0;; at = list.find('|', at) + 1) {
    out.emplace_back(list.substr(at, list.find('|', at) - at));
    if (list.find('|', at) == std::string_view::npos) return out;
  }
}
inline std::string name_of(std::size_t size) { return std::string(size, 'n'); }

}  // namespace rows

inline std::vector<RequestRow> content_length_rows() {
  using namespace rows;
  const std::string malformed = "PST-R003 malformed or repeated Content-Length";
  const std::string both = "PST-R003 Content-Length and Transfer-Encoding";
  std::vector<RequestRow> out = {
      {"a length", post("Content-Length: 5"), "POST / 1.1 length 5 keep"},
      {"a length of nothing", post("Content-Length: 0"), "POST / 1.1 length 0 keep"},
      {"a length with GET", get("Content-Length: 5"), "GET / 1.1 length 5 keep"},
      {"a length with leading zeros", post("Content-Length: 0005"), "POST / 1.1 length 5 keep"},
      {"a length between spaces and tabs", post("Content-Length: \t 5 \t"), "POST / 1.1 length 5 keep", kTab},
      {"a length without a space before", post("Content-Length:5"), "POST / 1.1 length 5 keep"},
      {"a length in another case", post("cONTENT-lENGTH: 5"), "POST / 1.1 length 5 keep"},
      {"the greatest length", post("Content-Length: 4611686018427387904"),
       "POST / 1.1 length 4611686018427387904 keep"},
      {"one more than the greatest length", post("Content-Length: 4611686018427387905"), malformed, kOverflow},
      {"a length of 2^63", post("Content-Length: 9223372036854775808"), malformed, kOverflow},
      {"a length of 2^64 - 1", post("Content-Length: 18446744073709551615"), malformed, kOverflow},
      {"an alias is no length", post("Content_Length: 5"), "POST / 1.1 none keep"},
      {"folded length", post("Content-Length:\r\n 5"), "PST-R002 folded field line", kFolded},
      {"length and chunked", post("Content-Length: 5\r\nTransfer-Encoding: chunked"), both},
      {"chunked and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5"), both},
      {"length 0 and chunked", post("Content-Length: 0\r\nTransfer-Encoding: chunked"), both},
      {"two lengths that agree", post("Content-Length: 5\r\nContent-Length: 5"), malformed},
      {"two lengths that differ", post("Content-Length: 5\r\nContent-Length: 6"), malformed},
      {"two lengths, the first empty", post("Content-Length:\r\nContent-Length: 5"), malformed},
      {"two lengths, the second empty", post("Content-Length: 5\r\nContent-Length:"), malformed},
      {"two lengths, far apart", post("Content-Length: 5\r\nX: y\r\ncontent-length: 0"), malformed},
  };
  for (const std::string& value :
       split("| |5,|,5|5, 5|5, 6|+5|-5|0x5|0X5|5 5|5.0|5e0|5;|\"5\"|\xc2\xb2|\xb2|5a|a|five|18446744073709551616|"
             "18446744073709551621|36893488147419103237|99999999999999999999999|5\xa0")) {
    out.push_back({"length '" + value + "'", post("Content-Length: " + value), malformed});
  }
  for (const std::string& value : split("5\x0b|5\x0c|\x01|5\x7f")) {
    out.push_back({"length with a control character", post("Content-Length: " + value),
                   "PST-R002 control character in a field value"});
  }
  return out;
}

inline std::vector<RequestRow> transfer_encoding_rows() {
  using namespace rows;
  const std::string coding = "PST-R003 Transfer-Encoding other than chunked";
  const std::string name = "PST-R002 malformed field name";
  std::vector<RequestRow> out = {
      {"chunked", post("Transfer-Encoding: chunked"), "POST / 1.1 chunked keep"},
      {"chunked in capitals", post("TRANSFER-ENCODING: CHUNKED"), "POST / 1.1 chunked keep"},
      {"chunked between blanks", post("Transfer-Encoding: \tchunked \t"), "POST / 1.1 chunked keep", kTab},
      {"chunked with GET", get("Transfer-Encoding: chunked"), "GET / 1.1 chunked keep"},
      {"chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), coding},
      {"chunked and identity in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), coding},
      {"identity and chunked in two fields", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"), coding,
       kLast},
      {"chunked and an empty field", post("Transfer-Encoding: chunked\r\nTransfer-Encoding:"), coding, kLast},
      {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
       "PST-R003 Transfer-Encoding in HTTP/1.0", kFaulty},
      {"space before the colon", post("Transfer-Encoding : chunked"), name},
      {"tab before the colon", post("Transfer-Encoding\t: chunked"), name},
      {"a control character before the colon", post("Transfer-Encoding\x0b: chunked"), name},
      {"folded chunked", post("Transfer-Encoding:\r\n chunked"), "PST-R002 folded field line", kFolded},
      {"folded behind chunked", post("Transfer-Encoding: chunked\r\n , identity"), "PST-R002 folded field line"},
      {"an alias is no coding", post("Transfer_Encoding: chunked"), "POST / 1.1 none keep"},
      {"a longer name is no coding", post("Transfer-Encoding-X: chunked"), "POST / 1.1 none keep"},
  };
  // What llhttp refuses as well, and what it takes because it wants chunked to be last, not alone.
  for (const std::string& value :
       split("identity|chunked, "
             "identity|xchunked|chunkedx|\"chunked\"|'chunked'|chunked;q=1|chunked;|chunked,|gzip|chunked, gzip|"
             "deflate|cow|chun\xc3\xa7"
             "ked|chunke|chunked chunked|chunked, chunked|\xa0"
             "chunked|chunked\x85|x-chunked")) {
    out.push_back({"coding '" + value + "'", post("Transfer-Encoding: " + value), coding});
  }
  for (const std::string& value :
       split("|identity, chunked|,chunked|, chunked|gzip, chunked|compress, chunked|trailers, chunked")) {
    out.push_back({"coding '" + value + "'", post("Transfer-Encoding: " + value), coding, kLast});
  }
  for (const std::string& value : split("\x0b"
                                        "chunked|chunked\x0b|chunked\x7f")) {
    out.push_back({"coding with a control character", post("Transfer-Encoding: " + value),
                   "PST-R002 control character in a field value"});
  }
  return out;
}

inline std::vector<RequestRow> request_line_rows() {
  using namespace rows;
  const std::string method = "PST-R001 malformed method";
  const std::string malformed = "PST-R001 malformed request line";
  const std::string version = "PST-R001 malformed version";
  const std::string stranger = "PST-R001 this is not HTTP/1";
  const std::string spoken = "PST-R013 only HTTP/1.0 and HTTP/1.1 are spoken here";
  const std::string visible = "PST-R004 a byte outside of visible ASCII";
  const std::string bare_lf = "PST-R001 a line ends with a bare LF";
  return {
      {"a request", line("GET /a?b=c HTTP/1.1"), "GET /a?b=c 1.1 none keep"},
      {"one empty line before it", "\r\n" + line("GET / HTTP/1.1"), "GET / 1.1 none keep"},
      {"two empty lines before it", "\r\n\r\n" + line("GET / HTTP/1.1"), stranger, kBefore},
      {"a bare LF before it", "\n" + line("GET / HTTP/1.1"), stranger, kBefore},
      {"a bare CR before it", "\r" + line("GET / HTTP/1.1"), stranger, kBefore},
      {"a space before it", " " + line("GET / HTTP/1.1"), stranger},
      {"a NUL before it", "\0"s + line("GET / HTTP/1.1"), stranger},
      {"an empty line with a space", " \r\n" + line("GET / HTTP/1.1"), stranger},
      {"two spaces after the method", line("GET  / HTTP/1.1"), malformed, kSpaces},
      {"two spaces before the version", line("GET /  HTTP/1.1"), "PST-R004 a space in the request target", kSpaces},
      {"a tab after the method", line("GET\t/ HTTP/1.1"), method},
      {"a tab before the version", line("GET /\tHTTP/1.1"), visible},
      {"a space at the end", line("GET / HTTP/1.1 "), version},
      {"a tab at the end", line("GET / HTTP/1.1\t"), version},
      {"a space in the target", line("GET /a b HTTP/1.1"), "PST-R004 a space in the request target"},
      {"no target", line("GET HTTP/1.1"), malformed},
      {"an empty target", line("GET  HTTP/1.1"), malformed},
      {"no version", line("GET /"), malformed, kVersion},
      {"an empty version", line("GET / "), version},
      {"only a method", line("GET"), method},
      {"no method", line("/ HTTP/1.1"), stranger},
      {"lower-case protocol", line("GET / http/1.1"), version},
      {"another protocol", line("GET / HTTQ/1.1"), version},
      {"another protocol that llhttp knows", line("GET / RTSP/1.0"), version, kVersion},
      {"ICE", line("SOURCE / ICE/1.0"), version, kVersion},
      {"no slash", line("GET / HTTP1.1"), version},
      {"two digits", line("GET / HTTP/11.1"), version},
      {"two digits behind the dot", line("GET / HTTP/1.10"), version},
      {"no minor version", line("GET / HTTP/1"), version},
      {"a comma for the dot", line("GET / HTTP/1,1"), version},
      {"a letter behind the version", line("GET / HTTP/1.1x"), version},
      {"a NUL behind the version", line("GET / HTTP/1.1\0"s), version},
      {"HTTP/1.2", line("GET / HTTP/1.2"), spoken},
      {"HTTP/1.9", line("GET / HTTP/1.9"), spoken},
      {"HTTP/2.0", line("GET / HTTP/2.0"), spoken, kVersion},
      {"HTTP/0.9", line("GET / HTTP/0.9"), spoken, kVersion},
      {"HTTP/3.1", line("GET / HTTP/3.1"), spoken},
      {"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", spoken},
      {"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0 none close"},
      {"a bare CR as line end", "GET / HTTP/1.1\rHost: a\r\n\r\n", version},
      {"a bare LF as line end", "GET / HTTP/1.1\nHost: a\r\n\r\n", bare_lf, kBareLf},
      {"bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", bare_lf},
      {"HTTP/0.9 without a version, bare LF", "GET /\n", bare_lf, kVersion},
      {"HTTP/0.9 without a version", "GET /\r\n", malformed, kVersion},
      {"only an empty line", "\r\n", "need more"},
  };
}

inline std::vector<RequestRow> target_and_method_rows() {
  using namespace rows;
  const std::string method = "PST-R001 malformed method";
  const std::string stranger = "PST-R001 this is not HTTP/1";
  const std::string visible = "PST-R004 a byte outside of visible ASCII";
  return {
      {"a NUL in the target", line("GET /\0 HTTP/1.1"s), visible},
      {"a control character in the target", line("GET /\x01 HTTP/1.1"), visible},
      {"DEL in the target", line("GET /\x7f HTTP/1.1"), visible},
      {"a high byte in the target", line("GET /\xff HTTP/1.1"), visible},
      {"UTF-8 in the target", line("GET /\xc3\xa9 HTTP/1.1"), visible},
      {"a CR in the target", line("GET /\r HTTP/1.1"), visible},
      {"a colon in the method", line("GE:T / HTTP/1.1"), method},
      {"a NUL in the method", line("GE\0T / HTTP/1.1"s), method},
      {"a high byte in the method", line("G\xc9T / HTTP/1.1"), method},
      {"parentheses in the method", line("GET() / HTTP/1.1"), method},
      {"lower-case method", line("get / HTTP/1.1"), "get / 1.1 none keep", kMethods},
      {"a method of tomorrow", line("FROB / HTTP/1.1"), "FROB / 1.1 none keep", kMethods},
      {"a method of every token byte", line("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1"),
       "!#$%&'*+-.^_`|~09azAZ / 1.1 none keep", kMethods},
      {"a method of WebDAV", line("PROPFIND / HTTP/1.1"), "PROPFIND / 1.1 none keep"},
      {"a method of 32 bytes", line(std::string(32, 'M') + " / HTTP/1.1"), std::string(32, 'M') + " / 1.1 none keep",
       kMethods},
      {"a method of 33 bytes", line(std::string(33, 'M') + " / HTTP/1.1"), method},
      {"a TLS ClientHello", "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"s + std::string(64, 'x'), stranger},
      {"a PROXY header of version 2", "\r\n\r\n\0\r\nQUIT\n"s, stranger},
      {"a PROXY header of version 1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + line("GET / HTTP/1.1"),
       "PST-R004 a space in the request target"},
      {"absolute form", line("GET http://a/b HTTP/1.1"), "GET http://a/b 1.1 none keep"},
      {"asterisk form", line("OPTIONS * HTTP/1.1"), "OPTIONS * 1.1 none keep"},
      {"authority form", line("CONNECT a:443 HTTP/1.1"), "CONNECT a:443 1.1 none keep"},
  };
}

inline std::vector<RequestRow> field_rows() {
  using namespace rows;
  const std::string name = "PST-R002 malformed field name";
  const std::string value = "PST-R002 control character in a field value";
  const std::string folded = "PST-R002 folded field line";
  const std::string bare_lf = "PST-R002 a line ends with a bare LF";
  const std::string bare_cr = "PST-R002 a bare CR";
  const std::string taken = "GET / 1.1 none keep";
  return {
      {"an ordinary field", get("X-A: b"), taken},
      {"an empty value", get("X-A:"), taken},
      {"a value of blanks", get("X-A: \t "), taken},
      {"a name of every token byte", get("!#$%&'*+-.^_`|~09azAZ: b"), taken},
      {"a colon in the value", get("X-A: b:c"), taken},
      {"high bytes in the value", get("X-A: \x80\xe4\xff"), taken},
      {"a tab in the value", get("X-A: b\tc"), taken},
      {"an empty name", get(": x"), name, kEmptyName},  // CVE-2023-25725
      {"an empty name before Host", "GET / HTTP/1.1\r\n: x\r\nHost: a\r\n\r\n", name, kEmptyName},
      {"only a colon", get(":"), name, kEmptyName},
      {"space before the colon", get("X-A : b"), name},  // CVE-2019-16276
      {"tab before the colon", get("X-A\t: b"), name},
      {"space in the name", get("X A: b"), name},
      {"no colon", get("X-A"), name},
      {"NUL in the name", get("X\0A: b"s), name},
      {"a control character in the name", get("X\x01: b"), name},
      {"DEL in the name", get("X\x7f: b"), name},
      {"a high byte in the name", get("X\xe4: b"), name},
      {"slash in the name", get("X/A: b"), name},
      {"parentheses in the name", get("X(A): b"), name},
      {"brackets in the name", get("X[A]: b"), name},
      {"braces in the name", get("X{A}: b"), name},
      {"a comma in the name", get("X,A: b"), name},
      {"a semicolon in the name", get("X;A: b"), name},
      {"an equals sign in the name", get("X=A: b"), name},
      {"an at sign in the name", get("X@A: b"), name},
      {"a question mark in the name", get("X?A: b"), name},
      {"a backslash in the name", get("X\\A: b"), name},
      {"a quote in the name", get("X\"A: b"), name},
      {"angle brackets in the name", get("X<A>: b"), name},
      {"NUL in the value", get("X-A: b\0c"s), value},
      {"NUL at the end of the value", get("X-A: b\0"s), value},
      {"a control character in the value",
       get("X-A: b\x01"
           "c"),
       value},
      {"ESC in the value", get("X-A: \x1b[31m"), value},
      {"DEL in the value",
       get("X-A: b\x7f"
           "c"),
       value},
      {"a form feed in the value",
       get("X-A: b\x0c"
           "c"),
       value},
      {"bare CR in the value", get("X-A: b\rc"), bare_cr},
      {"bare CR at the end of the value", get("X-A: b\r"), bare_cr},
      {"bare CR before a field", get("X-A: b\rX-Injected: c"), bare_cr},
      {"bare CR instead of the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\rGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
       bare_cr},
      {"bare LF in the value", get("X-A: b\nX-Injected: c"), bare_lf},
      {"bare LF as line end", "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", bare_lf},
      {"bare LF in the name", get("X-A\n: b"), bare_lf},
      {"bare LF for the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", bare_lf, kBareLf},
      {"bare LF for both ends", "GET / HTTP/1.1\r\nHost: a\n\n", bare_lf},
      {"folded line", get("X-A: b\r\n c"), folded, kFolded},
      {"folded with a tab", get("X-A: b\r\n\tc"), folded, kFolded},
      {"folded to nothing", get("X-A: b\r\n "), folded, kFolded},
      {"the first field folded", "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", folded},
      {"a name of 255 bytes", get(name_of(255) + ": b"), taken},  // CVE-2021-40346
      {"a name of 256 bytes", get(name_of(256) + ": b"), taken},
      {"a name of 257 bytes", get(name_of(257) + ": b"), name, kLongName},
      {"a name of 270 bytes", get(name_of(270) + ": b"), name, kLongName},
      {"a name of 5000 bytes without an end", "GET / HTTP/1.1\r\n" + name_of(5000), name, kLongName},
      {"a field that is not all there", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b", "need more"},
      {"no empty line", "GET / HTTP/1.1\r\nHost: a\r\n", "need more"},
      {"half an empty line", "GET / HTTP/1.1\r\nHost: a\r\n\r", "need more"},
      {"a name that breaks before its end", "GET / HTTP/1.1\r\nHost: a\r\nX A", name},
      {"a value that breaks before its end", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0"s, value},
  };
}

inline std::vector<RequestRow> host_and_connection_rows() {
  using namespace rows;
  const std::string no_host = "PST-R005 no Host";
  const std::string many_hosts = "PST-R005 more than one Host";
  const std::string unknown = "PST-R010 only 100-continue is known";
  return {
      {"no Host in HTTP/1.1", "GET / HTTP/1.1\r\n\r\n", no_host, kHost},
      {"no Host but an alias", "GET / HTTP/1.1\r\nHost_: a\r\n\r\n", no_host, kHost},
      {"two Hosts that agree", get("Host: a"), many_hosts, kHost},
      {"two Hosts that differ", get("Host: b"), many_hosts, kHost},
      {"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", many_hosts, kHost},
      {"an empty Host is for the target to judge", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / 1.1 none keep"},
      {"no Host is worse than bad framing", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", no_host},
      {"Expect", post("Content-Length: 5\r\nExpect: 100-continue"), "POST / 1.1 length 5 keep continue"},
      {"Expect in another case", post("Content-Length: 5\r\nexpect: 100-Continue"),
       "POST / 1.1 length 5 keep continue"},
      {"Expect twice", post("Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue"),
       "POST / 1.1 length 5 keep continue"},
      {"Expect from HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
       "POST / 1.0 length 5 close"},
      {"another expectation", post("Expect: 200-ok"), unknown, kExpect},
      {"an empty expectation", post("Expect:"), unknown, kExpect},
      {"a list of expectations", post("Expect: 100-continue, 200-ok"), unknown, kExpect},
      {"an expectation with a parameter", post("Expect: 100-continue; x=y"), unknown, kExpect},
      {"two expectations", post("Expect: 100-continue\r\nExpect: y"), unknown, kExpect},
      {"close", get("Connection: close"), "GET / 1.1 none close"},
      {"close in another case", get("connection: CLOSE"), "GET / 1.1 none close"},
      {"close in a list", get("Connection: x, close , y"), "GET / 1.1 none close"},
      {"close in the second field", get("Connection: x\r\nConnection: close"), "GET / 1.1 none close"},
      {"close beats keep-alive", get("Connection: keep-alive, close"), "GET / 1.1 none close"},
      {"a longer word is not close", get("Connection: closed"), "GET / 1.1 none keep"},
      {"keep-alive in HTTP/1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / 1.0 none keep"},
      {"close in HTTP/1.0", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / 1.0 none close"},
      {"an upgrade is judged later", get("Connection: Upgrade\r\nUpgrade: h2c"), "GET / 1.1 none keep"},
  };
}

inline std::vector<RequestRow> request_rows() {
  std::vector<RequestRow> all;
  for (auto part : {content_length_rows, transfer_encoding_rows, request_line_rows, target_and_method_rows, field_rows,
                    host_and_connection_rows}) {
    for (RequestRow& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace postern::http::h1
