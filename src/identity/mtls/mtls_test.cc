#include "identity/mtls/mtls.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "config/test_certificates.h"
#include "identity/test_support.h"

namespace postern::identity {
namespace {

TEST(Mtls, adds_nothing_to_a_message_and_never_fails) {
  const Mtls method;
  TestAttempt attempt;
  EXPECT_TRUE(attempt.apply(method));
  EXPECT_TRUE(attempt.added.empty());
  EXPECT_TRUE(method.headers().empty());
  EXPECT_TRUE(method.secrets().empty());
  EXPECT_EQ(method.name(), "mtls");
}

TEST(Mtls, the_example_of_its_readme_loads) {
  std::ifstream in(std::string(POSTERN_SOURCE_DIR) + "/src/identity/mtls/README.md");
  std::stringstream text;
  text << in.rdbuf();
  const std::string readme = text.str();
  const std::size_t begin = readme.find("```yaml\n");
  const std::size_t end = readme.find("\n```", begin);
  ASSERT_NE(end, std::string::npos);

  config::World world;
  const auto& files = config::TestFiles::get().values;
  world.files.values["/etc/postern/orders-ca.pem"] = files.at("/tls/ca.pem");
  world.files.values["/etc/postern/gateway.pem"] = files.at("/tls/client.pem");
  world.files.values["/etc/postern/gateway.key"] = files.at("/tls/client.key");
  config::Diagnostics diagnostics("postern.yaml");
  const auto loaded = world.load("version: 1\nlisteners: [{address: \"127.0.0.1:8080\"}]\n" +
                                     readme.substr(begin + 8, end - begin - 7) +
                                     "routes: [{match: {path: /*}, origin: orders, public: true}]\n",
                                 diagnostics);
  ASSERT_TRUE(loaded) << diagnostics.to_text();
  EXPECT_EQ(loaded->origins[0].identity[0].method, Mtls().name());
}

}  // namespace
}  // namespace postern::identity
