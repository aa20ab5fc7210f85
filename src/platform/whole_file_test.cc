#include "platform/whole_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "platform/temporary_directory.h"

namespace postern {
namespace {

using ::testing::HasSubstr;

std::size_t entries(const TemporaryDirectory& directory) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.file(""))) count += entry.exists() ? 1 : 0;
  return count;
}

TEST(WholeFile, IsWrittenAndReadAgain) {
  const TemporaryDirectory temporary;
  const std::string path = temporary.file("a");
  const std::string content("one\0two", 7);
  const mode_t before = ::umask(0077);
  ASSERT_TRUE(write_whole_file(path, content, 0644));
  ::umask(before);
  const auto read = read_whole_file(path, 7);
  ASSERT_TRUE(read && *read);
  EXPECT_EQ((*read)->content, content);
  EXPECT_EQ((*read)->mode, 0644u) << "whatever the umask";
  EXPECT_EQ(entries(temporary), 1u) << "nothing else is left";
}

TEST(WholeFile, ReplacesOrRefuses) {
  const TemporaryDirectory temporary;
  const std::string path = temporary.file("a");
  ASSERT_TRUE(write_whole_file(path, "old", 0600, Existing::refuse));
  const Result<void> again = write_whole_file(path, "new", 0600, Existing::refuse);
  ASSERT_FALSE(again);
  EXPECT_THAT(std::string(again.error().detail()), HasSubstr("File exists"));
  EXPECT_EQ((*read_whole_file(path, 100))->content, "old");
  ASSERT_TRUE(write_whole_file(path, "new", 0640));
  EXPECT_EQ((*read_whole_file(path, 100))->content, "new");
  EXPECT_EQ((*read_whole_file(path, 100))->mode, 0640u);
  EXPECT_EQ(entries(temporary), 1u);
}

TEST(WholeFile, ReplacesTheFileAndDoesNotWriteIntoIt) {
  const TemporaryDirectory temporary;
  const std::string path = temporary.file("a");
  ASSERT_TRUE(write_whole_file(path, "old", 0600));
  std::filesystem::create_hard_link(path, temporary.file("b"));
  ASSERT_TRUE(write_whole_file(path, "new", 0600));
  EXPECT_EQ((*read_whole_file(temporary.file("b"), 100))->content, "old");
}

TEST(WholeFile, ThatIsNoneSaysWhy) {
  const TemporaryDirectory temporary;
  const auto missing = read_whole_file(temporary.file("missing"), 100);
  ASSERT_TRUE(missing);
  EXPECT_FALSE(*missing);
  const auto refusal = [&](const std::string& name, std::size_t max) {
    const auto read = read_whole_file(temporary.file(name), max);
    return read ? std::string("no error") : std::string(read.error().detail());
  };
  ASSERT_TRUE(write_whole_file(temporary.file("a"), "four", 0600));
  EXPECT_EQ(refusal("a", 4), "no error");
  EXPECT_THAT(refusal("a", 3), HasSubstr("larger than 3 bytes"));
  ASSERT_EQ(::mkfifo(temporary.file("fifo").c_str(), 0600), 0);
  EXPECT_THAT(refusal("fifo", 100), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal("", 100), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal("a/b", 100), HasSubstr("Not a directory"));
  const Result<void> nowhere = write_whole_file(temporary.file("no/where"), "x", 0600);
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(std::string(nowhere.error().detail()), HasSubstr("no/where: No such file"));
}

TEST(WholeFile, IsRemoved) {
  const TemporaryDirectory temporary;
  ASSERT_TRUE(write_whole_file(temporary.file("a"), "x", 0600));
  EXPECT_TRUE(remove_file(temporary.file("a")));
  EXPECT_EQ(entries(temporary), 0u);
  EXPECT_TRUE(remove_file(temporary.file("a"))) << "again";
  EXPECT_FALSE(remove_file(temporary.file("")));
}

}  // namespace
}  // namespace postern
