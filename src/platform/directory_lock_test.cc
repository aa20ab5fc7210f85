#include "platform/directory_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "platform/temporary_directory.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using Mode = DirectoryLock::Mode;

constexpr Duration kShort = std::chrono::milliseconds(60);

std::string content(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

class DirectoryLocks : public ::testing::Test {
 protected:
  // flock() belongs to the open file, so two of one process are as two processes.
  [[nodiscard]] Result<DirectoryLock> take(Mode mode, Duration wait = kShort) const {
    return DirectoryLock::take(directory_, mode, wait);
  }
  TemporaryDirectory temporary_;
  std::string directory_ = temporary_.file(".");
  std::string file_ = directory_ + "/lock";
};

TEST_F(DirectoryLocks, OneChangesAtATime) {
  {
    const auto first = take(Mode::change);
    ASSERT_TRUE(first);
    EXPECT_THAT(content(file_), HasSubstr("process " + std::to_string(::getpid()) + " on "));
    const auto begin = std::chrono::steady_clock::now();
    const auto second = take(Mode::change);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), Code::io_failed);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, kShort);
    EXPECT_THAT(std::string(second.error().detail()),
                AllOf(HasSubstr(file_), HasSubstr("process " + std::to_string(::getpid())), Not(HasSubstr("\n"))));
    EXPECT_FALSE(take(Mode::read)) << "nobody reads meanwhile";
  }
  EXPECT_EQ(content(file_), "") << "the note is gone";
  EXPECT_TRUE(take(Mode::change));
}

TEST_F(DirectoryLocks, ReadersHoldItTogether) {
  ASSERT_TRUE(take(Mode::change));
  const auto first = take(Mode::read);
  const auto second = take(Mode::read);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(take(Mode::change));
}

TEST_F(DirectoryLocks, IsFreeAfterAWhile) {
  auto holder = std::make_unique<Result<DirectoryLock>>(take(Mode::change));
  std::thread lets_go([&] {
    std::this_thread::sleep_for(kShort);
    holder.reset();
  });
  EXPECT_TRUE(take(Mode::change, std::chrono::seconds(10)));
  lets_go.join();
}

TEST_F(DirectoryLocks, IsNotNeededToReadWhatNobodyChanges) {
  EXPECT_TRUE(take(Mode::read));
  EXPECT_FALSE(std::filesystem::exists(file_)) << "reading leaves nothing behind";
  EXPECT_FALSE(DirectoryLock::take(directory_ + "/absent", Mode::change, kShort));
}

TEST_F(DirectoryLocks, IsNeverSomebodyElsesFile) {
  const std::string other = temporary_.file("other");
  std::ofstream(other) << "keep";
  std::filesystem::create_symlink(other, file_);
  EXPECT_FALSE(take(Mode::change));
  EXPECT_EQ(content(other), "keep");
}

TEST_F(DirectoryLocks, MovedFromHoldsNothing) {
  auto first = take(Mode::change);
  ASSERT_TRUE(first);
  {
    const DirectoryLock second = std::move(*first);
    EXPECT_FALSE(take(Mode::change));
  }
  EXPECT_TRUE(take(Mode::change));
}

}  // namespace
}  // namespace postern
