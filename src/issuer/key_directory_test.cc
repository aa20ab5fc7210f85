#include "issuer/key_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "platform/directory_lock.h"
#include "platform/temporary_directory.h"

namespace postern::issuer {
namespace {

using jose::Algorithm;
using std::chrono::hours;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Role = KeyRing::Role;
using When = KeyRing::When;
namespace fs = std::filesystem;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
WallTime day(int n) { return kNow + hours(24 * n); }

template <typename T>
std::string why(const Result<T>& result) {
  return result ? "no error" : std::string(result.error().detail());
}

std::string content(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}
void put(const std::string& path, std::string_view text, mode_t mode = 0600) {
  std::ofstream(path) << text;
  ::chmod(path.c_str(), mode);
}
mode_t mode_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
}

// Stops as a machine does that loses its power: before the change of that number, and everything after it.
class Interrupted : public KeyDirectory {
 public:
  Interrupted(Options options, int changes) : KeyDirectory(std::move(options)), left_(changes) {}

 protected:
  Result<void> write(std::string_view name, std::string_view text, std::uint32_t mode) const override {
    if (--left_ >= 0) return KeyDirectory::write(name, text, mode);
    // It was just writing the file that would have got the name.
    if (left_ == -1) put(options().path + "/" + std::string(name) + ".aB3xY9", text.substr(0, text.size() / 2));
    return fail(Code::io_failed, Side::gateway, "interrupted");
  }
  Result<void> erase(std::string_view name) const override {
    if (--left_ >= 0) return KeyDirectory::erase(name);
    return fail(Code::io_failed, Side::gateway, "interrupted");
  }

 private:
  mutable int left_;
};

class KeyDirectories : public ::testing::Test {
 protected:
  [[nodiscard]] KeyDirectory::Options options(std::vector<Algorithm> algorithms = {Algorithm::ES256}) const {
    return {.path = path_, .algorithms = std::move(algorithms), .max_wait = std::chrono::milliseconds(60)};
  }
  [[nodiscard]] KeyDirectory directory(std::vector<Algorithm> algorithms = {Algorithm::ES256}) const {
    return KeyDirectory(options(std::move(algorithms)));
  }
  [[nodiscard]] std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(path_)) out.push_back(entry.path().filename().string());
    std::ranges::sort(out);
    return out;
  }
  // Nothing but the list, its keys and the lock.
  [[nodiscard]] bool is_clean(const KeyRing& ring) const {
    std::vector<std::string> wanted = {"keys.json", "lock"};
    for (const KeyRing::Entry& entry : ring.entries()) wanted.push_back(entry.kid + ".pem");
    std::ranges::sort(wanted);
    return names() == wanted;
  }
  // The ES256 key of the directory.
  [[nodiscard]] std::string first_kid() const { return directory().load().value().ring.entries()[0].kid; }

  TemporaryDirectory temporary_;
  std::string path_ = temporary_.file("state/issuer");
};

std::string role_of(const IssuerKeys& keys, std::string_view kid, WallTime now) {
  constexpr std::array<std::string_view, 4> kNames = {"next", "signing", "old", "gone"};
  for (const KeyRing::Entry& entry : keys.ring.entries()) {
    if (entry.kid == kid) return std::string(kNames[static_cast<std::size_t>(keys.ring.role(entry, now, {}))]);
  }
  return "absent";
}

TEST_F(KeyDirectories, MakesTheFirstKeysOnce) {
  const auto made = directory({Algorithm::RS256, Algorithm::ES256}).open(kNow + std::chrono::milliseconds(700));
  ASSERT_TRUE(made) << why(made);
  EXPECT_EQ(made->overdue, "");
  ASSERT_THAT(made->keys, SizeIs(2));
  EXPECT_TRUE(is_clean(made->ring));
  EXPECT_EQ(mode_of(path_), 0700u);
  for (const IssuerKey& key : made->keys) {
    EXPECT_EQ(mode_of(file(key.entry.kid + ".pem")), 0600u);
    EXPECT_EQ(key.key->kid(), key.entry.kid);
    EXPECT_EQ(key.key->public_key().thumbprint(), key.entry.kid);
    EXPECT_EQ(key.entry.signs_from, kNow) << "in whole seconds, as it is kept";
    EXPECT_EQ(role_of(*made, key.entry.kid, kNow), "signing");
  }
  const auto again = directory({Algorithm::RS256, Algorithm::ES256}).open(day(1));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->ring, made->ring);
  EXPECT_EQ(again->stamp, made->stamp) << "nothing was written";
  EXPECT_EQ(directory().load()->ring, made->ring);
}

TEST_F(KeyDirectories, LoadsAndMakesNothing) {
  EXPECT_THAT(why(directory().load()), HasSubstr(path_ + ": there are no keys yet"));
  fs::create_directories(path_);
  EXPECT_THAT(why(directory().load()), HasSubstr(path_ + ": there are no keys yet"));
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_EQ(directory().stamp(), std::nullopt);
}

TEST_F(KeyDirectories, OfTwoThatStartTogetherOneMakesThem) {
  KeyDirectory::Options patient = options({Algorithm::ES256, Algorithm::EdDSA});
  patient.max_wait = std::chrono::seconds(30);
  std::array<std::optional<Result<IssuerKeys>>, 4> made;
  {
    std::vector<std::jthread> gateways;
    for (auto& result : made) gateways.emplace_back([&] { result = KeyDirectory(patient).open(kNow); });
  }
  for (const auto& result : made) {
    ASSERT_TRUE(*result) << why(*result);
    EXPECT_EQ((*result)->ring, (*made[0])->ring);
  }
  EXPECT_TRUE(is_clean((*made[0])->ring));
}

TEST_F(KeyDirectories, RotatesWhenItIsTime) {
  const auto first = directory().open(kNow);
  const std::string a = first->ring.entries()[0].kid;
  EXPECT_EQ(directory().open(day(29) - hours(1))->ring, first->ring);
  const auto second = directory().open(day(29));
  ASSERT_THAT(second->ring.entries(), SizeIs(2));
  EXPECT_NE(second->stamp, first->stamp) << "others see that";
  EXPECT_EQ(directory().stamp(), second->stamp);
  const std::string b = second->ring.entries()[1].kid;
  EXPECT_EQ(role_of(*second, a, day(29)) + " " + role_of(*second, b, day(29)), "signing next");
  EXPECT_EQ(directory().open(day(30))->ring, second->ring);
  EXPECT_EQ(role_of(*second, a, day(30)) + " " + role_of(*second, b, day(30)), "old signing");
  const auto third = directory().open(day(31));
  EXPECT_THAT(third->ring.entries(), SizeIs(1));
  EXPECT_EQ(third->keys[0].entry.kid, b);
  EXPECT_TRUE(is_clean(third->ring)) << "the key that is gone is no longer on disk";
}

TEST_F(KeyDirectories, AnAlgorithmThatIsNewGetsAKeyAndOneThatIsNotAskedForStays) {
  const std::string a = directory().open(kNow)->ring.entries()[0].kid;
  const auto both = directory({Algorithm::EdDSA}).open(day(1));
  ASSERT_THAT(both->ring.entries(), SizeIs(2));
  EXPECT_EQ(role_of(*both, a, day(1)), "signing");
  EXPECT_EQ(directory({Algorithm::EdDSA}).open(day(29))->ring, both->ring) << "and has no successor";
  EXPECT_TRUE(
      Issuer::make({.url = "https://id.example.com", .algorithms = {Algorithm::EdDSA}}, both->ring, both->keys));
  const auto less = directory({Algorithm::EdDSA}).remove(a, day(2));
  ASSERT_TRUE(less) << why(less);
  EXPECT_TRUE(is_clean(less->ring));
  EXPECT_EQ(role_of(*less, a, day(2)), "absent");
}

TEST_F(KeyDirectories, RotatesOnDemand) {
  const std::string a = directory().open(kNow)->ring.entries()[0].kid;
  const auto planned = directory().rotate({}, When::after_lead, day(2));
  ASSERT_TRUE(planned) << why(planned);
  const std::string b = planned->ring.entries()[1].kid;
  EXPECT_EQ(role_of(*planned, a, day(2)) + " " + role_of(*planned, b, day(2)), "signing next");
  EXPECT_THAT(why(directory().rotate({}, When::after_lead, day(2))),
              HasSubstr("ES256 has a successor already that waits to sign: " + b));
  const auto at_once = directory().rotate(Algorithm::ES256, When::at_once, day(2));
  ASSERT_THAT(at_once->ring.entries(), SizeIs(2)) << "the one that waited lay beside the one that was stolen";
  const std::string c = at_once->ring.entries()[1].kid;
  EXPECT_EQ(role_of(*at_once, a, day(2)) + " " + role_of(*at_once, c, day(2)), "old signing");
  EXPECT_TRUE(is_clean(at_once->ring));
  EXPECT_THAT(why(directory().remove(c, day(2))), HasSubstr("this key signs"));
  EXPECT_THAT(why(directory().remove(b, day(2))), HasSubstr("there is no key of that kid"));
  const auto removed = directory().remove(a, day(2));
  ASSERT_TRUE(removed) << why(removed);
  EXPECT_TRUE(is_clean(removed->ring));
  EXPECT_THAT(why(directory().rotate(Algorithm::RS256, When::at_once, day(2))),
              HasSubstr("does not sign with RS256, but with ES256"));
}

TEST_F(KeyDirectories, HasALimit) {
  ASSERT_TRUE(directory().open(kNow));
  ASSERT_TRUE(directory().rotate({}, When::at_once, kNow));
  ASSERT_TRUE(directory().rotate({}, When::at_once, kNow));
  const std::string list = content(file("keys.json"));
  EXPECT_THAT(why(directory().rotate({}, When::at_once, kNow)), HasSubstr("more than 3 for ES256"));
  EXPECT_EQ(content(file("keys.json")), list);
  EXPECT_TRUE(is_clean(directory().load()->ring)) << "no key was left that nobody names";
}

// Whatever is interrupted, at whichever step: the next one finds the old set or the new one, and a clean directory.
TEST_F(KeyDirectories, SurvivesAnInterruptionOfTheFirstKeys) {
  bool whole = false;
  int step = 0;
  for (; !whole; ++step) {
    ASSERT_LT(step, 30);
    fs::remove_all(path_);
    whole = Interrupted(options({Algorithm::ES256, Algorithm::EdDSA}), step).open(kNow).has_value();
    if (!whole) {
      const auto loaded = directory().load();
      EXPECT_TRUE(loaded || why(loaded).find("there are no keys yet") != std::string::npos ||
                  why(loaded).find("was interrupted") != std::string::npos)
          << step << ": " << why(loaded);
    }
    const auto next = directory({Algorithm::ES256, Algorithm::EdDSA}).open(kNow);
    ASSERT_TRUE(next) << step << ": " << why(next);
    EXPECT_THAT(next->keys, SizeIs(2));
    EXPECT_TRUE(is_clean(next->ring)) << step << ": " << ::testing::PrintToString(names());
  }
  EXPECT_EQ(step, 6) << "mark, two keys, list, mark away";
}

TEST_F(KeyDirectories, SurvivesAnInterruptionOfARotation) {
  // At day 60 the second key signs and the first one is gone, and so is its successor's time.
  const auto prepare = [&] {
    fs::remove_all(path_);
    ASSERT_TRUE(directory().open(kNow));
    ASSERT_TRUE(directory().open(day(29)));
  };
  bool whole = false;
  int step = 0;
  for (; !whole; ++step) {
    ASSERT_LT(step, 30);
    ASSERT_NO_FATAL_FAILURE(prepare());
    const KeyRing before = directory().load()->ring;
    const auto now = Interrupted(options(), step).open(day(60));
    ASSERT_TRUE(now) << "the keys that are there serve: " << why(now);
    whole = now->overdue.empty();
    const auto left = directory().load();
    ASSERT_TRUE(left) << step << ": " << why(left);
    if (!whole) {
      EXPECT_EQ(now->overdue, "interrupted");
      EXPECT_EQ(now->ring, before);
      EXPECT_EQ(left->ring == before, step < 2) << "the list changes with its rename, and not before";
    }
    EXPECT_THAT(left->ring.entries(), Contains(before.entries()[1])) << "what signs is never lost";
    const auto next = directory().open(day(60));
    ASSERT_TRUE(next) << step << ": " << why(next);
    EXPECT_THAT(next->ring.entries(), SizeIs(2));
    EXPECT_TRUE(is_clean(next->ring)) << step << ": " << ::testing::PrintToString(names());
  }
  EXPECT_EQ(step, 4) << "key, list, old key away";
}

TEST_F(KeyDirectories, AListThatIsLostIsNoReasonForNewKeys) {
  const std::string kid = [&] { return directory().open(kNow)->ring.entries()[0].kid; }();
  const std::string list = content(file("keys.json"));
  fs::remove(file("keys.json"));
  EXPECT_THAT(why(directory().open(kNow)), HasSubstr(file("keys.json") + ": it is missing beside keys"));
  EXPECT_THAT(why(directory().load()), HasSubstr("it is missing beside keys"));
  EXPECT_THAT(why(directory().rotate({}, When::at_once, kNow)), HasSubstr("it is missing beside keys"));
  EXPECT_THAT(names(), Contains(kid + ".pem")) << "nothing is touched";
  for (const std::string_view text :
       {"", "{", "{}", "[]", R"({"version":1})", R"({"version":1,"keys":{}})", R"({"version":1,"keys":[]})"}) {
    put(file("keys.json"), text);
    EXPECT_THAT(why(directory().open(kNow)), HasSubstr(file("keys.json") + ": ")) << text;
    EXPECT_EQ(content(file("keys.json")), text);
  }
  put(file("keys.json"), list.substr(0, list.size() - 5));
  EXPECT_THAT(why(directory().open(kNow)), HasSubstr(file("keys.json") + ": list of keys: "));
  put(file("keys.json"), list);
  EXPECT_TRUE(directory().open(kNow));
}

TEST_F(KeyDirectories, AKeyThatIsLostOrAnotherIsAnError) {
  ASSERT_TRUE(directory().open(kNow));
  const std::string path = file(first_kid() + ".pem");
  const std::string pem = content(path);
  const auto refused = [&] {
    const std::string detail = why(directory().open(kNow));
    EXPECT_EQ(detail, why(directory().load()));
    EXPECT_THAT(detail, Not(HasSubstr("PRIVATE KEY")));
    return detail;
  };
  fs::remove(path);
  EXPECT_THAT(refused(), HasSubstr(path + ": the key is missing"));
  put(path, "");
  EXPECT_THAT(refused(), HasSubstr(path + ": "));
  put(path, pem.substr(0, pem.size() / 2));
  EXPECT_THAT(refused(), HasSubstr(path + ": "));
  put(path, std::string(40'000, 'x'));
  EXPECT_THAT(refused(), HasSubstr(path + ": larger than"));
  const auto other = jose::PrivateKey::generate(Algorithm::ES256).value();
  put(path, other.to_pem()->reveal());
  EXPECT_THAT(refused(), HasSubstr(path + ": it holds another key than the one of that name"));
  const auto rsa = jose::PrivateKey::generate(Algorithm::RS256).value();
  put(path, rsa.to_pem()->reveal());
  EXPECT_THAT(refused(), HasSubstr(path + ": "));
  for (const mode_t mode : {0640u, 0604u, 0660u}) {
    put(path, pem, mode);
    EXPECT_THAT(refused(), HasSubstr("others than its owner may read this key"));
  }
  put(path, pem);
  EXPECT_TRUE(directory().open(kNow));
  ::chmod(file("keys.json").c_str(), 0622);
  EXPECT_THAT(refused(), HasSubstr("others than its owner may write it"));
  ::chmod(file("keys.json").c_str(), 0600);
  ::chmod(path_.c_str(), 0770);
  EXPECT_THAT(refused(), HasSubstr("others than its owner may write there"));
}

TEST_F(KeyDirectories, OnlyWhatItHasMadeIsRemoved) {
  ASSERT_TRUE(directory().open(kNow));
  put(file("README"), "of the operator");
  put(file("backup.pem"), "of the operator");
  put(file(std::string(43, 'A') + ".pem"), "left by one that was interrupted");
  put(file("keys.json.aB3xY9"), "{");
  const auto opened = directory().open(kNow);
  ASSERT_TRUE(opened) << why(opened);
  EXPECT_THAT(names(), ::testing::UnorderedElementsAre(opened->ring.entries()[0].kid + ".pem", "README", "backup.pem",
                                                       "keys.json", "lock"));
}

TEST_F(KeyDirectories, WaitsForItsTurn) {
  ASSERT_TRUE(directory().open(kNow));
  {
    const auto held = DirectoryLock::take(path_, DirectoryLock::Mode::change, {});
    ASSERT_TRUE(held);
    EXPECT_THAT(why(directory().load()), HasSubstr("another process holds it"));
    EXPECT_THAT(why(directory().rotate({}, When::at_once, kNow)), HasSubstr("another process holds it"));
  }
  const auto reader = DirectoryLock::take(path_, DirectoryLock::Mode::read, {});
  EXPECT_TRUE(directory().open(kNow)) << "nothing is due";
  const auto late = directory().open(day(29));
  ASSERT_TRUE(late) << "a successor that cannot be made yet is no outage: " << why(late);
  EXPECT_THAT(late->overdue, HasSubstr("another process holds it"));
  EXPECT_FALSE(directory({Algorithm::EdDSA}).open(kNow)) << "but without any key there is";
}

TEST(GenerateKey, MakesNoKidThatLooksLikeAnOption) {
  for (int i = 0; i < 600; ++i) EXPECT_FALSE(generate_key(Algorithm::EdDSA)->kid().starts_with('-'));
}

constexpr std::string_view kKid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

std::string list_of(std::string_view key) { return R"({"version":1,"keys":[)" + std::string(key) + "]}"; }
std::string key_of(std::string_view kid, std::string_view rest) {
  return R"({"kid":")" + std::string(kid) + R"(",)" + std::string(rest) + "}";
}

TEST(KeyList, IsWrittenAndReadAgain) {
  KeyRing ring;
  ASSERT_TRUE(ring.add(std::string(kKid), Algorithm::RS256, kNow, {}));
  ASSERT_TRUE(ring.add(std::string(43, '-'), Algorithm::RS256, day(29), {}));
  EXPECT_EQ(to_key_list(ring),
            R"({"version":1,"keys":[{"kid":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs","algorithm":"RS256",)"
            R"("published":1700000000,"signs_from":1700000000},)"
            R"({"kid":"-------------------------------------------","algorithm":"RS256",)"
            R"("published":1702505600,"signs_from":1702592000}]})"
            "\n");
  EXPECT_EQ(parse_key_list(to_key_list(ring)).value(), ring);
}

TEST(KeyList, SaysWhatIsWrong) {
  constexpr std::string_view kRest = R"("algorithm":"ES256","published":5,"signs_from":6)";
  ASSERT_TRUE(parse_key_list(list_of(key_of(kKid, kRest))));
  const auto detail = [](const std::string& json) { return why(parse_key_list(json)); };
  EXPECT_THAT(detail(""), HasSubstr("list of keys: "));
  EXPECT_THAT(detail(list_of(key_of(kKid, kRest)) + "x"), HasSubstr("list of keys: "));
  EXPECT_THAT(detail(R"({"version":2,"keys":[]})"), HasSubstr("its version is not known here"));
  EXPECT_THAT(detail(R"({"version":1,"keys":[],"more":1})"), HasSubstr("more than this version knows"));
  EXPECT_THAT(detail(list_of("7")), HasSubstr("key 1: not an object"));
  for (const std::string& kid : {std::string("../../../../../../../../../../../etc/shadowx"), std::string(),
                                 std::string(44, 'a'), std::string(42, 'a'), std::string(42, 'a') + "/"}) {
    EXPECT_THAT(detail(list_of(key_of(kid, kRest))), HasSubstr("key 1: \"kid\" is no thumbprint")) << kid;
  }
  for (const std::string_view algorithm : {"none", "es256", "ES512", ""}) {
    const std::string rest = R"("algorithm":")" + std::string(algorithm) + R"(","published":5,"signs_from":6)";
    EXPECT_THAT(detail(list_of(key_of(kKid, rest))), HasSubstr("key 1: \"algorithm\" is not known")) << algorithm;
  }
  EXPECT_THAT(detail(list_of(key_of(kKid, R"("algorithm":"HS256","published":5,"signs_from":6)"))),
              HasSubstr("is for HS256"));
  for (const std::string_view time : {"-1", "8835984001", "1.5", "\"5\"", "null", "99999999999999999999"}) {
    const std::string rest = R"("algorithm":"ES256","published":)" + std::string(time) + R"(,"signs_from":6)";
    EXPECT_THAT(detail(list_of(key_of(kKid, rest))), HasSubstr("is no time")) << time;
  }
  EXPECT_THAT(detail(list_of(key_of(kKid, R"("algorithm":"ES256","published":7,"signs_from":6)"))),
              HasSubstr("signs before it is published"));
  EXPECT_THAT(detail(list_of(key_of(kKid, std::string(kRest) + R"(,"revoked":true)"))),
              HasSubstr("key 1: it says more than this version knows"));
  EXPECT_THAT(detail(list_of(key_of(kKid, std::string(kRest) + R"(,"published":5)"))), HasSubstr("list of keys: "));
  EXPECT_THAT(detail(list_of(key_of(kKid, kRest) + "," + key_of(kKid, kRest))), HasSubstr("is there twice"));
  std::string many = key_of(kKid, kRest);
  for (const char c : {'a', 'b', 'c'}) many += "," + key_of(std::string(43, c), kRest);
  EXPECT_THAT(detail(list_of(many)), HasSubstr("more than 3 for ES256"));
}

class KeyFiles : public ::testing::Test {
 protected:
  std::string make(std::string_view name, Algorithm algorithm, mode_t mode = 0600) {
    const auto key = jose::PrivateKey::generate(algorithm).value();
    put(temporary_.file(name), key.to_pem()->reveal(), mode);
    kids_.push_back(key.kid());
    return temporary_.file(name);
  }
  TemporaryDirectory temporary_;
  std::vector<std::string> kids_;
};

TEST_F(KeyFiles, TheFirstOfItsAlgorithmSigns) {
  const std::vector<std::string> paths = {make("a", Algorithm::ES256), make("b", Algorithm::EdDSA),
                                          make("c", Algorithm::ES256)};
  const std::array<Algorithm, 2> algorithms = {Algorithm::ES256, Algorithm::EdDSA};
  const auto keys = load_key_files(paths, algorithms);
  ASSERT_TRUE(keys) << why(keys);
  for (const int n : {0, 10, 20'000}) {
    EXPECT_EQ(role_of(*keys, kids_[0], day(n)), "signing");
    EXPECT_EQ(role_of(*keys, kids_[1], day(n)), "signing");
    EXPECT_EQ(role_of(*keys, kids_[2], day(n)), "next");
  }
  EXPECT_TRUE(Issuer::make({.url = "https://id.example.com", .algorithms = {Algorithm::ES256, Algorithm::EdDSA}},
                           keys->ring, keys->keys));
}

TEST_F(KeyFiles, ARunningGatewayMakesNoNewKeysWhereItsOwnHaveGone) {
  KeyDirectory::Options options{.path = temporary_.file("keys"), .algorithms = {Algorithm::ES256}};
  const auto first = KeyDirectory(options).open(day(0));
  ASSERT_TRUE(first) << why(first);
  options.makes_first = false;
  const KeyDirectory running(options);
  EXPECT_TRUE(running.open(day(0)));
  std::filesystem::rename(temporary_.file("keys"), temporary_.file("away"));
  EXPECT_THAT(why(running.open(day(0))), HasSubstr("not there any more"));
  EXPECT_FALSE(std::filesystem::exists(temporary_.file("keys"))) << "nothing is written where a mount was";
  std::filesystem::create_directory(temporary_.file("keys"));
  EXPECT_THAT(why(running.open(day(0))), HasSubstr("not there any more"));
  std::filesystem::remove(temporary_.file("keys"));
  std::filesystem::rename(temporary_.file("away"), temporary_.file("keys"));
  const auto again = running.open(day(0));
  ASSERT_TRUE(again) << why(again);
  EXPECT_EQ(again->ring, first->ring);
}

TEST_F(KeyFiles, StandInForADirectoryThatNobodyChanges) {
  const std::string first = make("first", Algorithm::ES256);
  const KeyDirectory directory({.path = temporary_.file("not-there"),
                                .algorithms = {Algorithm::ES256},
                                .files = {first, make("b", Algorithm::ES256)}});
  const auto keys = directory.open(day(0));
  ASSERT_TRUE(keys) << why(keys);
  EXPECT_EQ(keys->ring.entries().size(), 2u);
  EXPECT_EQ(keys->stamp, directory.stamp());
  EXPECT_THAT(why(directory.rotate(std::nullopt, KeyRing::When::at_once, day(0))), HasSubstr("somebody else keeps"));
  EXPECT_THAT(why(directory.remove(kids_[1], day(0))), HasSubstr("somebody else keeps"));
  EXPECT_FALSE(std::filesystem::exists(temporary_.file("not-there")));
  const auto before = directory.stamp();
  std::filesystem::remove(first);
  EXPECT_EQ(directory.stamp(), std::nullopt);
  EXPECT_FALSE(directory.open(day(0)));
  EXPECT_EQ(make("first", Algorithm::ES256), first);
  EXPECT_NE(directory.stamp(), before) << "another key in the same place";
  EXPECT_TRUE(directory.open(day(0)));
}

TEST_F(KeyFiles, ThatCannotBeUsedSayWhy) {
  const std::string ec = make("ec", Algorithm::ES256);
  const std::string rsa = make("rsa", Algorithm::RS256);
  const std::array<Algorithm, 1> es = {Algorithm::ES256};
  const auto detail = [](std::vector<std::string> paths, std::span<const Algorithm> algorithms) {
    return why(load_key_files(paths, algorithms));
  };
  EXPECT_EQ(detail({ec}, es), "no error");
  EXPECT_THAT(detail({rsa}, es), HasSubstr(rsa + ": for none of ES256: "));
  EXPECT_THAT(detail({temporary_.file("absent")}, es), HasSubstr("the key is missing"));
  EXPECT_THAT(detail({make("open", Algorithm::ES256, 0644)}, es), HasSubstr("others than its owner may read this key"));
  EXPECT_THAT(detail({ec, ec}, es), HasSubstr("is there twice"));
  EXPECT_THAT(detail({ec}, std::array{Algorithm::ES256, Algorithm::RS256}), HasSubstr("no file has a key for RS256"));
  EXPECT_THAT(detail({rsa}, std::array{Algorithm::RS256, Algorithm::PS256}),
              HasSubstr("fits more than one of RS256, PS256"));
  EXPECT_THAT(detail({}, es), HasSubstr("no file has a key for ES256"));
}

}  // namespace
}  // namespace postern::issuer
