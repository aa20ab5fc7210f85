#include "config/secret.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <system_error>
#include <utility>

#include "base/strings.h"
#include "config/diagnostics.h"
#include "config/node.h"

namespace postern::config {
namespace {

constexpr std::size_t kMinDistinctBytes = 6;

enum class Source : std::uint8_t { environment, file, credential };

struct Reference {
  Source source;
  std::string_view name;
};

constexpr std::string_view kHowToRefer = "write ${file:/path}, ${env:NAME} or ${cred:name}";

bool is_name(std::string_view text, std::string_view also) noexcept {
  if (text.empty() || text.size() > 255) return false;
  for (const char c : text) {
    if (!is_alpha(c) && !is_digit(c) && also.find(c) == std::string_view::npos) return false;
  }
  return true;
}

// Says what is wrong in `diagnostics`; never prints the text of a literal.
std::optional<Reference> parse_reference(const Node& node, Diagnostics& diagnostics) {
  const std::string_view text = node.text();
  if (!node.is(Kind::string)) {
    diagnostics.error(Problem::wrong_type, node, "a secret must be a reference", std::string(kHowToRefer));
    return std::nullopt;
  }
  if (!text.starts_with("${")) {
    const bool inner = text.find("${") != std::string_view::npos;
    diagnostics.error(inner ? Problem::secret_reference : Problem::secret_literal, node,
                      inner ? "a reference must be the whole value" : "the secret itself stands in the file",
                      std::string(kHowToRefer));
    return std::nullopt;
  }
  if (!text.ends_with('}') || text.find("${", 2) != std::string_view::npos) {
    diagnostics.error(Problem::secret_reference, node, "a reference must be the whole value and end with }",
                      std::string(kHowToRefer));
    return std::nullopt;
  }
  const std::string_view inside = text.substr(2, text.size() - 3);
  if (inside.find(":-") != std::string_view::npos) {
    diagnostics.error(Problem::secret_reference, node, "a secret has no default (`:-`)",
                      "remove the default, and provide the secret wherever the gateway runs");
    return std::nullopt;
  }
  const std::size_t colon = inside.find(':');
  const std::string_view scheme = inside.substr(0, colon);
  const std::string_view name = colon == std::string_view::npos ? std::string_view() : inside.substr(colon + 1);
  if (scheme == "env" && is_name(name, "_") && !is_digit(name[0])) return Reference{Source::environment, name};
  if (scheme == "file" && name.starts_with('/') && name.find('\0') == std::string_view::npos) {
    return Reference{Source::file, name};
  }
  // Credential names are file names (systemd.exec(5)): no slash, not a dot directory.
  if (scheme == "cred" && is_name(name, "_.-") && name[0] != '.') return Reference{Source::credential, name};
  diagnostics.error(Problem::secret_reference, node, "a reference that nobody can resolve", std::string(kHowToRefer));
  return std::nullopt;
}

void wipe_text(std::string& text) noexcept { OPENSSL_cleanse(text.data(), text.size()); }

enum class Form : std::uint8_t { text, document };

std::optional<std::string> read_secret_file(const std::string& path, const Node& node, Form form,
                                            const SecretSources& sources, Diagnostics& diagnostics) {
  FileReader::Outcome outcome = sources.files.read(path, kMaxSecretBytes);
  if (!outcome.content) {
    diagnostics.error(Problem::secret_unresolved, node, "cannot read " + printable(path) + ": " + outcome.problem,
                      "create the file, readable for the user of the gateway only");
    return std::nullopt;
  }
  if (outcome.writable_by_others()) {
    wipe_text(*outcome.content);
    diagnostics.error(Problem::writable_by_others, node, printable(path) + " may be written by others than its owner",
                      "chmod go-w " + path);
    return std::nullopt;
  }
  // Only of a file of our own: what systemd and Kubernetes mount belongs to root, and its mode is their decision.
  if (outcome.needlessly_readable() && form == Form::document) {
    wipe_text(*outcome.content);
    diagnostics.error(Problem::secret_readable, node, printable(path) + " may be read by everybody on this machine",
                      "chmod 600 " + path);
    return std::nullopt;
  }
  if (outcome.needlessly_readable()) {
    diagnostics.warning(Problem::secret_readable, node, printable(path) + " may be read by everybody on this machine",
                        "chmod 600 " + path);
  }
  // Editors and `echo` end a file with a newline; nobody means it as part of the secret.
  std::string& content = *outcome.content;
  if (content.ends_with('\n')) content.pop_back();
  if (content.ends_with('\r')) content.pop_back();
  return std::move(outcome.content);
}

std::optional<std::string> fetch(const Reference& reference, const Node& node, Form form, const SecretSources& sources,
                                 Diagnostics& diagnostics) {
  switch (reference.source) {
    case Source::file: return read_secret_file(std::string(reference.name), node, form, sources, diagnostics);
    case Source::environment: {
      std::optional<std::string> value = sources.environment.get(reference.name);
      if (!value) {
        diagnostics.error(Problem::secret_unresolved, node,
                          "environment variable " + printable(reference.name) + " is not set",
                          "set it for the gateway's process; it is read once at the start");
      }
      return value;
    }
    case Source::credential: {
      const std::optional<std::string> directory = sources.environment.get("CREDENTIALS_DIRECTORY");
      if (!directory || directory->empty()) {
        diagnostics.error(Problem::secret_unresolved, node, "$CREDENTIALS_DIRECTORY is not set",
                          "start the gateway by systemd with LoadCredential=" + std::string(reference.name) + ":/path");
        return std::nullopt;
      }
      return read_secret_file(*directory + "/" + std::string(reference.name), node, form, sources, diagnostics);
    }
  }
  return std::nullopt;
}

bool check_value(std::string_view value, const Node& node, Diagnostics& diagnostics) {
  const std::string make_one = "make one with: openssl rand -hex 32";
  const std::string reference = printable(node.text());
  if (value.empty()) {
    diagnostics.error(Problem::secret_unresolved, node, reference + " is empty", make_one);
    return false;
  }
  std::bitset<256> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    const auto byte = static_cast<unsigned char>(c);
    seen.set(byte);
    if (byte >= 0x21 && byte <= 0x7e) continue;
    if (c == ' ' && i != 0 && i + 1 != value.size()) continue;
    diagnostics.error(Problem::secret_unsendable, node,
                      reference + (c == '\n' || c == '\r' ? " has more than one line"
                                                          : " holds a byte that no header field can carry safely"),
                      "use printable ASCII without spaces around it; " + make_one);
    return false;
  }
  if (value.size() < kMinSecretBytes) {
    diagnostics.error(Problem::secret_weak, node,
                      reference + " has fewer than " + std::to_string(kMinSecretBytes) + " bytes", make_one);
    return false;
  }
  if (seen.count() < kMinDistinctBytes) {
    diagnostics.error(Problem::secret_weak, node, reference + " repeats a few characters", make_one);
    return false;
  }
  return true;
}

bool check_document(std::string_view text, const Node& node, Diagnostics& diagnostics) {
  const std::string reference = printable(node.text());
  if (text.size() < kMinSecretBytes) {
    diagnostics.error(text.empty() ? Problem::secret_unresolved : Problem::secret_weak, node,
                      reference + (text.empty() ? " is empty" : " is too short to be a key or a service account"),
                      "put the whole file there, as it was downloaded or made");
    return false;
  }
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == '\t' || (c >= 0x20 && c <= 0x7e)) continue;
    diagnostics.error(Problem::secret_unsendable, node, reference + " is no text of printable ASCII",
                      "PEM and JSON are expected here: convert the key with `openssl pkey -inform DER -in FILE`");
    return false;
  }
  return true;
}

std::optional<Secret> resolve(const Node& node, Form form, const SecretSources& sources, Diagnostics& diagnostics) {
  const std::optional<Reference> reference = parse_reference(node, diagnostics);
  if (!reference) return std::nullopt;
  std::optional<std::string> value = fetch(*reference, node, form, sources, diagnostics);
  if (!value) return std::nullopt;
  std::optional<Secret> secret;
  const bool usable =
      form == Form::document ? check_document(*value, node, diagnostics) : check_value(*value, node, diagnostics);
  if (usable) secret.emplace(*value);
  wipe_text(*value);
  return secret;
}

}  // namespace

Secret::Secret(std::string_view bytes)
    : bytes_(std::make_unique_for_overwrite<char[]>(bytes.size())), size_(bytes.size()) {
  if (!bytes.empty()) std::memcpy(bytes_.get(), bytes.data(), bytes.size());
}

Secret::Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Secret::~Secret() { wipe(); }

void Secret::wipe() noexcept {
  if (bytes_) OPENSSL_cleanse(bytes_.get(), size_);
  bytes_.reset();
  size_ = 0;
}

bool Secret::equals(const Secret& other) const noexcept {
  return size_ == other.size_ && (size_ == 0 || CRYPTO_memcmp(bytes_.get(), other.bytes_.get(), size_) == 0);
}

std::ostream& operator<<(std::ostream& out, const Secret&) { return out << "[secret]"; }

std::optional<std::string> ProcessEnvironment::get(std::string_view name) const {
  const char* const value = std::getenv(std::string(name).c_str());
  if (!value) return std::nullopt;
  return std::string(value);
}

FileReader::Outcome DiskFileReader::read(const std::string& path, std::size_t max_bytes) const {
  const auto problem = [] { return Outcome{std::nullopt, std::generic_category().message(errno)}; };
  // O_NONBLOCK: a FIFO under that name must not stop the gateway.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return problem();
  Outcome outcome;
  struct stat status{};
  if (::fstat(fd, &status) != 0) {
    outcome = problem();
  } else if (!S_ISREG(status.st_mode)) {
    outcome.problem = "not a regular file";
  } else {
    // As large as the file, and a byte to see its end; a file that grows meanwhile (or says that it is empty, as those
    // of /proc do) gets more. The old place is wiped, so nothing of it stays on the heap.
    std::string content(std::min(static_cast<std::size_t>(status.st_size), max_bytes) + 1, '\0');
    std::size_t used = 0;
    ssize_t n = 0;
    while ((n = ::read(fd, content.data() + used, content.size() - used)) > 0) {
      used += static_cast<std::size_t>(n);
      if (used < content.size()) continue;
      if (used > max_bytes) break;
      std::string larger(std::min(2 * used + 4096, max_bytes + 1), '\0');
      std::memcpy(larger.data(), content.data(), used);
      wipe_text(content);
      content = std::move(larger);
    }
    if (n < 0) {
      outcome = problem();
    } else if (used > max_bytes) {
      outcome.problem = "larger than " + std::to_string(max_bytes) + " bytes";
    } else {
      outcome.content.emplace(content.data(), used);
      outcome.mode = status.st_mode & 07777U;
      outcome.own = status.st_uid == ::geteuid();
    }
    wipe_text(content);
  }
  ::close(fd);
  return outcome;
}

std::optional<Secret> resolve_secret(const Node& node, const SecretSources& sources, Diagnostics& diagnostics) {
  return resolve(node, Form::text, sources, diagnostics);
}

std::optional<Secret> resolve_document(const Node& node, const SecretSources& sources, Diagnostics& diagnostics) {
  return resolve(node, Form::document, sources, diagnostics);
}

bool contains_reference(std::string_view text) noexcept {
  for (const std::string_view opening : {"${env:", "${file:", "${cred:", "${vault:"}) {
    if (text.find(opening) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace postern::config
