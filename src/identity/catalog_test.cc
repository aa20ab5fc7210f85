#include "identity/catalog.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "identity/test_support.h"

namespace postern::identity {
namespace {

TEST(Catalog, has_every_folder_of_this_room_and_nothing_else) {
  std::set<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(POSTERN_SOURCE_DIR) + "/src/identity")) {
    if (entry.is_directory()) folders.insert(entry.path().filename());
  }
  std::set<std::string> named;
  for (const config::SchemaPart& part : schema_parts()) {
    EXPECT_EQ(part.kind, "identity");
    EXPECT_TRUE(named.emplace(part.name).second) << part.name;
  }
  EXPECT_EQ(named, folders);
}

TEST(Catalog, every_schema_compiles_into_the_whole) {
  const config::World world = world_with_methods();
  const config::Schema& schema = world.schema;
  for (const config::SchemaPart& part : schema_parts()) {
    EXPECT_NE(schema.text().find("\"identity_" + std::string(part.name) + "\""), std::string::npos) << part.name;
  }
}

TEST(Catalog, makes_every_method_that_a_configuration_can_name) {
  const config::World world = world_with_methods();
  config::Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(
      "version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\n"
      "origins: {main: {url: \"http://127.0.0.1:1\", identity: [{shared_secret: {header: X, value: "
      "\"${file:/s/a}\"}}]}}\n"
      "routes: [{match: {path: /}, origin: main, public: true}]\n",
      diagnostics);
  ASSERT_TRUE(config) << diagnostics.to_text();
  const SystemClock clock;
  const SystemEntropy entropy;
  const auto method = make_method(config->origins[0].identity[0], diagnostics, {clock, entropy});
  ASSERT_TRUE(method);
  EXPECT_EQ(method->name(), "shared_secret");
}

TEST(Catalog, what_is_not_built_is_an_error_that_names_what_is) {
  config::World world;
  config::Diagnostics diagnostics("postern.yaml");
  EXPECT_FALSE(
      world.load("version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\n"
                 "origins: {main: {url: \"http://127.0.0.1:1\", identity: [{shared_secrets: {header: X, value: "
                 "\"${file:/s/a}\"}}]}}\n"
                 "routes: [{match: {path: /}, origin: main, public: true}]\n",
                 diagnostics));
  EXPECT_NE(diagnostics.to_text().find("shared_secret"), std::string::npos) << diagnostics.to_text();
}

}  // namespace
}  // namespace postern::identity
