#include "tls/server_name.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <vector>

namespace postern::tls {
namespace {

std::string bytes(std::size_t number) {
  return {static_cast<char>(number >> 8 & 0xff), static_cast<char>(number & 0xff)};
}
std::string entry(char type, std::string_view name) { return type + bytes(name.size()) + std::string(name); }
std::string extension(const std::string& list) { return bytes(list.size()) + list; }
std::string host(std::string_view name) { return extension(entry('\0', name)); }

std::string parsed(std::string_view text) {
  // A copy of exactly this size, so that a read beyond it is seen.
  const std::vector<unsigned char> exact(text.begin(), text.end());
  const auto result = parse_server_name(exact);
  if (result) return *result;
  return result.error() == SSL_AD_DECODE_ERROR        ? "decode_error"
         : result.error() == SSL_AD_UNRECOGNIZED_NAME ? "unrecognized_name"
                                                      : "another alert";
}

TEST(ServerName, one_host_name_in_lower_case_without_trailing_dot) {
  EXPECT_EQ(parsed(host("api.example.com")), "api.example.com");
  EXPECT_EQ(parsed(host("API.Example.COM.")), "api.example.com");
  EXPECT_EQ(parsed(host("x")), "x");
  EXPECT_EQ(parsed(host("_acme.example.com")), "_acme.example.com");
  EXPECT_EQ(parsed(host(std::string(255, 'a'))), std::string(255, 'a'));
}

TEST(ServerName, everything_else_is_refused) {
  const std::string name = host("api.example.com");
  for (std::size_t cut = 0; cut < name.size(); ++cut) EXPECT_EQ(parsed(name.substr(0, cut)), "decode_error") << cut;
  EXPECT_EQ(parsed(name + "x"), "decode_error");
  EXPECT_EQ(parsed(extension("")), "decode_error");
  EXPECT_EQ(parsed(host("")), "decode_error");
  EXPECT_EQ(parsed(extension(entry('\1', "api.example.com"))), "decode_error") << "not a host name";
  EXPECT_EQ(parsed(extension(entry('\0', "a.example") + entry('\0', "b.example"))), "decode_error");
  EXPECT_EQ(parsed(extension(entry('\0', "a.example") + entry('\1', "b"))), "decode_error");
  EXPECT_EQ(parsed(extension(entry('\1', "b") + entry('\0', "a.example"))), "decode_error");
  EXPECT_EQ(parsed(bytes(65'535) + entry('\0', "a")), "decode_error");
  EXPECT_EQ(parsed(host(std::string(256, 'a'))), "unrecognized_name");
  EXPECT_EQ(parsed(host(".")), "unrecognized_name");
  for (const char c : {'\0', '\n', ' ', '\x7f', '\xc3'}) {
    EXPECT_EQ(parsed(host(std::string("good.example") + c + ".evil.example")), "unrecognized_name");
  }
}

TEST(CanonicalName, has_one_form_and_none_for_addresses) {
  const std::pair<std::string_view, std::string_view> table[] = {
      {"API.Example.com", "api.example.com"},
      {"api.example.com.", "api.example.com"},
      {"", ""},
      {".", ""},
      {"127.0.0.1", ""},
      {"127.0.0.1.", ""},
      {"::1", ""},
      {"[2001:db8::1]", ""},
      {"2001:db8::a", ""},
      {"host1", "host1"},
      {"1.2.3.4.example", "1.2.3.4.example"},
  };
  for (const auto& [host, canonical] : table) EXPECT_EQ(CanonicalName(host).view(), canonical) << host;
  EXPECT_EQ(CanonicalName(std::string(255, 'A')).view(), std::string(255, 'a'));
  EXPECT_EQ(CanonicalName(std::string(256, 'A')).view(), "");
}

TEST(NameMap, exact_wins_over_wildcard_and_a_wildcard_is_one_label) {
  NameMap map;
  map.add("*.example.com", 1);
  map.add("api.example.com", 2);
  map.add("*.api.example.com", 3);
  map.add("api.example.com", 4);  // too late
  EXPECT_EQ(map.find("api.example.com"), 2u);
  EXPECT_EQ(map.find("www.example.com"), 1u);
  EXPECT_EQ(map.find("v1.api.example.com"), 3u);
  EXPECT_EQ(map.find("example.com"), std::nullopt);
  EXPECT_EQ(map.find("a.b.example.com"), std::nullopt);
  EXPECT_EQ(map.find(".example.com"), std::nullopt);
  EXPECT_EQ(map.find("com"), std::nullopt);
  EXPECT_EQ(map.find(""), std::nullopt);
}

}  // namespace
}  // namespace postern::tls
