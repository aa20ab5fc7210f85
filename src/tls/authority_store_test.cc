#include "tls/authority_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <thread>

#include "platform/temporary_directory.h"
#include "platform/whole_file.h"
#include "tls/test_certificates.h"

namespace postern::tls {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Use = CertifiedKey::Use;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
constexpr auto kShort = std::chrono::milliseconds(60);

template <typename T>
std::string detail_of(const Result<T>& result) {
  return result ? "no error" : std::string(result.error().detail());
}

class AuthorityStore : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u) << ERR_error_string(ERR_peek_error(), nullptr); }

  Result<Authorities> make(const MakeOptions& options = {}) const {
    return make_authorities(directory_, kNow, entropy_, options, kShort);
  }
  Result<Authorities> load() const { return load_authorities(directory_, kShort); }
  Result<Authorities> open_or_make() const { return open_or_make_authorities(directory_, kNow, entropy_, kShort); }
  [[nodiscard]] std::string file(std::string_view name) const { return directory_ + "/" + std::string(name); }
  [[nodiscard]] std::string content(std::string_view name) const {
    return (*read_whole_file(file(name), 100'000))->content;
  }
  void write(std::string_view name, std::string_view text, std::uint32_t mode = 0600) const {
    EXPECT_TRUE(write_whole_file(file(name), text, mode));
  }
  [[nodiscard]] std::set<std::string> names() const {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) out.insert(entry.path().filename());
    return out;
  }
  static mode_t mode_of(const std::string& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777;
  }

  const SystemEntropy entropy_;
  const TemporaryDirectory temporary_;
  const std::string directory_ = temporary_.file("state/ca");
};

TEST_F(AuthorityStore, MakesTwoAuthoritiesAndReadsThemAgain) {
  const auto made = make();
  ASSERT_TRUE(made) << detail_of(made);
  EXPECT_THAT(names(),
              ElementsAre("client-ca.key", "client-ca.pem", "deployment", "lock", "server-ca.key", "server-ca.pem"));
  EXPECT_EQ(mode_of(directory_), 0700u);
  EXPECT_EQ(mode_of(file("client-ca.key")), 0600u);
  EXPECT_EQ(mode_of(file("server-ca.key")), 0600u);
  EXPECT_EQ(content("lock"), "") << "nobody is there any more";
  EXPECT_EQ(made->client.certificate().not_before(), kNow - kClockSkew);
  EXPECT_EQ(made->client.certificate().not_after(), kNow + kAuthorityLife);
  EXPECT_NE(made->client.certificate().spki_pin(), made->server.certificate().spki_pin());
  EXPECT_EQ(made->client.certificate().subject(), "CN=Postern client CA " + made->deployment);

  const auto loaded = load();
  ASSERT_TRUE(loaded) << detail_of(loaded);
  EXPECT_EQ(loaded->deployment, made->deployment);
  EXPECT_EQ(loaded->client.certificate().fingerprint(), made->client.certificate().fingerprint());
  EXPECT_EQ(loaded->server.certificate().fingerprint(), made->server.certificate().fingerprint());
  EXPECT_TRUE(loaded->client.has_key() && loaded->server.has_key());
}

TEST_F(AuthorityStore, NeverReplacesAuthorities) {
  const auto made = make();
  ASSERT_TRUE(made) << detail_of(made);
  EXPECT_THAT(detail_of(make()), HasSubstr("there are authorities already"));
  const auto opened = open_or_make();
  ASSERT_TRUE(opened) << detail_of(opened);
  EXPECT_EQ(opened->client.certificate().fingerprint(), made->client.certificate().fingerprint());

  // A part that is missing is no reason to throw the rest away.
  for (const std::string_view name : {"deployment", "client-ca.pem", "server-ca.pem"}) {
    const std::string kept = content(name);
    std::filesystem::remove(file(name));
    for (const auto& result : {load(), open_or_make()}) {
      EXPECT_THAT(detail_of(result), AllOf(HasSubstr(std::string(name)), HasSubstr("is missing beside the others")));
    }
    EXPECT_THAT(detail_of(make()), HasSubstr("there are authorities already"));
    write(name, kept);
    EXPECT_TRUE(load());
  }
}

TEST_F(AuthorityStore, SaysWhenThereAreNone) {
  EXPECT_THAT(detail_of(load()), AllOf(HasSubstr(directory_), HasSubstr("`postern ca init` makes them")));
  std::filesystem::create_directories(directory_);
  EXPECT_THAT(detail_of(load()), HasSubstr("`postern ca init` makes them"));
  EXPECT_THAT(names(), IsEmpty()) << "a look leaves nothing behind";
  std::filesystem::remove(directory_);
  std::ofstream(directory_) << "x";
  EXPECT_THAT(detail_of(load()), HasSubstr("Not a directory"));
  EXPECT_THAT(detail_of(make()), HasSubstr("Not a directory"));
}

TEST_F(AuthorityStore, StartsAnewWhereMakingWasInterrupted) {
  ASSERT_TRUE(make());
  const std::string first = content("client-ca.pem");
  for (const std::string_view missing : {"", "client-ca.pem", "client-ca.key", "server-ca.pem", "deployment"}) {
    write("making", "");
    if (!missing.empty()) std::filesystem::remove(file(missing));
    EXPECT_THAT(detail_of(load()), HasSubstr("interrupted"));
    const auto again = open_or_make();
    ASSERT_TRUE(again) << detail_of(again);
    EXPECT_TRUE(load());
    EXPECT_FALSE(std::filesystem::exists(file("making")));
  }
  EXPECT_NE(content("client-ca.pem"), first);
}

TEST_F(AuthorityStore, TakesADiskThatDoesNotAnswerForNoEmptyDirectory) {
  ASSERT_TRUE(make());
  // ELOOP and ENAMETOOLONG stand for what a broken mount says: the files may be there.
  std::filesystem::create_symlink("loop", temporary_.file("loop"));
  for (const std::string& unclear : {temporary_.file("loop"), directory_ + "/" + std::string(300, 'x')}) {
    for (const auto& result :
         {open_or_make_authorities(unclear, kNow, entropy_, kShort),
          make_authorities(unclear, kNow, entropy_, {}, kShort), load_authorities(unclear, kShort)}) {
      EXPECT_FALSE(result);
      EXPECT_THAT(detail_of(result), Not(HasSubstr("no authorities yet")));
    }
  }
  // A link that leads nowhere is something.
  for (const std::string_view name :
       {"client-ca.pem", "client-ca.key", "server-ca.pem", "server-ca.key", "deployment"}) {
    std::filesystem::rename(file(name), file(std::string(name) + ".away"));
  }
  std::filesystem::create_symlink("gone", file("server-ca.pem"));
  EXPECT_THAT(detail_of(open_or_make()), HasSubstr("is missing beside the others"));
  EXPECT_THAT(detail_of(make()), HasSubstr("there are authorities already"));
  EXPECT_TRUE(std::filesystem::is_symlink(file("server-ca.pem")));
}

TEST_F(AuthorityStore, KeepsTheClientKeyElsewhereIfAskedTo) {
  const std::string elsewhere = temporary_.file("offline.key");
  const auto made = make({.offline_client_key = elsewhere});
  ASSERT_TRUE(made) << detail_of(made);
  EXPECT_FALSE(std::filesystem::exists(file("client-ca.key")));
  EXPECT_EQ(mode_of(elsewhere), 0600u);
  const auto loaded = load();
  ASSERT_TRUE(loaded) << detail_of(loaded);
  EXPECT_FALSE(loaded->client.has_key());
  EXPECT_TRUE(loaded->server.has_key());
  EXPECT_TRUE(Authority::parse(content("client-ca.pem"), (*read_whole_file(elsewhere, 10'000))->content))
      << "the key there is the right one";
}

TEST_F(AuthorityStore, DoesNotOverwriteAnotherKeyWithTheOfflineOne) {
  const std::string elsewhere = temporary_.file("offline.key");
  ASSERT_TRUE(write_whole_file(elsewhere, "precious", 0600));
  EXPECT_THAT(detail_of(make({.offline_client_key = elsewhere})), AllOf(HasSubstr(elsewhere), HasSubstr("exists")));
  EXPECT_EQ((*read_whole_file(elsewhere, 100))->content, "precious");
  EXPECT_FALSE(load()) << "half made counts as not made";
  EXPECT_TRUE(make());
}

TEST_F(AuthorityStore, RefusesWhatOthersMayTouch) {
  ASSERT_TRUE(make());
  for (const std::string_view name : {"client-ca.key", "server-ca.key"}) {
    for (const mode_t mode : {0640u, 0604u, 0620u, 0602u}) {
      ASSERT_EQ(::chmod(file(name).c_str(), mode), 0);
      EXPECT_THAT(detail_of(load()), AllOf(HasSubstr(std::string(name)), HasSubstr("chmod 600"))) << mode;
      EXPECT_FALSE(open_or_make());
    }
    ASSERT_EQ(::chmod(file(name).c_str(), 0400), 0);
    EXPECT_TRUE(load());
  }
  for (const mode_t mode : {0770u, 0702u}) {
    ASSERT_EQ(::chmod(directory_.c_str(), mode), 0);
    EXPECT_THAT(detail_of(load()), AllOf(HasSubstr(directory_), HasSubstr("chmod go-w")));
  }
}

TEST_F(AuthorityStore, RefusesFilesThatAreNotWhatTheirNamesSay) {
  ASSERT_TRUE(make());
  const std::string client_pem = content("client-ca.pem");
  const std::string client_key = content("client-ca.key");
  const std::string server_pem = content("server-ca.pem");
  const std::string server_key = content("server-ca.key");

  write("client-ca.key", server_key);
  EXPECT_THAT(detail_of(load()), AllOf(HasSubstr("client-ca"), HasSubstr("not that of the certificate")));
  write("client-ca.pem", server_pem);
  EXPECT_THAT(detail_of(load()), HasSubstr("does not sign certificates of clients"));
  write("client-ca.pem", client_pem.substr(0, 200));
  write("client-ca.key", client_key);
  EXPECT_THAT(detail_of(load()), AllOf(HasSubstr("client-ca"), HasSubstr("incomplete")));
  write("client-ca.pem", client_pem);
  EXPECT_TRUE(load());
  write("server-ca.pem", client_pem);
  write("server-ca.key", client_key);
  EXPECT_THAT(detail_of(load()), HasSubstr("does not sign certificates of servers"));
  write("server-ca.pem", server_pem);
  write("server-ca.key", "");
  EXPECT_THAT(detail_of(load()), AllOf(HasSubstr("server-ca.key"), HasSubstr("the file is empty")));
  write("server-ca.key", server_key);
  for (const std::string_view deployment : {"", "xyz", "0123456789abcde", "0123456789ABCDEF", "../../../../etc/x"}) {
    write("deployment", deployment);
    EXPECT_THAT(detail_of(load()), HasSubstr("not 16 hexadecimal digits"));
  }
}

TEST_F(AuthorityStore, WaitsForItsLockAndSaysWhoHasIt) {
  ASSERT_TRUE(make());
  const int holder = ::open(file("lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(holder, 0);
  ASSERT_EQ(::flock(holder, LOCK_EX), 0);
  ASSERT_EQ(::pwrite(holder, "process 42 on box\n\x1b[31m", 22, 0), 22);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(detail_of(load()), AllOf(HasSubstr(file("lock")), HasSubstr("process 42 on box; see whether it hangs")));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, kShort);
  EXPECT_THAT(detail_of(make()), HasSubstr("process 42"));
  {
    const std::jthread release([holder] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ::flock(holder, LOCK_UN);
    });
    EXPECT_TRUE(load_authorities(directory_, std::chrono::seconds(30)));
  }
  ASSERT_EQ(::flock(holder, LOCK_SH), 0);
  EXPECT_TRUE(load()) << "two may read";
  EXPECT_THAT(detail_of(make()), HasSubstr("another process holds it"));
  ::close(holder);
}

TEST_F(AuthorityStore, IsMadeOnceByManyWhoStartAtTheSameTime) {
  std::array<std::string, 6> deployments;
  {
    std::vector<std::jthread> gateways;
    for (std::string& deployment : deployments) {
      gateways.emplace_back([&deployment, this] {
        const auto opened = open_or_make_authorities(directory_, kNow, entropy_, std::chrono::seconds(60));
        deployment = opened ? opened->deployment + opened->client.certificate().fingerprint() : detail_of(opened);
      });
    }
  }
  EXPECT_EQ(std::set(deployments.begin(), deployments.end()).size(), 1u) << deployments[0] << "\n" << deployments[1];
  EXPECT_TRUE(load());
}

TEST_F(AuthorityStore, IssuesWhatAGatewayShowsToAnOrigin) {
  const auto made = make();
  ASSERT_TRUE(made) << detail_of(made);
  const GatewayIdentity identity{made->deployment, gateway_name("Edge-1.example.com"), "orders"};
  const auto issued = made->client.issue(client_request(identity, kNow));
  ASSERT_TRUE(issued) << detail_of(issued);
  const Certificate& leaf = (*issued)->leaf();
  EXPECT_THAT(leaf.uris(), ElementsAre("postern://" + made->deployment + "/gateway/edge-1.example.com/origin/orders"));
  EXPECT_EQ(parse_gateway_uri(leaf.uris().front()), identity);
  EXPECT_EQ(leaf.subject(), "CN=orders");
  EXPECT_EQ(leaf.not_before(), kNow - kClockSkew);
  EXPECT_EQ(leaf.not_after(), kNow + kClientLife);
  const auto anchors = TrustAnchors::parse(content("client-ca.pem"));
  ASSERT_TRUE(anchors);
  EXPECT_TRUE((*anchors)->verify_client((*issued)->chain(), kNow));
  EXPECT_FALSE((*anchors)->verify_client((*issued)->chain(), kNow + kClientLife + std::chrono::seconds(1)));

  const auto server = made->server.issue(server_request("orders", {"orders.internal"}, {"10.0.0.7"}, kNow));
  ASSERT_TRUE(server) << detail_of(server);
  EXPECT_EQ((*server)->leaf().not_after(), kNow + kServerLife);
  EXPECT_THAT((*server)->leaf().dns_names(), ElementsAre("orders.internal"));
  EXPECT_FALSE((*anchors)->verify_client((*server)->chain(), kNow)) << "an origin cannot play the gateway";
}

TEST(GatewayIdentities, HaveOneSpelling) {
  const GatewayIdentity identity{"0123456789abcdef", "edge-1", "orders_v2"};
  EXPECT_EQ(to_uri(identity), "postern://0123456789abcdef/gateway/edge-1/origin/orders_v2");
  EXPECT_TRUE(to_uri(identity).starts_with(uri_prefix(identity.deployment) + "edge-1"));
  EXPECT_EQ(parse_gateway_uri(to_uri(identity)), identity);
  for (const std::string_view wrong : {
           "",
           "postern://",
           "spiffe://0123456789abcdef/gateway/edge-1/origin/orders",
           "POSTERN://0123456789abcdef/gateway/edge-1/origin/orders",
           "postern://0123456789ABCDEF/gateway/edge-1/origin/orders",
           "postern://0123456789abcde/gateway/edge-1/origin/orders",
           "postern://0123456789abcdef/gateway//origin/orders",
           "postern://0123456789abcdef/gateway/edge-1/origin/",
           "postern://0123456789abcdef/gateway/edge-1/origin/Orders",
           "postern://0123456789abcdef/gateway/edge-1/origin/orders/",
           "postern://0123456789abcdef/gateway/edge-1/origin/orders?x",
           "postern://0123456789abcdef/gateway/edge/1/origin/orders",
           "postern://0123456789abcdef/gateway/EDGE/origin/orders",
           "postern://0123456789abcdef/gateway/edge-1/origin/a/origin/b",
           "postern://0123456789abcdef/gateway/edge-1",
       }) {
    EXPECT_EQ(parse_gateway_uri(wrong), std::nullopt) << wrong;
  }
}

TEST(GatewayIdentities, AreMadeOfHostNames) {
  EXPECT_EQ(gateway_name("edge-1"), "edge-1");
  EXPECT_EQ(gateway_name("Edge.Example.COM"), "edge.example.com");
  EXPECT_EQ(gateway_name("a/origin/b c\n"), "a-origin-b-c-");
  EXPECT_EQ(gateway_name("--x"), "x");
  EXPECT_EQ(gateway_name(""), "gateway");
  EXPECT_EQ(gateway_name("\xc3\xbc"), "gateway");
  EXPECT_EQ(gateway_name(std::string(200, 'h')).size(), 63u);
  EXPECT_TRUE(is_origin_name("orders-v2_x"));
  for (const std::string_view wrong : {"", "Orders", "2orders", "-a", "a.b", "a/b", "a b"}) {
    EXPECT_FALSE(is_origin_name(wrong)) << wrong;
  }
  EXPECT_TRUE(is_origin_name(std::string(63, 'a')));
  EXPECT_FALSE(is_origin_name(std::string(64, 'a')));
}

}  // namespace
}  // namespace postern::tls
