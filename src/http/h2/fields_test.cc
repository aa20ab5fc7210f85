#include "http/h2/fields.h"

#include <gtest/gtest.h>

#include "http/h2/test_support.h"

namespace postern::http::h2 {
namespace {

using Added = FieldBlock::Added;

constexpr HeadLimits kLimits = {.max_header_count = 3, .max_header_bytes = 200, .max_target_length = 10};

TEST(FieldBlock, KeepsOrderAndKnownNames) {
  Arena arena;
  FieldBlock block(arena);
  block.begin(FieldBlock::Kind::head);
  EXPECT_EQ(block.add(":status", "200", kLimits), Added::yes);
  EXPECT_EQ(block.add("x-b", "2", kLimits), Added::yes);
  EXPECT_EQ(block.add("server", "s", kLimits), Added::yes);
  EXPECT_EQ(block.add("x-a", "", kLimits), Added::yes);
  block.finish();
  EXPECT_EQ(block.status(), "200");
  EXPECT_EQ(h1::text_of(block.fields()), "[x-b|2][server|s][x-a|]");
  EXPECT_FALSE(block.oversized());
}

TEST(FieldBlock, CountsFieldsAndBytes) {
  Arena arena;
  FieldBlock block(arena);
  block.begin(FieldBlock::Kind::head);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(block.add("cookie", "a", kLimits), Added::yes);
  EXPECT_FALSE(block.oversized());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(block.add("cookie", "a", kLimits), Added::too_large);
  EXPECT_TRUE(block.oversized());
  EXPECT_EQ(block.add("cookie", "a", kLimits), Added::hopeless);

  block.begin(FieldBlock::Kind::head);
  EXPECT_FALSE(block.oversized());
  EXPECT_EQ(block.add("a", std::string(167, 'b'), kLimits), Added::yes) << "32 more for each field";
  EXPECT_EQ(block.add("a", "", kLimits), Added::too_large);
  EXPECT_EQ(block.add("a", std::string(400, 'b'), kLimits), Added::hopeless);
}

TEST(FieldBlock, HasABoundForAllBlocksTogether) {
  Arena arena;
  FieldBlock block(arena);
  int blocks = 0;
  for (; blocks < 100; ++blocks) {
    block.begin(FieldBlock::Kind::head);
    if (block.add("a", std::string(150, 'b'), kLimits) != Added::yes) break;
  }
  EXPECT_EQ(blocks, 5);
}

TEST(FieldBlock, ThePathHasALimitOfItsOwn) {
  Arena arena;
  FieldBlock block(arena);
  block.begin(FieldBlock::Kind::head);
  EXPECT_EQ(block.add(":path", "/123456789", kLimits), Added::yes);
  EXPECT_FALSE(block.path_too_long());
  EXPECT_EQ(block.add(":path", "/1234567890", kLimits), Added::too_large);
  EXPECT_TRUE(block.path_too_long());
}

TEST(FieldBlock, JoinsCrumbsWhereTheFirstStood) {
  const HeadLimits limits;
  Arena arena;
  FieldBlock block(arena);
  block.begin(FieldBlock::Kind::head);
  for (const char* const crumb : {"a=1", "", "b=2; c=3"}) {
    EXPECT_EQ(block.add("cookie", crumb, limits), Added::yes);
    EXPECT_EQ(block.add("x", "y", limits), Added::yes);
  }
  block.finish();
  EXPECT_EQ(h1::text_of(block.fields()), "[cookie|a=1; ; b=2; c=3][x|y][x|y][x|y]");
}

// What the library refuses before is refused here, too: these bytes would end a line in HTTP/1.
TEST(FieldBlock, RefusesWhatWouldBreakHttp1) {
  const HeadLimits limits;
  Arena arena;
  FieldBlock block(arena);
  block.begin(FieldBlock::Kind::head);
  for (const std::string& value :
       {std::string("a\rb"), std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f")}) {
    EXPECT_EQ(block.add("x", value, limits), Added::malformed);
    EXPECT_EQ(block.add("server", value, limits), Added::malformed);
    EXPECT_EQ(block.add(":path", value, limits), Added::malformed);
  }
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\r\nb"), std::string("a:"), std::string(":x")}) {
    EXPECT_EQ(block.add(name, "y", limits), Added::malformed) << name;
  }
  block.begin(FieldBlock::Kind::trailers);
  EXPECT_EQ(block.add(":path", "/", limits), Added::malformed);
}

TEST(OutgoingFields, LeaveOutWhatBelongsToAConnection) {
  Headers headers;
  for (const char* const name :
       {"Connection", "Content-Length", "Host", "HTTP2-Settings", "Keep-Alive", "Proxy-Connection", "TE",
        "Transfer-Encoding", "Upgrade", "X-Kept", "Sec-WebSocket-Key"}) {
    headers.append(name, "v");
  }
  FieldSpace space;
  OutgoingFields fields(space);
  fields.add_status(207);
  fields.add_all(headers, HeaderName::sec_websocket_key);
  fields.add_length(12'345);
  std::string text;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const nghttp2_nv& field = fields.data()[i];
    text.append(reinterpret_cast<const char*>(field.name), field.namelen).append("|");
    text.append(reinterpret_cast<const char*>(field.value), field.valuelen).append(" ");
  }
  EXPECT_EQ(text, ":status|207 X-Kept|v content-length|12345 ");
}

TEST(OutgoingFields, KeepCredentialsAndWhatIsNewEveryTimeOutOfTheTable) {
  Headers headers;
  headers.append("X-Kept", "v");
  for (const char* const name : {"X-Request-Id", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"}) {
    headers.append(name, "0123456789abcdef");
  }
  Headers identity;
  identity.append("X-Backend-Secret", "0123456789abcdef");
  FieldSpace space;
  const auto indexed = [&](bool first) {
    OutgoingFields fields(space);
    fields.add_all(headers, HeaderName::other);
    fields.add_secret(identity);
    EXPECT_EQ(fields.size(), 7u);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const bool kept_out = (fields.data()[i].flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;
      // The name of the second one stays in the table with the first value, for those that follow.
      EXPECT_EQ(kept_out, i != 0 && (i != 1 || !first)) << i;
    }
  };
  indexed(true);
  indexed(false);
}

}  // namespace
}  // namespace postern::http::h2
