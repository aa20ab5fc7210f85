#include "base/ip.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

std::string canonical(std::string_view text) {
  const auto address = IpAddress::parse(text);
  return address ? address->to_string() : "-";
}

TEST(IpAddress, has_one_form_for_each_address) {
  EXPECT_EQ(canonical("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(canonical("2001:DB8:0:0:0:0:0:1"), "2001:db8::1");
  EXPECT_EQ(canonical("::"), "::");
  EXPECT_EQ(canonical("::ffff:192.0.2.1"), "192.0.2.1") << "a mapped address is the IPv4 one";
  EXPECT_EQ(canonical("::ffff:c000:201"), "192.0.2.1");
  EXPECT_EQ(*IpAddress::parse("::ffff:192.0.2.1"), *IpAddress::parse("192.0.2.1"));
  EXPECT_NE(*IpAddress::parse("::192.0.2.1"), *IpAddress::parse("192.0.2.1")) << "compatible is not mapped";
}

TEST(IpAddress, refuses_everything_else) {
  for (const std::string_view text :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "0x7f.1.1.1", "127.1", "1.2.3.4 ", " 1.2.3.4",
        "fe80::1%eth0", "[::1]", ":::", "1::2::3", "12345::", "localhost", "1.2.3.4/8", "::1/128"}) {
    EXPECT_EQ(canonical(text), "-") << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
  EXPECT_FALSE(IpAddress::parse(std::string(1000, '1')));
}

TEST(IpAddress, knows_loopback) {
  for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(IpAddress::parse(text)->is_loopback()) << text;
  for (const char* text : {"128.0.0.1", "126.0.0.1", "::2", "::", "0.0.0.0", "1::1"})
    EXPECT_FALSE(IpAddress::parse(text)->is_loopback()) << text;
  EXPECT_FALSE(IpAddress().is_loopback());
  EXPECT_TRUE(IpAddress().is_unspecified());
  EXPECT_EQ(IpAddress().to_string(), "");
}

TEST(IpAddress, prefixes_keep_so_many_bits) {
  const IpAddress v4 = *IpAddress::parse("255.255.255.255");
  EXPECT_EQ(v4.prefix(32).to_string(), "255.255.255.255");
  EXPECT_EQ(v4.prefix(31).to_string(), "255.255.255.254");
  EXPECT_EQ(v4.prefix(9).to_string(), "255.128.0.0");
  EXPECT_EQ(v4.prefix(8).to_string(), "255.0.0.0");
  EXPECT_EQ(v4.prefix(0).to_string(), "0.0.0.0");
  EXPECT_EQ(IpAddress::parse("2001:db8:ffff:ffff:ffff::1")->prefix(64).to_string(), "2001:db8:ffff:ffff::");
}

bool contains(std::string_view network, std::string_view address) {
  return Cidr::parse(network).value().contains(IpAddress::parse(address).value());
}

TEST(Cidr, contains_its_own_family_only) {
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(contains("0.0.0.0/0", "203.0.113.1"));
  EXPECT_FALSE(contains("0.0.0.0/0", "2001:db8::1"));
  EXPECT_FALSE(contains("::/0", "203.0.113.1")) << "nor by way of ::ffff:";
  EXPECT_TRUE(contains("::/0", "2001:db8::1"));
  EXPECT_TRUE(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
  EXPECT_TRUE(contains("192.0.2.7", "192.0.2.7"));
  EXPECT_FALSE(contains("192.0.2.7", "192.0.2.6"));
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(IpAddress()));
}

TEST(Cidr, refuses_what_is_not_a_network) {
  for (const std::string_view text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08x", "10.0.0.1/8",
                                      "::1/64", "::ffff:10.0.0.0/104", "10.0.0.0/8/8", "10.0.0.0 /8"}) {
    EXPECT_FALSE(Cidr::parse(text)) << text;
  }
  EXPECT_EQ(Cidr::parse("2001:DB8::/32")->to_string(), "2001:db8::/32");
  EXPECT_EQ(Cidr::parse("192.0.2.7")->to_string(), "192.0.2.7/32");
}

TEST(CidrSet, is_the_union) {
  CidrSet set;
  EXPECT_TRUE(set.empty());
  EXPECT_FALSE(set.contains(*IpAddress::parse("10.0.0.1")));
  set.add(*Cidr::parse("10.0.0.0/8"));
  set.add(*Cidr::parse("2001:db8::/32"));
  EXPECT_TRUE(set.contains(*IpAddress::parse("10.0.0.1")));
  EXPECT_TRUE(set.contains(*IpAddress::parse("2001:db8::1")));
  EXPECT_FALSE(set.contains(*IpAddress::parse("192.0.2.1")));
}

TEST(IpAddress, RoutableUnicast) {
  for (const char* text : {"1.1.1.1", "10.0.0.1", "127.0.0.1", "169.253.255.255", "169.255.0.0", "223.255.255.255",
                           "::1", "2001:db8::1", "fd00::1", "fec0::1"}) {
    EXPECT_TRUE(IpAddress::parse(text)->is_routable_unicast()) << text;
  }
  for (const char* text : {"0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                           "::", "fe80::1", "febf::1", "ff02::1"}) {
    EXPECT_FALSE(IpAddress::parse(text)->is_routable_unicast()) << text;
  }
  EXPECT_FALSE(IpAddress().is_routable_unicast());
}

}  // namespace
}  // namespace postern
