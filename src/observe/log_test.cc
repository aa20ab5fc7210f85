#include "observe/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace postern::observe {
namespace {

using ::testing::ElementsAre;

struct Pipe {
  Pipe() { EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close(fds[0]);
    close(fds[1]);
  }
  std::string take() const {
    std::string out;
    char buffer[4096];
    for (ssize_t got; (got = read(fds[0], buffer, sizeof(buffer))) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
    return out;
  }
  int fds[2];
};

std::vector<boost::json::object> lines(const std::string& text) {
  std::vector<boost::json::object> out;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    EXPECT_NE(end, std::string::npos) << "a line without end";
    if (end == std::string::npos) break;
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(text.substr(at, end - at), error);
    EXPECT_FALSE(error) << text.substr(at, end - at);
    if (!error) out.push_back(value.as_object());
    at = end + 1;
  }
  return out;
}

TEST(Log, WritesTypedFieldsAsOneLine) {
  const Pipe pipe;
  const ManualClock clock;
  Log log(pipe.fds[1], clock);
  log.warning(
      "origin ejected",
      {LogField::name("origin", "orders"), LogField::text("why", "a\"\n\x1B[2J\xFF"), LogField::number("endpoint", 3),
       LogField::duration("for", std::chrono::milliseconds(1500)), LogField::time("until", WallTime{}),
       LogField::system_error(2), LogField::error(Error(Code::origin_timeout, Side::origin, "no answer"))});
  EXPECT_EQ(pipe.take(),
            "{\"time\":\"2023-11-14T22:13:20.000Z\",\"level\":\"warning\",\"message\":\"origin ejected\","
            "\"origin\":\"orders\",\"why\":\"a\\\"\\u000a\\u001b[2J\\ufffd\",\"endpoint\":3,\"for\":1500.000,"
            "\"until\":\"1970-01-01T00:00:00.000Z\",\"error_number\":2,\"system_error\":\"No such file or directory\","
            "\"error_code\":\"PST-U003\",\"error_side\":\"origin\",\"error_title\":\"Origin did not answer in time\","
            "\"error_detail\":\"no answer\"}\n");
}

TEST(Log, CutsWhatIsTooLongAndStaysJson) {
  const Pipe pipe;
  const ManualClock clock;
  Log log(pipe.fds[1], clock);
  const std::string hostile(100'000, '\x01');
  log.info("long", {LogField::text("a", hostile), LogField::text("b", hostile), LogField::number("n", 1)});
  const std::string text = pipe.take();
  EXPECT_LE(text.size(), Log::kMaxLine);
  const auto parsed = lines(text);
  ASSERT_EQ(parsed.size(), 1u);
  EXPECT_EQ(parsed[0].at("a").as_string().size(), LogField::kMaxText);
  EXPECT_FALSE(parsed[0].contains("b"));
  EXPECT_EQ(parsed[0].at("n"), 1);
  EXPECT_EQ(parsed[0].at("cut"), true);
}

TEST(Log, LimitsRepetitionPerMessageAndNameAndConfessesIt) {
  const Pipe pipe;
  ManualClock clock;
  Log log(pipe.fds[1], clock);
  for (std::uint32_t i = 0; i < Log::kBurst + 20; ++i) {
    log.error("origin down", {LogField::name("origin", "a"), LogField::number("i", i)});
  }
  EXPECT_EQ(lines(pipe.take()).size(), Log::kBurst);
  log.error("origin down", {LogField::name("origin", "b")});
  log.error("something else");
  EXPECT_EQ(lines(pipe.take()).size(), 2u) << "others are not held back";
  clock.advance(Log::kWindow);
  log.error("origin down", {LogField::name("origin", "a")});
  const auto after = lines(pipe.take());
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].at("held_back"), 20);
  EXPECT_EQ(log.dropped(), 0u);
}

TEST(Log, TextOfOthersDoesNotEscapeTheLimit) {
  const Pipe pipe;
  const ManualClock clock;
  Log log(pipe.fds[1], clock);
  for (int i = 0; i < 100; ++i) log.info("refused", {LogField::text("why", std::to_string(i))});
  EXPECT_EQ(lines(pipe.take()).size(), Log::kBurst);
}

TEST(Log, MinimumLevelHoldsBackTheRest) {
  const Pipe pipe;
  const ManualClock clock;
  Log log(pipe.fds[1], clock, Level::warning);
  log.info("a");
  log.warning("b");
  const auto parsed = lines(pipe.take());
  ASSERT_EQ(parsed.size(), 1u);
  EXPECT_EQ(parsed[0].at("message"), "b");
}

TEST(Log, AReaderThatStandsStillCostsLinesAndNeverTime) {
  const Pipe pipe;
  const ManualClock clock;
  ASSERT_GT(fcntl(pipe.fds[1], F_SETPIPE_SZ, 4096), 0);
  const std::string filling(4096, 'x');
  ASSERT_EQ(write(pipe.fds[1], filling.data(), filling.size()), 4096);
  ASSERT_EQ(fcntl(pipe.fds[1], F_SETFL, 0), 0);  // a write would block now
  Log log(pipe.fds[1], clock);
  log.info("lost");
  EXPECT_EQ(log.dropped(), 1u);
  EXPECT_EQ(pipe.take(), filling);
  log.info("kept");
  EXPECT_EQ(lines(pipe.take()).size(), 1u);
}

TEST(Log, LinesOfManyThreadsStayWhole) {
  const Pipe pipe;
  ASSERT_GT(fcntl(pipe.fds[1], F_SETPIPE_SZ, 1 << 20), 0);
  const SystemClock clock;
  Log log(pipe.fds[1], clock);
  std::vector<std::thread> threads;
  constexpr const char* kNames[] = {"a", "b", "c", "d"};
  for (const char* const name : kNames) {
    threads.emplace_back([&log, name] {
      for (int i = 0; i < 50; ++i) log.info("together", {LogField::name("thread", name), LogField::number("i", i)});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines(pipe.take()).size() + log.dropped(), std::size_t{4} * Log::kBurst);
}

// What must not compile: a message that is not a constant, and an object that only looks like text.
struct SecretLike {
  [[nodiscard]] std::string_view reveal() const { return "secret"; }
};
static_assert(!std::is_convertible_v<std::string, Constant>);
static_assert(!std::is_convertible_v<std::string_view, Constant>);
static_assert(!std::is_invocable_v<decltype(&LogField::text), Constant, SecretLike>);

}  // namespace
}  // namespace postern::observe
