#include "platform/private_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "platform/temporary_directory.h"

namespace postern {
namespace {

TEST(PrivateDirectory, MakesWhatIsMissingForTheOwnerOnly) {
  const TemporaryDirectory temporary;
  const std::filesystem::path inner = temporary.file("a/b");
  ASSERT_TRUE(make_private_directory(inner));
  for (const auto& path : {inner.parent_path(), inner}) {
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700u) << path;
  }
  EXPECT_TRUE(make_private_directory(inner)) << "again";
}

TEST(PrivateDirectory, SaysWhatIsInTheWay) {
  const TemporaryDirectory temporary;
  const std::filesystem::path file = temporary.file("file");
  std::ofstream(file) << "x";
  const Result<void> made = make_private_directory(file / "below");
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().detail().find("below"), std::string_view::npos) << made.error().detail();
}

}  // namespace
}  // namespace postern
