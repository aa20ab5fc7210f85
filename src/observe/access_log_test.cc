#include "observe/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "observe/log.h"

namespace postern::observe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

class AccessLogTest : public ::testing::Test {
 protected:
  AccessLogTest() {
    std::string name = ::testing::TempDir() + "observe-XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ + "/access.log";
    log_file_ = directory_ + "/operational.log";
    log_fd_ = open(log_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_.emplace(log_fd_, clock_);
  }
  ~AccessLogTest() override {
    log_.reset();
    close(log_fd_);
    std::filesystem::remove_all(directory_);
  }

  std::unique_ptr<AccessLog> open_log(std::size_t max_blocks = 64, QueryValues values = QueryValues::redact) {
    Result<std::unique_ptr<AccessLog>> opened = AccessLog::open({.writer = {.sink = BlockWriter::Sink::file,
                                                                            .path = path_,
                                                                            .max_blocks = max_blocks,
                                                                            .stop_limit = std::chrono::milliseconds(1)},
                                                                 .query_values = values},
                                                                *log_);
    EXPECT_TRUE(opened.has_value());
    return std::move(*opened);
  }

  // The one line that `record` makes.
  std::string line_of(const AccessRecord& record, QueryValues values = QueryValues::redact) {
    std::filesystem::remove(path_);
    {
      const auto log = open_log(64, values);
      LoopAccessLog loop(*log);
      loop.append(record);
    }
    const std::string text = read_file(path_);
    EXPECT_EQ(std::ranges::count(text, '\n'), 1);
    return text;
  }

  const SystemClock clock_;
  std::string directory_, path_, log_file_;
  int log_fd_ = -1;
  std::optional<Log> log_;
};

AccessRecord usual_record() {
  return {.time = WallTime(std::chrono::milliseconds(1'700'000'000'123)),
          .request_id = "01HQ3",
          .client = "203.0.113.9",
          .method = "GET",
          .host = "api.example.com",
          .path = "/orders/17",
          .query = "page=2&token=abc",
          .protocol = "HTTP/1.1",
          .tls = "TLSv1.3",
          .status = 200,
          .route = "orders",
          .consumer = "c_42",
          .origin = "backend",
          .endpoint = 1,
          .attempts = 2,
          .connect = std::chrono::microseconds(250),
          .first_byte = std::chrono::microseconds(4'100),
          .origin_certificate = "presented",
          .duration = std::chrono::microseconds(5'007),
          .bytes_in = 0,
          .bytes_out = 1234,
          .error_code = {},
          .error_side = Side::gateway,
          .error_detail = {},
          .user_agent = "curl/8.0",
          .referer = "https://user:pass@shop.example/cart?session=1"};
}

TEST_F(AccessLogTest, WritesTheDocumentedFieldsInOrder) {
  EXPECT_EQ(line_of(usual_record()),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"01HQ3\",\"client\":\"203.0.113.9\","
            "\"method\":\"GET\",\"host\":\"api.example.com\",\"path\":\"/orders/17\",\"query\":\"page=…&token=…\","
            "\"protocol\":\"HTTP/1.1\",\"tls\":\"TLSv1.3\",\"status\":200,\"route\":\"orders\",\"consumer\":\"c_42\","
            "\"origin\":\"backend\",\"endpoint\":1,\"attempts\":2,\"connect_ms\":0.250,\"first_byte_ms\":4.100,"
            "\"origin_certificate\":\"presented\","
            "\"duration_ms\":5.007,\"bytes_in\":0,\"bytes_out\":1234,\"user_agent\":\"curl/8.0\","
            "\"referer\":\"https://shop.example/cart\"}\n");
}

TEST_F(AccessLogTest, LeavesOutWhatThereIsNot) {
  AccessRecord record;
  record.request_id = "r";
  record.client = "::1";
  record.method = "GET";
  record.protocol = "HTTP/1.0";
  record.status = 400;
  record.error_code = "PST-R001";
  record.error_side = Side::client;
  record.error_detail = "key pst_4XbQ9sLm is \"revoked\"";
  EXPECT_EQ(line_of(record),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"request_id\":\"r\",\"client\":\"::1\",\"method\":\"GET\","
            "\"protocol\":\"HTTP/1.0\",\"status\":400,\"duration_ms\":0.000,\"bytes_in\":0,\"bytes_out\":0,"
            "\"error_code\":\"PST-R001\",\"error_side\":\"client\","
            "\"error_detail\":\"key pst_4XbQ9sLm is \\\"revoked\\\"\"}\n");
}

TEST_F(AccessLogTest, QueryValuesAreKeptOnlyWhenAskedFor) {
  const AccessRecord record = usual_record();
  EXPECT_THAT(line_of(record, QueryValues::keep), HasSubstr("\"query\":\"page=2&token=abc\""));
  EXPECT_THAT(line_of(record, QueryValues::redact), Not(HasSubstr("abc")));
}

TEST_F(AccessLogTest, ARawTargetInThePathLosesItsQuery) {
  AccessRecord record = usual_record();
  record.path = "/a?token=hidden";
  EXPECT_THAT(line_of(record), Not(HasSubstr("hidden")));
  record.path = "/a#hidden";
  EXPECT_THAT(line_of(record), Not(HasSubstr("hidden")));
}

TEST(RedactedQuery, KeepsNamesAndNothingElse) {
  struct Case {
    std::string_view name, query, expected;
  };
  const std::string long_name(65, 'n');
  const std::string long_element = long_name + "=1";
  const Case cases[] = {
      {"two", "a=1&b=2", "a=…&b=…"},
      {"empty value", "a=&b=2", "a=…&b=…"},
      {"flag", "wsdl&a=1&dry-run", "wsdl&a=…&dry-run"},
      {"bare element may be a token", "eyJhbGciOi", "…"},
      {"bare element with a digit", "abc1", "…"},
      {"long bare element", "abcdefghijklmnopq", "…"},
      {"base64 padding is no name", "c2VjcmV0==", "…"},
      {"long name is no name", long_element, "…"},
      {"no name", "=secret", "=…"},
      {"second equals sign", "a=b=c", "a=…"},
      {"semicolons separate nothing", "a=1;password=2", "a=…"},
      {"empty elements", "&&a=1&", "&&a=…&"},
      {"hostile name", "a\"\n=1", "a\\\"\\u000a=…"},
      {"cut", "abcdefgh=123456789012", "abcdefgh=……"},
  };
  for (const Case& c : cases) {
    std::string out(1024, '\0');
    const std::size_t limit = c.name == "cut" ? 12 : 100;
    const char* const end = put_redacted_query(out.data(), c.query, limit);
    out.resize(static_cast<std::size_t>(end - out.data()));
    EXPECT_EQ(out, c.expected) << c.name;
  }
}

TEST(RefererParts, LoseQueryFragmentAndUserInformation) {
  struct Case {
    std::string_view referer, expected;
  };
  const Case cases[] = {
      {"https://a.example/p?q=1#f", "https://a.example/p"},
      {"https://a.example#f?x", "https://a.example"},
      {"https://u:p@a.example/p@q", "https://a.example/p@q"},
      {"https://u:p@x@a.example/", "https://a.example/"},
      {"https://u:p@a.example", "https://a.example"},
      {"https://a.example\\@b/", "https://a.example\\@b/"},
      {"//u:p@a.example/x", "//a.example/x"},
      {"/relative?x=1", "/relative"},
      {"android-app://com.example/", "android-app://com.example/"},
      {"u:p@a.example", ""},
      {"mailto:u@a.example", ""},
      {"?q=1", ""},
      {"", ""},
  };
  for (const Case& c : cases) {
    const RefererParts parts = referer_parts(c.referer);
    EXPECT_EQ(std::string(parts.scheme) + std::string(parts.rest), c.expected) << c.referer;
  }
}

TEST_F(AccessLogTest, HostileBytesStayInsideTheirString) {
  std::mt19937 random(7);  // NOLINT: the same bytes every time
  const auto bytes = [&](std::size_t most) {
    std::string out(random() % (most + 1), '\0');
    constexpr std::string_view kNasty = "\"\\\n\r\t\0\x1B\x7F\x80\xC3\xE2\xF0\xFF{}[],:";
    for (char& c : out) c = random() % 3 == 0 ? kNasty[random() % kNasty.size()] : static_cast<char>(random());
    return out;
  };
  constexpr int kLines = 3000;
  {
    const auto log = open_log(1024);
    LoopAccessLog loop(*log);
    for (int i = 0; i < kLines; ++i) {
      const std::string f[] = {bytes(20), bytes(40), bytes(300), bytes(3000), bytes(2000), bytes(300), bytes(700)};
      AccessRecord record = usual_record();
      record.method = f[0];
      record.client = f[1];
      record.host = f[2];
      record.path = f[3];
      record.query = f[4];
      record.route = f[5];
      record.user_agent = f[6];
      record.referer = f[4];
      loop.append(record);
    }
    ASSERT_EQ(log->dropped(), 0u);
  }
  const auto found = split_lines(read_file(path_));
  ASSERT_EQ(found.size(), static_cast<std::size_t>(kLines));
  for (const std::string& line : found) {
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(line, error);
    ASSERT_FALSE(error) << line;
    ASSERT_EQ(value.at("status"), 200);
    ASSERT_EQ(value.at("bytes_out"), 1234);
  }
}

TEST_F(AccessLogTest, TheLongestLineFitsABlock) {
  const std::string worst(100'000, '\x01');
  AccessRecord record = usual_record();
  for (std::string_view* const field :
       {&record.request_id, &record.client, &record.method, &record.host, &record.path, &record.query, &record.protocol,
        &record.tls, &record.route, &record.consumer, &record.origin, &record.origin_certificate, &record.error_code,
        &record.error_detail, &record.user_agent}) {
    *field = worst;
  }
  const std::string referer = "https://" + worst;
  record.referer = referer;
  record.bytes_in = record.bytes_out = UINT64_MAX;
  record.attempts = record.endpoint = UINT32_MAX;
  record.duration = record.connect = record.first_byte = Duration::max();
  for (const QueryValues values : {QueryValues::keep, QueryValues::redact}) {
    const std::string line = line_of(record, values);
    EXPECT_LE(line.size(), Block::kBytes);
    boost::system::error_code error;
    static_cast<void>(boost::json::parse(line, error));
    EXPECT_FALSE(error);
  }
}

TEST_F(AccessLogTest, ReopenFollowsRotation) {
  const auto log = open_log();
  LoopAccessLog loop(*log);
  AccessRecord record = usual_record();
  record.request_id = "before";
  loop.append(record);
  loop.flush();
  while (read_file(path_).empty()) std::this_thread::yield();
  std::filesystem::rename(path_, path_ + ".1");
  log->reopen();
  while (log->reopened() == 0) std::this_thread::yield();
  record.request_id = "after";
  loop.append(record);
  loop.flush();
  while (read_file(path_).empty()) std::this_thread::yield();
  EXPECT_THAT(read_file(path_ + ".1"), HasSubstr("before"));
  EXPECT_THAT(read_file(path_ + ".1"), Not(HasSubstr("after")));
  EXPECT_THAT(read_file(path_), HasSubstr("after"));
  struct stat status{};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u & ~0640u, 0u) << "not for everybody";
}

TEST_F(AccessLogTest, AFailedReopenKeepsTheOldFile) {
  {
    const auto log = open_log();
    std::filesystem::rename(path_, path_ + ".1");
    std::filesystem::create_directory(path_);  // cannot be opened for writing
    log->reopen();
    while (read_file(log_file_).empty()) std::this_thread::yield();
    LoopAccessLog loop(*log);
    loop.append(usual_record());
  }
  EXPECT_EQ(split_lines(read_file(path_ + ".1")).size(), 1u);
  EXPECT_THAT(read_file(log_file_), HasSubstr("access log cannot be reopened"));
}

TEST_F(AccessLogTest, ASinkThatCannotBeOpenedIsAnErrorAtStart) {
  path_ = directory_ + "/missing/access.log";
  const auto opened = AccessLog::open({.writer = {.sink = BlockWriter::Sink::file, .path = path_}}, *log_);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Code::io_failed);
  EXPECT_THAT(std::string(opened.error().detail()), HasSubstr("No such file"));
}

TEST_F(AccessLogTest, AFullDiskIsReportedOnceAndCounted) {
  path_ = "/dev/full";
  {
    const auto log = open_log();
    LoopAccessLog loop(*log);
    for (std::uint64_t i = 1; i <= 3; ++i) {
      loop.append(usual_record());
      loop.flush();
      while (log->write_errors() != i) std::this_thread::yield();
    }
    EXPECT_EQ(log->dropped(), 3u);
  }
  const auto reported = split_lines(read_file(log_file_));
  ASSERT_EQ(reported.size(), 1u);
  EXPECT_THAT(reported[0], HasSubstr("access log cannot be written"));
  EXPECT_THAT(reported[0], HasSubstr("No space left on device"));
}

// The reader of the pipe stands still: loops go on, lines are dropped and counted, and what was kept arrives whole.
TEST_F(AccessLogTest, AFullQueueDropsAndNeverBlocks) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  constexpr std::uint64_t kLines = 10'000;
  std::string received;
  std::uint64_t dropped = 0;
  {
    auto opened = AccessLog::open({.writer = {.sink = BlockWriter::Sink::file, .path = path_, .max_blocks = 4}}, *log_);
    ASSERT_TRUE(opened.has_value());
    AccessLog& log = **opened;
    {
      LoopAccessLog loop(log);
      for (std::uint64_t i = 0; i < kLines; ++i) loop.append(usual_record());
    }
    dropped = log.dropped();
    ASSERT_EQ(fcntl(reader, F_SETFL, 0), 0);
    std::thread drain([&] {
      char buffer[65536];
      for (ssize_t got; (got = read(reader, buffer, sizeof(buffer))) > 0;) {
        received.append(buffer, static_cast<std::size_t>(got));
      }
    });
    opened->reset();  // writes what is queued, then closes
    drain.join();
  }
  close(reader);
  EXPECT_GT(dropped, 0u);
  const auto lines = split_lines(received);
  EXPECT_EQ(lines.size() + dropped, kLines);
  const std::string whole = lines.front();
  for (const std::string& line : lines) ASSERT_EQ(line, whole);
}

TEST_F(AccessLogTest, AReaderThatStandsStillDoesNotHoldTheStop) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  {
    const auto log = open_log(16);  // stop_limit 1 ms
    LoopAccessLog loop(*log);
    for (int i = 0; i < 1000; ++i) loop.append(usual_record());
  }
  close(reader);
  EXPECT_THAT(read_file(log_file_), HasSubstr("lines are dropped"));
}

TEST_F(AccessLogTest, ManyLoopsAndRotationsLoseNothing) {
  constexpr std::size_t kLoops = 4;
  constexpr int kLines = 5'000;
  std::uint64_t rotations = 0;
  std::uint64_t dropped = 0;
  {
    const auto log = open_log(4096);
    std::atomic<std::size_t> running{kLoops};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kLoops; ++t) {
      threads.emplace_back([&, t] {
        LoopAccessLog loop(*log);
        const std::string id = std::to_string(t);
        AccessRecord record = usual_record();
        record.consumer = id;
        for (int i = 0; i < kLines; ++i) {
          record.bytes_in = static_cast<std::uint64_t>(i);
          loop.append(record);
          if (i % 97 == 0) loop.flush();
        }
        running.fetch_sub(1);
      });
    }
    while (running.load() != 0) {
      std::filesystem::rename(path_, path_ + "." + std::to_string(rotations));
      const std::uint64_t before = log->reopened();
      log->reopen();
      while (log->reopened() == before) std::this_thread::yield();
      ++rotations;
    }
    for (std::thread& thread : threads) thread.join();
    dropped = log->dropped();
  }
  EXPECT_EQ(dropped, 0u);
  std::size_t lines = 0;
  std::vector<std::uint64_t> sums(kLoops);
  for (const auto& file : std::filesystem::directory_iterator(directory_)) {
    if (!file.path().filename().string().starts_with("access.log")) continue;
    for (const std::string& line : split_lines(read_file(file.path()))) {
      const boost::json::value value = boost::json::parse(line);
      ++lines;
      sums[std::stoul(std::string(value.at("consumer").as_string()))] +=
          value.at("bytes_in").to_number<std::uint64_t>();
    }
  }
  EXPECT_EQ(lines, kLoops * kLines);
  for (const std::uint64_t sum : sums) EXPECT_EQ(sum, std::uint64_t{kLines} * (kLines - 1) / 2);
}

TEST(BlockQueue, KeepsEachPointerOnceUnderContention) {
  constexpr int kEach = 20'000;
  std::vector<int> values(2 * kEach);
  BlockQueue<int> queue(64);
  std::atomic<int> producers{2};
  std::vector<std::atomic<int>> seen(values.size());
  const auto produce = [&](int from) {
    for (int i = from; i < from + kEach; ++i) {
      while (!queue.push(&values[static_cast<std::size_t>(i)])) std::this_thread::yield();
    }
    producers.fetch_sub(1);
  };
  const auto consume = [&] {
    for (;;) {
      const bool last = producers.load() == 0;
      if (int* const value = queue.pop()) {
        seen[static_cast<std::size_t>(value - values.data())].fetch_add(1);
      } else if (last) {
        return;
      }
    }
  };
  {
    std::jthread a(produce, 0), b(produce, kEach), c(consume), d(consume);
  }
  for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
}

}  // namespace
}  // namespace postern::observe
