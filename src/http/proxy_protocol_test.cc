#include "http/proxy_protocol.h"

#include <gtest/gtest.h>

#include <string>

#include "http/h1/test_support.h"

namespace postern::http {
namespace {

using namespace std::string_literals;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;
const std::string kV4 = "\xc0\x00\x02\x01\xc0\x00\x02\x02\xc7\x38\x01\xbb"s;  // 192.0.2.1:51000 to 192.0.2.2:443
const std::string kV6 = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01" + "\x20\x01\x0d\xb8"s +
                        std::string(11, '\0') + "\x02" + "\xc7\x38\x01\xbb"s;

std::string header(char version_command, char family, const std::string& body) {
  std::string out = kSignature + version_command + family;
  out += static_cast<char>(body.size() >> 8);
  out += static_cast<char>(body.size() & 0xff);
  return out + body;
}
std::string tlv(char type, const std::string& value) {
  std::string out(1, type);
  out += static_cast<char>(value.size() >> 8);
  out += static_cast<char>(value.size() & 0xff);
  return out + value;
}

// "192.0.2.1:51000", ":0" if nobody can say who, "nobody" if the proxy speaks for itself, or the refusal.
std::string parse(const std::string& bytes) {
  const h1::ExactBytes exact(bytes);
  ProxyHeader out;
  const Result<ProxyParse> parsed = parse_proxy_header(exact.view(), out);
  if (!parsed) return h1::text_of(parsed.error());
  if (*parsed == ProxyParse::need_more) return "need more";
  const std::string who = out.source ? out.source->ip.to_string() + ":" + std::to_string(out.source->port) : "nobody";
  return who + " " + std::to_string(out.size);
}

TEST(ProxyProtocol, SaysWhereTheConnectionComesFrom) {
  const std::string mapped =
      std::string(10, '\0') + "\xff\xff\xc0\x00\x02\x01"s + std::string(16, '\0') + "\x00\x50\x00\x50"s;
  const std::pair<std::string, std::string> rows[] = {
      {header('\x21', '\x11', kV4), "192.0.2.1:51000 28"},
      {header('\x21', '\x21', kV6), "2001:db8::1:51000 52"},
      {header('\x21', '\x21', mapped), "192.0.2.1:80 52"},
      {header('\x21', '\x31', std::string(216, 'u')), ":0 232"},
      {header('\x21', '\0', ""), ":0 16"},
      {header('\x21', '\0', tlv(3, "crc!")), ":0 23"},
      {header('\x20', '\0', ""), "nobody 16"},
      {header('\x20', '\x11', kV4), "nobody 28"},  // LOCAL: the balancer speaks for itself
      {header('\x21', '\x11', kV4 + tlv(1, "h2") + tlv(2, "a.test") + tlv(4, "")), "192.0.2.1:51000 45"},
      {header('\x21', '\x11', kV4 + tlv(4, std::string(4000, '\0'))), "192.0.2.1:51000 4031"},
  };
  for (const auto& [bytes, expected] : rows) {
    EXPECT_EQ(parse(bytes), expected);
    EXPECT_EQ(parse(bytes + "GET / HTTP/1.1\r\n"), expected) << "what follows is not part of it";
    for (std::size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(parse(bytes.substr(0, i)), "need more") << i;
  }
}

TEST(ProxyProtocol, RefusesWhatIsNoneAsSoonAsItIsCertain) {
  const std::string signature = "PST-R017 no PROXY v2 signature";
  const std::string command = "PST-R017 unknown version or command";
  const std::string family = "PST-R017 unknown address family or protocol";
  const std::string cut = "PST-R017 addresses cut short";
  const std::string tlvs = "PST-R017 malformed TLV";
  const struct {
    std::string bytes;
    std::string expected;
    std::size_t certain;  // after so many bytes
  } rows[] = {
      {"GET / HTTP/1.1\r\n\r\n", signature, 1},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", signature, 1},
      {"\r\nGET / HTTP/1.1\r\n", signature, 3},
      {"\r\n\r\n\0\r\nQUIT\r"s, signature, 12},
      {header('\x11', '\x11', kV4), command, 13},
      {header('\x31', '\x11', kV4), command, 13},
      {header('\x22', '\x11', kV4), command, 13},
      {header('\x2f', '\x11', kV4), command, 13},
      {header('\x00', '\x11', kV4), command, 13},
      {header('\x21', '\x12', kV4), family, 14},  // datagrams
      {header('\x21', '\x22', kV6), family, 14},
      {header('\x21', '\x10', kV4), family, 14},
      {header('\x21', '\x41', kV4), family, 14},
      {header('\x21', '\x01', kV4), family, 14},
      {header('\x20', '\xff', ""), family, 14},
      {header('\x21', '\x11', ""), cut, 16},
      {header('\x21', '\x11', kV4.substr(1)), cut, 16},
      {header('\x21', '\x21', kV4), cut, 16},
      {header('\x21', '\x21', kV6.substr(1)), cut, 16},
      {header('\x21', '\x31', std::string(215, 'u')), cut, 16},
      {header('\x21', '\x11', kV4 + tlv(4, std::string(4066, '\0'))), "PST-R017 header too long", 16},
      {kSignature + "\x21\x11\xff\xff" + kV4, "PST-R017 header too long", 16},
      {header('\x21', '\x11', kV4 + "\x01"), tlvs, 29},
      {header('\x21', '\x11', kV4 + "\x01\x00"s), tlvs, 30},
      {header('\x21', '\x11', kV4 + "\x01\x00\x01"s), tlvs, 31},
      {header('\x21', '\x11', kV4 + "\x01\xff\xff"s), tlvs, 31},
      {header('\x21', '\x11',
              kV4 + tlv(1, "h2") +
                  "\x02\x00\x07"
                  "a.test"s),
       tlvs, 42},
      {header('\x21', '\x11', kV4 + tlv(1, "h2") + "x"), tlvs, 34},
      {header('\x20', '\0', "\x01\x00\x05"s), tlvs, 19},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(parse(row.bytes), row.expected);
    for (std::size_t i = 0; i < row.bytes.size(); ++i) {
      ASSERT_EQ(parse(row.bytes.substr(0, i)), i < row.certain ? "need more" : row.expected)
          << row.expected << ' ' << i;
    }
  }
}

TEST(ProxyProtocol, TheLongestHeaderIsTakenAndNotOneByteMore) {
  const std::size_t room = kMaxProxyHeader - 16 - kV4.size() - 3;
  EXPECT_EQ(parse(header('\x21', '\x11', kV4 + tlv(4, std::string(room, '\0')))), "192.0.2.1:51000 4096");
  EXPECT_EQ(parse(header('\x21', '\x11', kV4 + tlv(4, std::string(room + 1, '\0')))), "PST-R017 header too long");
}

}  // namespace
}  // namespace postern::http
