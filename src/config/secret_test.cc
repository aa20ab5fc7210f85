#include "config/secret.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <type_traits>

#include "config/test_support.h"
#include "config/yaml.h"

namespace postern::config {
namespace {

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);

TEST(Secret, IsRedactedAndMoves) {
  Secret a(kSecretA);
  std::ostringstream out;
  out << a;
  EXPECT_EQ(out.str(), "[secret]");
  const Secret copy = a.clone();
  Secret b(std::move(a));
  EXPECT_EQ(b.reveal(), kSecretA);
  EXPECT_TRUE(b.equals(copy));
  EXPECT_FALSE(b.equals(Secret(kSecretB)));
  EXPECT_FALSE(b.equals(Secret()));
  b = Secret(kSecretB);
  EXPECT_EQ(b.reveal(), kSecretB);
}

struct Case {
  std::string name;
  std::string value;  // as it stands in the file
  std::optional<Problem> problem;
  std::string secret;
};

TEST(Secret, References) {
  MapEnvironment environment({{"GOOD", std::string(kSecretA)},
                              {"EMPTY", ""},
                              {"SHORT", "only15characte!"},
                              {"SAME", "aaaaaaaaaaaaaaaaaaaaaaaaaa"},
                              {"LF", "0123456789abcdef\nX-Admin: 1"},
                              {"UTF8", "0123456789abcdef\xc3\xa4"},
                              {"DEL", "0123456789abcdef\x7f"},
                              {"TAB", "0123456789\tabcdef"},
                              {"SPACED", " 0123456789abcdef"},
                              {"TRAILING", "0123456789abcdef "},
                              {"INNER", "0123456789 abcdef"},
                              {"CREDENTIALS_DIRECTORY", "/run/credentials/postern"}});
  MapFiles files;
  files.values = {{"/s/plain", std::string(kSecretA)},
                  {"/s/newline", std::string(kSecretA) + "\n"},
                  {"/s/crlf", std::string(kSecretA) + "\r\n"},
                  {"/s/two", std::string(kSecretA) + "\n\n"},
                  {"/s/only", "\n"},
                  {"/s/nul", std::string("0123456789abcdef\0x", 18)},
                  {"/s/huge", std::string(kMaxSecretBytes + 1, 'x')},
                  {"/run/credentials/postern/orders", std::string(kSecretB)}};
  const std::string good(kSecretA);
  const Case cases[] = {
      {"env", "${env:GOOD}", {}, good},
      {"file", "${file:/s/plain}", {}, good},
      {"one newline is removed", "${file:/s/newline}", {}, good},
      {"also CR LF", "${file:/s/crlf}", {}, good},
      {"systemd credential", "${cred:orders}", {}, std::string(kSecretB)},
      {"inner space", "${env:INNER}", {}, "0123456789 abcdef"},
      {"literal", "a-literal-secret-value", Problem::secret_literal, ""},
      {"default key of case 93", "secret-api-key", Problem::secret_literal, ""},
      {"empty text", "''", Problem::secret_literal, ""},
      {"number", "1234567890123456", Problem::wrong_type, ""},
      {"null", "", Problem::wrong_type, ""},
      {"prefix before reference", "x${env:GOOD}", Problem::secret_reference, ""},
      {"text after reference", "'${env:GOOD}x'", Problem::secret_reference, ""},
      {"two references", "'${env:GOOD}${env:GOOD}'", Problem::secret_reference, ""},
      {"nested", "'${env:${env:GOOD}}'", Problem::secret_reference, ""},
      {"default", "'${env:NONE:-fallback-secret-123}'", Problem::secret_reference, ""},
      {"unknown scheme", "'${vault:kv/x}'", Problem::secret_reference, ""},
      {"no scheme", "'${GOOD}'", Problem::secret_reference, ""},
      {"relative file", "'${file:s/plain}'", Problem::secret_reference, ""},
      {"credential outside of its directory", "'${cred:../x}'", Problem::secret_reference, ""},
      {"credential dot", "'${cred:..}'", Problem::secret_reference, ""},
      {"shell syntax", "$GOOD", Problem::secret_literal, ""},
      {"unset env", "'${env:NONE}'", Problem::secret_unresolved, ""},
      {"empty env", "'${env:EMPTY}'", Problem::secret_unresolved, ""},
      {"missing file", "'${file:/s/none}'", Problem::secret_unresolved, ""},
      {"newline only", "'${file:/s/only}'", Problem::secret_unresolved, ""},
      {"huge file", "'${file:/s/huge}'", Problem::secret_unresolved, ""},
      {"missing credential", "'${cred:none}'", Problem::secret_unresolved, ""},
      {"15 bytes", "'${env:SHORT}'", Problem::secret_weak, ""},
      {"one letter", "'${env:SAME}'", Problem::secret_weak, ""},
      {"LF inside", "'${env:LF}'", Problem::secret_unsendable, ""},
      {"two newlines", "'${file:/s/two}'", Problem::secret_unsendable, ""},
      {"NUL", "'${file:/s/nul}'", Problem::secret_unsendable, ""},
      {"UTF-8", "'${env:UTF8}'", Problem::secret_unsendable, ""},
      {"DEL", "'${env:DEL}'", Problem::secret_unsendable, ""},
      {"tab", "'${env:TAB}'", Problem::secret_unsendable, ""},
      {"leading space", "'${env:SPACED}'", Problem::secret_unsendable, ""},
      {"trailing space", "'${env:TRAILING}'", Problem::secret_unsendable, ""},
  };
  for (const Case& c : cases) {
    Diagnostics diagnostics("t.yaml");
    const auto document = read_document("t.yaml", "value: " + c.value + "\n", diagnostics);
    ASSERT_TRUE(document) << c.name << diagnostics.to_text();
    diagnostics.set_root(&document->root());
    const auto secret = resolve_secret(*document->root().find("value"), {environment, files}, diagnostics);
    ASSERT_EQ(secret.has_value(), !c.problem.has_value()) << c.name << diagnostics.to_text();
    if (secret) {
      EXPECT_EQ(secret->reveal(), c.secret) << c.name;
      continue;
    }
    ASSERT_EQ(diagnostics.errors(), 1U) << c.name << diagnostics.to_text();
    EXPECT_EQ(info(diagnostics.all()[0].problem).id, info(*c.problem).id) << c.name << diagnostics.to_text();
    EXPECT_EQ(diagnostics.all()[0].path, "value") << c.name;
    // Whatever is wrong with it: no byte of a value is shown.
    for (const std::string_view leak : {"0123456", "aaaa", "only15", "literal-secret", "fallback", "secret-api-key"}) {
      EXPECT_EQ(diagnostics.to_text().find(leak), std::string::npos) << c.name << diagnostics.to_text();
      EXPECT_EQ(diagnostics.to_json().find(leak), std::string::npos) << c.name;
    }
  }
}

TEST(Secret, CredentialWithoutSystemd) {
  MapEnvironment environment;
  MapFiles files;
  Diagnostics diagnostics("t.yaml");
  const auto document = read_document("t.yaml", "value: ${cred:orders}\n", diagnostics);
  EXPECT_FALSE(resolve_secret(*document->root().find("value"), {environment, files}, diagnostics));
  EXPECT_EQ(diagnostics.all()[0].problem, Problem::secret_unresolved);
}

TEST(DiskFileReader, ReadsRegularFilesOnly) {
  const auto directory = std::filesystem::temp_directory_path() / ("postern-secret-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  const std::string file = directory / "secret";
  const std::string fifo = directory / "fifo";
  std::ofstream(file) << "hello";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const DiskFileReader reader;
  EXPECT_EQ(reader.read(file, 5).content, "hello");
  EXPECT_FALSE(reader.read(file, 4).content);
  EXPECT_FALSE(reader.read(fifo, 100).content);
  EXPECT_FALSE(reader.read(directory, 100).content);
  EXPECT_EQ(reader.read(directory / "none", 100).problem, "No such file or directory");
  // Its size is said to be 0: it is read nevertheless, to its end.
  EXPECT_NE(reader.read("/proc/self/status", 1 << 20).content.value_or("").find("\nnonvoluntary_ctxt"),
            std::string::npos);
  EXPECT_FALSE(reader.read("/proc/self/status", 20).content);
  std::filesystem::remove_all(directory);
}

// What counts is who could change it; who may read it is worth a word, where it is ours to decide.
TEST(Secret, PermissionsOfTheFile) {
  const struct {
    std::uint32_t mode;
    bool own;
    std::optional<Severity> says;
    Problem problem;
  } cases[] = {
      {0600, true, std::nullopt, {}},
      {0640, true, std::nullopt, {}},
      {0400, false, std::nullopt, {}},
      {0440, false, std::nullopt, {}},  // systemd's and Kubernetes' own
      {0444, false, std::nullopt, {}},
      {0644, true, Severity::warning, Problem::secret_readable},
      {0444, true, Severity::warning, Problem::secret_readable},
      {0660, true, Severity::error, Problem::writable_by_others},
      {0602, true, Severity::error, Problem::writable_by_others},
      {0666, false, Severity::error, Problem::writable_by_others},
  };
  const MapEnvironment environment;
  for (const auto& c : cases) {
    MapFiles files;
    files.values["/s/a"] = std::string(kSecretA);
    files.mode = c.mode;
    files.own = c.own;
    Diagnostics diagnostics("postern.yaml");
    const auto document = read_document("postern.yaml", "a: ${file:/s/a}\n", diagnostics);
    ASSERT_TRUE(document);
    const auto secret = resolve_secret(*document->root().find("a"), {environment, files}, diagnostics);
    EXPECT_EQ(secret.has_value(), c.says != Severity::error) << std::oct << c.mode;
    ASSERT_EQ(diagnostics.all().size(), c.says ? 1U : 0U) << std::oct << c.mode << diagnostics.to_text();
    if (!c.says) continue;
    EXPECT_EQ(diagnostics.all()[0].severity, *c.says);
    EXPECT_EQ(diagnostics.all()[0].problem, c.problem);
  }
}

}  // namespace
}  // namespace postern::config
