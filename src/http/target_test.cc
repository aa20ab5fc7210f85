#include "http/target.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "http/h1/test_support.h"

namespace postern::http {
namespace {

// The canonical target as it would be forwarded, "host" in front of it; or the refusal.
std::string canonical(std::string_view target, std::string_view host = "a", std::string_view method = "GET") {
  const h1::ExactBytes exact_target(target);
  const h1::ExactBytes exact_host(host);
  Arena arena;
  CanonicalTarget out;
  const Result<void> result = canonicalize(method, exact_target.view(), exact_host.view(), arena, out);
  if (!result) return h1::text_of(result.error());
  return std::string(out.authority(arena)) + " " + std::string(out.path_and_query(arena));
}

struct Row {
  std::string_view target;
  std::string_view expected;
};

TEST(Target, NormalisesWhatIsHarmless) {
  const Row rows[] = {
      {"/", "/"},
      {"/orders/7", "/orders/7"},
      {"/orders/7/", "/orders/7/"},
      {"/Orders", "/Orders"},
      {"/%61dmin", "/admin"},
      {"/%61%64%6d%69%6e", "/admin"},
      {"/%7Euser", "/~user"},
      {"/%2D%2e%5F%7e", "/-._~"},
      {"/%c3%a9", "/%C3%A9"},
      {"/%E2%82%aC", "/%E2%82%AC"},
      {"/%f0%9f%98%80", "/%F0%9F%98%80"},
      {"/a%20b", "/a%20b"},
      {"/a%3fb%3D", "/a%3Fb%3D"},
      {"/100%25", "/100%25"},
      {"/%25zz", "/%25zz"},
      {"/%25/41", "/%25/41"},
      {"/!$&'()*+,;=:@", "/!$&'()*+,;=:@"},
      {"/a;b=c/d,e", "/a;b=c/d,e"},
      {"/.", "/"},
      {"/./", "/"},
      {"/a/.", "/a/"},
      {"/a/./b", "/a/b"},
      {"/a/..", "/"},
      {"/a/../", "/"},
      {"/a/../b", "/b"},
      {"/a/b/..", "/a/"},
      {"/a/b/../../c", "/c"},
      {"/a/b/.././c/..", "/a/"},
      {"/open/%2e%2e/admin", "/admin"},
      {"/open/%2E./admin", "/admin"},
      {"/%2e/admin", "/admin"},
      {"/...", "/..."},
      {"/.well-known", "/.well-known"},
      {"/..a/b..", "/..a/b.."},
      {"/a?", "/a?"},
      {"/a?b", "/a?b"},
      {"/a?b?c", "/a?b?c"},
      {"/?/../x//%2f%00%zz", "/?/../x//%2f%00%zz"},  // a query is the origin's business
      {"/%61?%61", "/a?%61"},
      {"/a/../b?c=%2F", "/b?c=%2F"},
  };
  for (const Row& row : rows) EXPECT_EQ(canonical(row.target), "a " + std::string(row.expected)) << row.target;
}

TEST(Target, RefusesWhatTwoReadersCouldReadDifferently) {
  const std::string escape = "PST-R004 malformed percent-encoding";
  const std::string control = "PST-R004 encoded control character";
  const std::string slash = "PST-R004 encoded slash or backslash";
  const std::string twice = "PST-R004 doubly encoded";
  const std::string utf8 = "PST-R004 not UTF-8 after decoding";
  const std::string above = "PST-R004 path climbs above the root";
  const std::string empty = "PST-R004 empty path segment";
  const std::string parameters = "PST-R004 dot segment with parameters";
  const std::string bare = "PST-R004 a character that must be encoded";
  const std::string no_slash = "PST-R004 the path does not begin with a slash";
  const std::string fragment = "PST-R004 fragment in the target";
  const std::pair<std::string, std::string> rows[] = {
      {"/a%2fb", slash},
      {"/a%2Fb", slash},
      {"/..%2Fadmin", slash},
      {"/a%5cb", slash},
      {"/a\\b", "PST-R004 backslash in the path"},
      {"\\a", no_slash},
      {"/a#b", fragment},
      {"/#", fragment},
      {"/a?b#c", fragment},
      {"/a%00", control},
      {"/a%0d%0aX-Injected:%201", control},
      {"/a%1f", control},
      {"/a%7f", control},
      {"/%", escape},
      {"/%4", escape},
      {"/%zz", escape},
      {"/%4g", escape},
      {"/%%41", escape},
      {"/a%", escape},
      {"/a%?b", escape},
      {"/%2541dmin", twice},
      {"/%252e%252e/admin", twice},
      {"/%252fadmin", twice},
      {"/%25252e", twice},
      {"/%25%34%31", twice},  // put together by decoding
      {"/%254%31", twice},
      {"/%25%341", twice},
      {"/%25%32%65%25%32%65/admin", twice},
      {"/%c0%af", utf8},  // overlong slash
      {"/%c0%ae%c0%ae/admin", utf8},
      {"/%e0%80%af", utf8},
      {"/%f0%80%80%af", utf8},
      {"/%ed%a0%80", utf8},     // surrogate
      {"/%f4%90%80%80", utf8},  // beyond U+10FFFF
      {"/%f8%88%80%80%80", utf8},
      {"/%ff", utf8},
      {"/%80", utf8},
      {"/%e2%82", utf8},
      {"/%e2%82/x", utf8},
      {"/%c3x", utf8},
      {"/..", above},
      {"/../admin", above},
      {"/a/../../admin", above},
      {"/%2e%2e/admin", above},
      {"/./../admin", above},
      {"//", empty},
      {"//admin", empty},
      {"/a//b", empty},
      {"/a//", empty},
      {"/./../..//", above},
      {"/..;/admin", parameters},
      {"/a/..;x=y/admin", parameters},
      {"/a/.;/b", parameters},
      {"/a/%2e%2e;/b", parameters},
      {"/a/..%3b/b", parameters},
      {"/a/..%3Bx", parameters},
      {"/a b", bare},
      {"/\"", bare},
      {"/<a>", bare},
      {"/^", bare},
      {"/`", bare},
      {"/{id}", bare},
      {"/a|b", bare},
      {"/\x01", bare},
      {"/\x7f", bare},
      {"/\xff", bare},
      {"/\xc3\xa9", bare},
      {"/a?b c", "PST-R004 a byte outside of visible ASCII in the query"},
      {"/a?\x01", "PST-R004 a byte outside of visible ASCII in the query"},
      {"/a?\xc3\xa9", "PST-R004 a byte outside of visible ASCII in the query"},
      {"", "PST-R004 empty target"},
      {"a", no_slash},
      {"?a", no_slash},
      {"a:443", no_slash},  // authority form
      {"*", "PST-R004 '*' is for OPTIONS"},
      {"**", no_slash},
      {"*?a", no_slash},
  };
  for (const auto& [target, expected] : rows) EXPECT_EQ(canonical(target), expected) << target;
  EXPECT_EQ(canonical(std::string_view("/\0", 2)), bare);
}

TEST(Target, AsteriskIsForOptions) {
  EXPECT_EQ(canonical("*", "a", "OPTIONS"), "a *");
  EXPECT_EQ(canonical("/x", "a", "OPTIONS"), "a /x");
  EXPECT_EQ(canonical("*", "a", "options"), "PST-R004 '*' is for OPTIONS");
}

TEST(Target, HostIsOneNameHoweverItIsWritten) {
  const Row rows[] = {
      {"a", "a"},
      {"API.Example.COM", "api.example.com"},
      {"api.example.com.", "api.example.com"},
      {"api.example.com.:8080", "api.example.com:8080"},
      {"a:80", "a:80"},
      {"a:65535", "a:65535"},
      {"a:00080", "a:80"},
      {"192.0.2.1:8080", "192.0.2.1:8080"},
      {"x_y-z.1", "x_y-z.1"},
      {"[::1]", "[::1]"},
      {"[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"},
      {"[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"},
      {"[::FFFF:c000:201]:1", "[::ffff:192.0.2.1]:1"},
  };
  for (const Row& row : rows) EXPECT_EQ(canonical("/", row.target), std::string(row.expected) + " /") << row.target;
}

TEST(Target, RefusesHostsThatAreNone) {
  const std::string longest =
      std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(61, 'd');
  EXPECT_EQ(canonical("/", longest), longest + " /");
  EXPECT_EQ(canonical("/", longest + "d"), "PST-R005 malformed Host");
  EXPECT_EQ(canonical("/", ""), "PST-R005 no Host");
  for (const std::string_view host :
       {".",      "..",       ".a",           "a..",        "a..b",        "a...",   "u@a",    "u:p@a",  "a/b",
        "a\\b",   "a?b",      "a#b",          "a b",        " a",          "a ",     "a,b",    "a%41",   "a%",
        "*",      "a*",       "\x01",         "a\x7f",      "\xc3\xa9",    "[",      "[]",     "[::1",   "::1",
        "[::1]]", "[[::1]]",  "[::1%25eth0]", "[::1%eth0]", "[192.0.2.1]", "[v1.x]", "[::1]x", "[::1]:", "[:::1]",
        "[1:2]",  "http://a", "'a'",          "\"a\"",      "a|b",         "a^b",    "a`b",    "a{b}",   "a<b",
        "a=b",    "a;b",      "a+b",          "a!b",        "a$b",         "a&b",    "a(b)",   "a~b"}) {
    EXPECT_EQ(canonical("/", host).substr(0, 18), "PST-R005 malformed") << host;
  }
  EXPECT_EQ(canonical("/", std::string_view("a\0b", 3)), "PST-R005 malformed Host");
  for (const char* host : {"a:", "a:0", "a:65536", "a:99999", "a:000080", "a:+80", "a:-1", "a:8o", "a:80:80", "a: 80",
                           "a:80 ", ":80", "[::1]:0", "[::1]:x", "[::1]:65536"}) {
    EXPECT_EQ(canonical("/", host).substr(0, 8), "PST-R005") << host;
  }
}

TEST(Target, AbsoluteFormMustAgreeWithHost) {
  const std::string differs = "PST-R005 Host differs from the authority of the target";
  const std::string malformed = "PST-R005 malformed authority";
  const struct {
    const char* target;
    const char* host;
    std::string expected;
  } rows[] = {
      {"http://a/b?c", "a", "a /b?c"},
      {"http://a", "a", "a /"},
      {"HTTP://A/b", "a", "a /b"},
      {"https://a./%61", "A", "a /a"},
      {"http://a:80/", "a", "a /"},
      {"http://a/", "a:80", "a:80 /"},
      {"https://a:443/", "a", "a /"},
      {"http://a:8080/", "a:8080", "a:8080 /"},
      {"http://[::1]/", "[0::1]", "[::1] /"},
      {"http://evil/", "a", differs},
      {"http://a:8080/", "a", differs},
      {"https://a:80/", "a", differs},
      {"http://a:443/", "a", differs},
      {"http://a.b/", "b", differs},
      {"http://u@a/", "a", malformed},
      {"http://a@evil/", "a", malformed},
      {"http://a%00/", "a", malformed},
      {"http:///b", "a", malformed},
      {"http://", "a", malformed},
      {"http://?a", "a", "PST-R004 no path in the target"},
      {"http://a?b", "a", "PST-R004 no path in the target"},
      {"http://a#b", "a", "PST-R004 no path in the target"},
      {"http://a\\b/", "a", malformed},
      {"http://a/../b", "a", "PST-R004 path climbs above the root"},
      {"http://a//b", "a", "PST-R004 empty path segment"},
      {"ftp://a/", "a", "PST-R004 only http and https targets"},
      {"ws://a/", "a", "PST-R004 only http and https targets"},
      {"://a/", "a", "PST-R004 only http and https targets"},
      {"x http://a/", "a", "PST-R004 only http and https targets"},
      {"http:/a/", "a", "PST-R004 the path does not begin with a slash"},
      {"http:a", "a", "PST-R004 the path does not begin with a slash"},
  };
  for (const auto& row : rows) EXPECT_EQ(canonical(row.target, row.host), row.expected) << row.target;
}

TEST(Target, SaysWhichFormAndWhetherThereIsAQuery) {
  Arena arena;
  CanonicalTarget target;
  ASSERT_TRUE(canonicalize("GET", "/a?", "h:8080", arena, target));
  EXPECT_EQ(target.form, TargetForm::origin);
  EXPECT_TRUE(target.has_query);
  EXPECT_EQ(target.query, "");
  EXPECT_EQ(target.host, "h");
  EXPECT_EQ(target.port, 8080);
  CanonicalTarget absolute;
  ASSERT_TRUE(canonicalize("GET", "http://h/a", "h", arena, absolute));
  EXPECT_EQ(absolute.form, TargetForm::absolute);
  EXPECT_FALSE(absolute.has_query);
  EXPECT_EQ(absolute.port, 0);
  CanonicalTarget asterisk;
  ASSERT_TRUE(canonicalize("OPTIONS", "*", "h", arena, asterisk));
  EXPECT_EQ(asterisk.form, TargetForm::asterisk);
  EXPECT_EQ(asterisk.path, "*");
}

TEST(Target, AChangedPathOrQueryIsJoinedAnew) {
  Arena arena;
  CanonicalTarget target;
  ASSERT_TRUE(canonicalize("GET", "/a?b=c", "h", arena, target));
  EXPECT_EQ(target.path_and_query(arena), "/a?b=c");
  target.path = "/other";
  EXPECT_EQ(target.path_and_query(arena), "/other?b=c");
  target.query = "x";
  EXPECT_EQ(target.path_and_query(arena), "/other?x");
  target.has_query = false;
  EXPECT_EQ(target.path_and_query(arena), "/other");
}

// What a fuzzer does better (tests/fuzz/target_fuzz.cc), but here in every run: pieces that matter, put together at
// random.
TEST(Target, CanonicalFormsAreTheirOwnCanonicalForm) {
  static constexpr std::string_view kPieces[] = {"/",   "/",   "a",   ".",   "..",  "%2e", "%2E", "%25",
                                                 "%32", "41",  "%61", "2e",  "%41", "%7e", ";",   "%3b",
                                                 "%c3", "%a9", "?",   "%20", "b",   "%",   "/..", "/./"};
  std::minstd_rand random(7);
  int accepted = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string raw = "/";
    for (auto n = random() % 8; n != 0; --n) raw += kPieces[random() % std::size(kPieces)];
    const std::string once = canonical(raw);
    if (once.starts_with("PST-")) continue;
    ++accepted;
    const std::string path_and_query = once.substr(2);
    ASSERT_EQ(canonical(path_and_query), once) << raw;
    const std::string path = path_and_query.substr(0, path_and_query.find('?'));
    for (const char* never : {"//", "/./", "/../", "%2e", "%2E", "%2F"})
      ASSERT_EQ(path.find(never), std::string::npos) << raw;
  }
  EXPECT_GT(accepted, 20'000);
}

}  // namespace
}  // namespace postern::http
