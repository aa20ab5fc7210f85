// The hostile table of chunked bodies: what is refused, with the rule, and what is taken, and how.
#pragma once

#include <string>
#include <vector>

#include "http/h1/request_rows.h"

namespace postern::http::h1 {

namespace rows {

// A body of one chunk with that extension.
inline std::string extended(const std::string& extension) {
  return std::string("5;").append(extension).append("\r\nhello\r\n0\r\n\r\n");
}

inline constexpr const char* kDigits = "more than 16 digits are no honest size; llhttp skips leading zeros";
inline constexpr const char* kExtension = "llhttp hardly looks at extensions";
inline constexpr const char* kQuoted = "RFC 9112 7.1.1 allows it; llhttp takes no quoted pair and no second value";
inline constexpr const char* kTrailers = "RFC 9110 6.5.1: it would change framing, routing or trust afterwards";

}  // namespace rows

struct ChunkedRow {
  std::string name;
  std::string bytes;
  std::string decision;   // ChunkedVerdict::decision
  std::string data = {};  // delivered until the end or the refusal
  std::string trailers = {};
  std::string differs = {};  // as in RequestRow
};

inline std::vector<ChunkedRow> chunk_rows() {
  using namespace rows;
  const std::string size = "PST-R003 malformed chunk size";
  const std::string large = "PST-R003 chunk size too large";
  const std::string no_crlf = "PST-R003 no CRLF after chunk data";
  const std::string end = "0\r\n\r\n";
  return {
      {"nothing", "0\r\n\r\n", "end"},
      {"one chunk", "5\r\nhello\r\n" + end, "end", "hello"},
      {"two chunks", "5\r\nhello\r\n1\r\n!\r\n" + end, "end", "hello!"},
      {"leading zeros and capitals", "00A\r\n0123456789\r\n000\r\n\r\n", "end", "0123456789"},
      {"lower-case digits", "a\r\n0123456789\r\n" + end, "end", "0123456789"},
      {"sixteen digits", "0000000000000005\r\nhello\r\n" + end, "end", "hello"},
      {"data that looks like chunks", "a\r\n5\r\n0\r\n\r\nxy\r\n" + end, "end", "5\r\n0\r\n\r\nxy"},
      {"a body behind the end", end + "5\r\nhello\r\n", "end"},
      {"data that has not come", "5\r\nhel", "need more", "hel"},
      {"an end that has not come", "5\r\nhello\r\n0\r\n\r", "need more", "hello"},
      {"seventeen digits", "00000000000000005\r\nhello\r\n" + end, large, "", "", kDigits},
      {"a size over 64 bits", "10000000000000005\r\nhello\r\n" + end, large},
      {"a size of 2^64 - 1", "ffffffffffffffff\r\nhello", large, "", "", kOverflow},
      {"a size of 2^63", "8000000000000000\r\nhello", large, "", "", kOverflow},
      {"one more than the greatest size", "4000000000000001\r\nhello", large, "", "", kOverflow},
      {"the greatest size", "4000000000000000\r\nhello", "need more", "hello"},
      {"endless digits", std::string(300, '0') + "5\r\nhello\r\n" + end, large, "", "", kDigits},
      {"no size", "\r\nhello\r\n" + end, size},
      {"a sign", "+5\r\nhello\r\n" + end, size},
      {"a negative size", "-5\r\nhello\r\n" + end, size},
      {"0x", "0x5\r\nhello\r\n" + end, size},
      {"not hexadecimal", "g\r\nhello\r\n" + end, size},
      {"an underscore", "0_5\r\nhello\r\n" + end, size},
      {"a comma", "5,\r\nhello\r\n" + end, size},
      {"a dot", "5.\r\nhello\r\n" + end, size},
      {"a space before", " 5\r\nhello\r\n" + end, size},
      {"a space behind", "5 \r\nhello\r\n" + end, size},
      {"a tab behind", "5\t\r\nhello\r\n" + end, size},
      {"a space before the extension", "5 ;a\r\nhello\r\n" + end, size},
      {"a NUL behind", "5\0\r\nhello\r\n"s + end, size},
      {"a high byte", "\xb5\r\nhello\r\n" + end, size},
      {"bare LF after the size", "5\nhello\r\n" + end, size},
      {"bare CR after the size", "5\rhello\r\n" + end, "PST-R003 malformed chunk extension"},
      {"CR CR LF after the size", "5\r\r\nhello\r\n" + end, "PST-R003 malformed chunk extension"},
      {"LF CR after the size", "5\n\rhello\r\n" + end, size},
      {"data longer than its size", "5\r\nhelloo\r\n" + end, no_crlf, "hello"},
      {"data shorter than its size", "6\r\nhello\r\n" + end, no_crlf, "hello\r"},
      {"no CRLF after data", "5\r\nhello0\r\n\r\n", no_crlf, "hello"},
      {"bare LF after data", "5\r\nhello\n" + end, no_crlf, "hello"},
      {"bare CR after data", "5\r\nhello\r" + end, no_crlf, "hello"},
      {"LF CR after data", "5\r\nhello\n\r" + end, no_crlf, "hello"},
      {"two CRLFs after data", "5\r\nhello\r\n\r\n" + end, size, "hello"},
      {"a space after data", "5\r\nhello \r\n" + end, no_crlf, "hello"},
      {"the second chunk malformed", "5\r\nhello\r\n+5\r\nhello\r\n" + end, size, "hello"},
  };
}

inline std::vector<ChunkedRow> extension_rows() {
  using namespace rows;
  const std::string malformed = "PST-R003 malformed chunk extension";
  const std::string bare_lf = "PST-R003 a chunk header ends with a bare LF";
  const std::string end = "0\r\n\r\n";
  std::vector<ChunkedRow> out = {
      {"a quoted LF", "5;a=\"\n\"\r\nhello\r\n" + end, bare_lf},
      {"bare LF ends the extension", "5;a\nhello\r\n" + end, bare_lf},
      {"bare LF in the extension", "5;a\nb\r\nhello\r\n" + end, bare_lf},  // TERM.EXT
      {"an extension of the last chunk", "5\r\nhello\r\n0;x\r\n\r\n", "end", "hello"},
      {"a broken extension of the last chunk", "5\r\nhello\r\n0;\r\n\r\n", malformed, "hello"},
      {"a header that does not end", "5;" + std::string(5000, 'a'), "PST-R003 chunk header too long", "", "",
       kExtension},
      {"an extension that is not all there", "5;a=", "need more"},
  };
  for (const std::string& sound : split("a|a=b|a=\"b\"|a;b|a=\"\"|!#$%&'*+-.^_`~=x|a=\"\t\x80\xff\"")) {
    out.push_back({";" + sound, extended(sound), "end", "hello"});
  }
  for (const std::string& sound : split("a=b;c=d;e|a=b;c=\"d\";e|a=\" ;=\\\"\\\\\"")) {
    out.push_back({";" + sound, extended(sound), "end", "hello", "", kQuoted});
  }
  // What llhttp refuses as well, and what it takes.
  for (const std::string& broken :
       split("|;|a;|a b|a =b|a= b| a|a "
             "|\ta|a=\"|a=\"b|a=\"b\\|a=\"b\\\"|a=\"b\"c|a\rb|a\r|a\0b|a=\"\0\"|a=\"\r\"|a=\"\x01\"|"
             "a=\"\\\x01\"|\x80|a=\x80|a,b|a/b|a=(b)|a=\\b|a=b=c|a=;b"s)) {
    out.push_back({"broken ;" + broken, extended(broken), malformed});
  }
  for (const std::string& broken : split(";a|a=|=b|a=b\"c\"|a=\"\x7f\"")) {
    out.push_back({"broken ;" + broken, extended(broken), malformed, "", "", kExtension});
  }
  return out;
}

inline std::vector<ChunkedRow> trailer_rows() {
  using namespace rows;
  const std::string forbidden = "PST-R003 a field that must not be a trailer";
  const std::string name = "PST-R003 malformed field name";
  const std::string value = "PST-R003 control character in a field value";
  const std::string bare_lf = "PST-R003 a line ends with a bare LF";
  const auto with = [](const std::string& lines) { return "5\r\nhello\r\n0\r\n" + lines + "\r\n"; };
  std::vector<ChunkedRow> out = {
      {"a trailer", with("X: y\r\n"), "end", "hello", "[X|y]"},
      {"two trailers", with("X: y\r\nx:  z \r\n"), "end", "hello", "[X|y][x|z]"},
      {"an empty trailer", with("X:\r\n"), "end", "hello", "[X|]"},
      {"a checksum", with("Digest: sha-256=abc\r\nX-Timing: 5\r\n"), "end", "hello",
       "[Digest|sha-256=abc][X-Timing|5]"},
      {"trailers that have not ended", "0\r\nX: y\r\n", "need more"},
      {"space before the colon", with("A : b\r\n"), name, "hello"},
      {"an empty name", with(": b\r\n"), name, "hello", "", kEmptyName},
      {"no colon", with("A\r\n"), name, "hello"},
      {"NUL in the name", with("A\0: b\r\n"s), name, "hello"},
      {"NUL in the value", with("A: b\0\r\n"s), value, "hello"},
      {"a control character in the value", with("A: b\x01\r\n"), value, "hello"},
      {"folded", with("A: b\r\n c\r\n"), "PST-R003 folded field line", "hello", "", kFolded},
      {"the first one folded", with(" A: b\r\n"), "PST-R003 folded field line", "hello"},
      {"bare CR in the value", with("A: b\rc\r\n"), "PST-R003 a bare CR", "hello"},
      {"bare LF ends a trailer", with("A: b\n"), bare_lf, "hello"},
      {"bare LF ends the trailers", "5\r\nhello\r\n0\r\n\n", bare_lf, "hello", "", kBareLf},
      {"bare LF ends the trailers after one", "5\r\nhello\r\n0\r\nA: b\r\n\n", bare_lf, "hello", "", kBareLf},
      {"CR CR LF ends the trailers", "5\r\nhello\r\n0\r\n\r\r\n", "PST-R003 a bare CR", "hello"},
      {"a request instead of the end", "0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", name},
      {"a name of 257 bytes", with(name_of(257) + ": b\r\n"), name, "hello", "", kLongName},
  };
  for (const std::string& field :
       split("Host|Trailer|Connection|Keep-Alive|Proxy-Connection|Upgrade|HTTP2-Settings|TE|Expect|Authorization|"
             "Proxy-Authenticate|Proxy-Authorization|WWW-Authenticate|Cookie|Set-Cookie|Content-Type|Cache-Control|"
             "Location|"
             "Forwarded|Via|X-Forwarded-For|X-Forwarded-Host|X-Forwarded-Port|X-Forwarded-Proto|hOST")) {
    out.push_back({field + " as trailer", with(field + ": x\r\n"), forbidden, "hello", "", kTrailers});
  }
  out.push_back({"Content-Length as trailer", with("Content-Length: 0\r\n"), forbidden, "hello", "", kTrailers});
  out.push_back({"Transfer-Encoding as trailer", with("Transfer-Encoding: chunked\r\n"), forbidden, "hello"});
  return out;
}

inline std::vector<ChunkedRow> chunked_rows() {
  std::vector<ChunkedRow> all;
  for (auto part : {chunk_rows, extension_rows, trailer_rows}) {
    for (ChunkedRow& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace postern::http::h1
