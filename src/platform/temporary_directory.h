// A directory of its own for one test, removed at the end. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace postern {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = ::testing::TempDir() + "postern-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(std::string_view name) const { return (path_ / name).string(); }
  // Replaces the file as deployments do: a new one is renamed over it.
  void write(std::string_view name, std::string_view content) const {
    const std::string fresh = file("fresh");
    std::ofstream(fresh, std::ios::binary) << content;
    std::filesystem::rename(fresh, file(name));
  }

 private:
  std::filesystem::path path_;
};

}  // namespace postern
