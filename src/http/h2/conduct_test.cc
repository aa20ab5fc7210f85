#include "http/h2/conduct.h"

#include <gtest/gtest.h>

#include "http/h2/test_support.h"

namespace postern::http::h2 {
namespace {

constexpr MonoTime kStart = MonoTime(1h);

// How many times `bytes` may come at once.
int allowed(std::string_view bytes, Conduct::Of whom = Conduct::Of::origin) {
  Conduct conduct(whom);
  for (int i = 0; i < 100'000; ++i) {
    if (!conduct.feed(bytes, kStart) || !conduct.settle()) return i;
  }
  return -1;
}

TEST(Conduct, EveryKindOfFrameHasItsPrice) {
  EXPECT_EQ(allowed(rst_stream(1, 8)), 100);
  EXPECT_EQ(allowed(settings()), 20);
  EXPECT_EQ(allowed(settings_ack()), -1);
  EXPECT_EQ(allowed(ping()), 101) << "the first is free";
  EXPECT_EQ(allowed(frame(FrameType::ping, kAckFlag, 0, "12345678")), -1);
  EXPECT_EQ(allowed(frame(FrameType::priority, 0, 1, "12345")), 500);
  EXPECT_EQ(allowed(frame(FrameType::priority_update, 0, 0, "12345")), 500);
  EXPECT_EQ(allowed(frame(FrameType::continuation, 0, 1, "")), 8) << "of one block";
  EXPECT_EQ(allowed(frame(FrameType::headers, 0, 1, "") + frame(FrameType::continuation, 4, 1, "")), 66);
  EXPECT_EQ(allowed(frame(FrameType::goaway, 0, 0, "12345678")), 20);
  EXPECT_EQ(allowed(frame(200, 0, 0, "?")), 200);
  EXPECT_EQ(allowed(window_update(0, 1)), 350) << "a hundred are free";
  EXPECT_EQ(allowed(data(1, "")), 166) << "empty, and on no stream";
  EXPECT_EQ(allowed(data(1, "x")), 1000) << "on no stream";
  EXPECT_EQ(allowed(headers(1, {})), 100) << "on no stream";
}

TEST(Conduct, TimeForgives) {
  Conduct conduct(Conduct::Of::origin);
  MonoTime now = kStart;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(conduct.feed(rst_stream(1, 8), now));
  // Ten a second for ever.
  for (int i = 0; i < 10'000; ++i) {
    now += 100ms;
    ASSERT_TRUE(conduct.feed(rst_stream(1, 8), now)) << i;
  }
  // In small steps as well.
  for (int i = 0; i < 100'000; ++i) {
    now += 100us;
    if (i % 1000 == 999) ASSERT_TRUE(conduct.feed(rst_stream(1, 8), now)) << i;
    ASSERT_TRUE(conduct.feed(data(1, "", true).substr(0, 0), now));
  }
  ASSERT_FALSE(conduct.feed(rst_stream(1, 8), now));
  now += 1h;
  EXPECT_FALSE(conduct.feed(settings_ack(), now)) << "who is over the limit stays there";
}

TEST(Conduct, WhoCompletesStreamsMayResetSome) {
  Conduct conduct(Conduct::Of::client);
  for (int i = 0; i < 10'000; ++i) {
    conduct.opened_stream();
    conduct.completed_stream();
    if (i % 5 == 0) ASSERT_TRUE(conduct.feed(rst_stream(1, 8), kStart)) << i;
  }
}

TEST(Conduct, WhoIsMadeToResetStreamsHasCausedIt) {
  Conduct conduct(Conduct::Of::client);
  int resets = 0;
  for (; conduct.settle(); ++resets) conduct.forced_reset();
  EXPECT_EQ(resets, 51);
}

TEST(Conduct, FramesThatWeSendPayForTheirAnswers) {
  Conduct conduct(Conduct::Of::client);
  ASSERT_TRUE(conduct.feed(std::string(24, 'p'), kStart));
  for (int i = 0; i < 10'000; ++i) {
    conduct.sent_data();
    ASSERT_TRUE(conduct.feed(ping() + window_update(0, 1) + window_update(1, 1), kStart)) << i;
  }
}

TEST(Conduct, SeesFramesHoweverTheyAreCut) {
  const std::string bytes = std::string(24, 'p') + settings({{3, 1}}) + frame(FrameType::headers, 0, 1, "abc") +
                            frame(FrameType::continuation, 0, 1, "") +
                            frame(FrameType::continuation, kEndHeadersFlag, 1, "d") + data(1, std::string(1000, 'x'));
  Conduct conduct(Conduct::Of::client);
  std::string blocks;
  for (const char c : bytes) {
    ASSERT_TRUE(conduct.feed({&c, 1}, kStart));
    blocks += conduct.in_header_block() ? 'b' : '-';
  }
  EXPECT_EQ(conduct.frames(), 5u);
  EXPECT_EQ(conduct.header_blocks(), 1u);
  const std::size_t first = 24 + 15 + 8;
  EXPECT_EQ(blocks.find('b'), first);
  EXPECT_EQ(blocks.find('-', first), first + 4 + 9 + 9) << "from the header of the first frame to its last byte";
  EXPECT_EQ(blocks.find('b', first + 22), std::string::npos);
}

TEST(Conduct, NoticesAPush) {
  Conduct conduct(Conduct::Of::origin);
  ASSERT_TRUE(conduct.feed(settings(), kStart));
  EXPECT_FALSE(conduct.pushed());
  ASSERT_TRUE(conduct.feed(frame(FrameType::push_promise, kEndHeadersFlag, 1, "1234"), kStart));
  EXPECT_TRUE(conduct.pushed());
}

}  // namespace
}  // namespace postern::http::h2
