#include "gateway/secret_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "platform/temporary_directory.h"

namespace postern::gateway {
namespace {

using namespace std::chrono_literals;

class SecretFilesTest : public ::testing::Test {
 protected:
  // Looks twice: the first look at a change cannot know whether it is complete.
  bool changed_twice() {
    EXPECT_FALSE(files_.changed(later_));
    return files_.changed(later_);
  }
  // Long after any write of this test: every stamp has settled.
  const WallTime later_ = SystemClock().wall() + 1h;
  TemporaryDirectory directory_;
  SecretFiles files_;
};

TEST_F(SecretFilesTest, NothingReadHasNotChanged) { EXPECT_FALSE(files_.changed(later_)); }

TEST_F(SecretFilesTest, SeesOtherContentUntilItIsReadAgain) {
  directory_.write("secret", "the first value");
  EXPECT_EQ(files_.read(directory_.file("secret"), 100).content, "the first value");
  EXPECT_FALSE(files_.changed(later_));
  EXPECT_FALSE(files_.changed(later_));
  directory_.write("secret", "the other value");
  EXPECT_TRUE(changed_twice());
  EXPECT_TRUE(files_.changed(later_));
  EXPECT_EQ(files_.read(directory_.file("secret"), 100).content, "the other value");
  EXPECT_FALSE(files_.changed(later_));
}

TEST_F(SecretFilesTest, AFileThatIsBeingWrittenHasNotChangedYet) {
  const std::string path = directory_.file("secret");
  directory_.write("secret", "the first value");
  EXPECT_TRUE(files_.read(path, 100).content);
  for (const std::string_view part : {"", "the oth", "the other val"}) {
    std::ofstream(path) << part;
    EXPECT_FALSE(files_.changed(later_)) << part;
  }
  std::ofstream(path) << "the other value";
  EXPECT_FALSE(files_.changed(later_));
  EXPECT_TRUE(files_.changed(later_));
}

TEST_F(SecretFilesTest, OneThatIsBeingWrittenHoldsUpTheOthers) {
  for (const std::string_view name : {"done", "writing"}) {
    directory_.write(std::string(name), "the first value");
    EXPECT_TRUE(files_.read(directory_.file(std::string(name)), 100).content);
  }
  directory_.write("done", "the other value");
  EXPECT_FALSE(files_.changed(later_));
  std::ofstream(directory_.file("writing")) << "the oth";
  EXPECT_FALSE(files_.changed(later_)) << "a load would read both";
  std::ofstream(directory_.file("writing")) << "the other value";
  EXPECT_FALSE(files_.changed(later_));
  EXPECT_TRUE(files_.changed(later_));
}

TEST_F(SecretFilesTest, AChangeThatIsTakenBackIsNone) {
  directory_.write("secret", "the first value");
  EXPECT_TRUE(files_.read(directory_.file("secret"), 100).content);
  directory_.write("secret", "the other value");
  EXPECT_FALSE(files_.changed(later_));
  directory_.write("secret", "the first value");
  EXPECT_FALSE(files_.changed(later_));
  EXPECT_FALSE(files_.changed(later_));
}

TEST_F(SecretFilesTest, AWriteInPlaceWithinTheClockTickIsSeen) {
  const std::string path = directory_.file("secret");
  std::ofstream(path) << "the first value";
  EXPECT_TRUE(files_.read(path, 100).content);
  struct stat before{};
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  std::ofstream(path) << "the other value";
  // As if the clock had not moved.
  const timespec same[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), same, 0), 0);
  EXPECT_FALSE(files_.changed(SystemClock().wall()));
  EXPECT_TRUE(files_.changed(SystemClock().wall()));
}

TEST_F(SecretFilesTest, TouchingIsNoChange) {
  directory_.write("secret", "the first value");
  EXPECT_TRUE(files_.read(directory_.file("secret"), 100).content);
  directory_.write("secret", "the first value");
  EXPECT_FALSE(files_.changed(later_));
}

TEST_F(SecretFilesTest, SeesTheSwapOfALinkToADirectory) {
  namespace fs = std::filesystem;
  for (const auto& [name, value] : {std::pair("v1", "the first value"), std::pair("v2", "the other value")}) {
    fs::create_directory(directory_.file(name));
    directory_.write(std::string(name) + "/secret", value);
  }
  fs::create_directory_symlink("v1", directory_.file("data"));
  fs::create_symlink("data/secret", directory_.file("secret"));
  EXPECT_EQ(files_.read(directory_.file("secret"), 100).content, "the first value");
  EXPECT_FALSE(files_.changed(later_));
  fs::create_directory_symlink("v2", directory_.file("data.new"));
  fs::rename(directory_.file("data.new"), directory_.file("data"));
  EXPECT_TRUE(changed_twice());
}

TEST_F(SecretFilesTest, AFileThatGoesAndComesIsAChange) {
  directory_.write("secret", "the first value");
  EXPECT_TRUE(files_.read(directory_.file("secret"), 100).content);
  std::filesystem::remove(directory_.file("secret"));
  EXPECT_TRUE(changed_twice());
  EXPECT_FALSE(files_.read(directory_.file("secret"), 100).content);
  EXPECT_FALSE(files_.changed(later_)) << "still gone is no news";
  directory_.write("secret", "the first value");
  EXPECT_TRUE(changed_twice());
}

}  // namespace
}  // namespace postern::gateway
