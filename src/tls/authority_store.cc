#include "tls/authority_store.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/strings.h"
#include "platform/directory_lock.h"
#include "platform/private_directory.h"
#include "platform/whole_file.h"
#include "tls/openssl.h"
#include "tls/pem.h"

namespace postern::tls {
namespace {

constexpr std::string_view kScheme = "postern://";
constexpr std::string_view kGatewayPart = "/gateway/";
constexpr std::string_view kOriginPart = "/origin/";
constexpr std::size_t kMaxName = 63;
constexpr std::size_t kDeploymentBytes = 8;
constexpr std::uint32_t kKeyMode = 0600;
constexpr std::uint32_t kCertificateMode = 0644;

// All files but the lock. `making` is there from the first file to the last.
constexpr std::array<std::string_view, 5> kFiles = {"client-ca.pem", "client-ca.key", "server-ca.pem", "server-ca.key",
                                                    "deployment"};
constexpr std::string_view kMaking = "making";

constexpr std::string_view kNoneYet = "there are no authorities yet; `postern ca init` makes them";

std::string in(const std::string& directory, std::string_view name) { return directory + "/" + std::string(name); }

std::unexpected<Error> refused(const std::string& path, std::string_view what) {
  return unusable(path + ": " + std::string(what));
}
std::unexpected<Error> refused(const std::string& path, int error) {
  return refused(path, std::generic_category().message(error));
}

// A key's text, until it has been read or written.
struct SecretText {
  explicit SecretText(std::string content) : text(std::move(content)) {}
  ~SecretText() { OPENSSL_cleanse(text.data(), text.size()); }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  std::string text;
};

Result<void> check_directory(const std::string& directory) {
  struct stat status{};
  if (::stat(directory.c_str(), &status) != 0) {
    if (errno == ENOENT) return refused(directory, kNoneYet);
    return refused(directory, errno);
  }
  if (!S_ISDIR(status.st_mode)) return refused(directory, ENOTDIR);
  if ((status.st_mode & 0022U) == 0) return {};
  return refused(directory, "others than its owner may write there, and replace an authority: chmod go-w " + directory);
}

enum class State : std::uint8_t { none, making, made };

// A disk that does not answer is an error and not an empty directory: what is taken for none is made anew.
Result<State> state_of(const std::string& directory) {
  const auto is_there = [&](std::string_view name) -> Result<bool> {
    const std::string path = in(directory, name);
    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0) return true;
    if (errno == ENOENT) return false;
    return refused(path, errno);
  };
  Result<bool> there = is_there(kMaking);
  if (there && *there) return State::making;
  for (std::size_t i = 0; there && i < kFiles.size(); ++i) {
    there = is_there(kFiles[i]);
    if (there && *there) return State::made;
  }
  if (!there) return std::unexpected(std::move(there.error()));
  return State::none;
}

Result<std::string> read_needed(const std::string& directory, std::string_view name) {
  const std::string path = in(directory, name);
  Result<std::optional<WholeFile>> file = read_whole_file(path, kMaxChainText);
  if (!file) return std::unexpected(std::move(file.error()));
  if (*file) return std::move((*file)->content);
  return refused(path, "it is missing beside the others; put it back from where you keep copies");
}

// "" if it is kept elsewhere.
Result<std::string> read_key(const std::string& path) {
  Result<std::optional<WholeFile>> file = read_whole_file(path, kMaxChainText);
  if (!file) return std::unexpected(std::move(file.error()));
  if (!*file) return std::string();
  if ((*file)->content.empty()) return refused(path, "the file is empty; without the key there is no file");
  if (((*file)->mode & 0077U) == 0) return std::move((*file)->content);
  OPENSSL_cleanse((*file)->content.data(), (*file)->content.size());
  return refused(path, "others than its owner may read this key: if nobody can have done so, chmod 600 " + path);
}

bool serves(const Authority& authority, CertifiedKey::Use use) {
  const std::uint32_t usage = X509_get_extended_key_usage(authority.certificate().native());
  return (usage & (use == CertifiedKey::Use::server ? XKU_SSL_SERVER : XKU_SSL_CLIENT)) != 0;
}

Result<Authority> load_authority(const std::string& directory, CertifiedKey::Use use) {
  const std::string name = use == CertifiedKey::Use::client ? "client-ca" : "server-ca";
  const Result<std::string> certificate = read_needed(directory, name + ".pem");
  if (!certificate) return unusable(std::string(certificate.error().detail()));
  Result<std::string> key = read_key(in(directory, name + ".key"));
  if (!key) return std::unexpected(std::move(key.error()));
  const SecretText key_text(std::move(*key));
  Result<Authority> authority = Authority::parse(*certificate, key_text.text);
  if (!authority) return refused(in(directory, name + ".{pem,key}"), authority.error().detail());
  if (serves(*authority, use)) return authority;
  return refused(in(directory, name + ".pem"), use == CertifiedKey::Use::client
                                                   ? "this authority does not sign certificates of clients"
                                                   : "this authority does not sign certificates of servers");
}

bool is_deployment(std::string_view text) {
  return text.size() == 2 * kDeploymentBytes &&
         std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

// Under the lock.
Result<Authorities> load_locked(const std::string& directory) {
  const Result<State> state = state_of(directory);
  if (!state) return unusable(std::string(state.error().detail()));
  if (*state == State::making) {
    return refused(directory, "making the authorities was interrupted; `postern ca init` makes them anew");
  }
  if (*state == State::none) return refused(directory, kNoneYet);
  const Result<std::string> file = read_needed(directory, "deployment");
  if (!file) return unusable(std::string(file.error().detail()));
  const std::string_view deployment = std::string_view(*file).substr(0, file->find('\n'));
  if (!is_deployment(deployment)) return refused(in(directory, "deployment"), "not 16 hexadecimal digits");
  Result<Authority> client = load_authority(directory, CertifiedKey::Use::client);
  if (!client) return std::unexpected(std::move(client.error()));
  Result<Authority> server = load_authority(directory, CertifiedKey::Use::server);
  if (!server) return std::unexpected(std::move(server.error()));
  return Authorities{std::string(deployment), std::move(*client), std::move(*server)};
}

// What one that was interrupted has left: nobody has seen it, load_locked() refuses it.
Result<void> sweep(const std::string& directory) {
  for (const std::string_view name : kFiles) {
    if (Result<void> removed = remove_file(in(directory, name)); !removed) return removed;
  }
  return {};
}

Result<void> write_authority(const std::string& certificate_path, const std::string& key_path, Existing existing,
                             const Authority& authority) {
  const SecretText key(authority.key_pem());
  Result<void> done = write_whole_file(key_path, key.text, kKeyMode, existing);
  if (done) done = write_whole_file(certificate_path, authority.certificate().to_pem(), kCertificateMode);
  return done;
}

// Under the lock, where there are none.
Result<Authorities> make_locked(const std::string& directory, WallTime now, const Entropy& entropy,
                                const MakeOptions& options) {
  std::array<unsigned char, kDeploymentBytes> random{};
  entropy.fill(random);
  std::string deployment;
  for (const unsigned char byte : random) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    deployment += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  const WallTime from = now - kClockSkew;
  const WallTime until = now + kAuthorityLife;
  Result<Authority> client = Authority::make("Postern client CA " + deployment, CertifiedKey::Use::client, from, until);
  if (!client) return std::unexpected(std::move(client.error()));
  Result<Authority> server = Authority::make("Postern server CA " + deployment, CertifiedKey::Use::server, from, until);
  if (!server) return std::unexpected(std::move(server.error()));

  Result<void> done = write_whole_file(in(directory, kMaking), "", kKeyMode);
  if (done) done = sweep(directory);
  if (done) done = write_whole_file(in(directory, "deployment"), deployment + "\n", kCertificateMode);
  if (done) {
    done = write_authority(in(directory, "server-ca.pem"), in(directory, "server-ca.key"), Existing::replace, *server);
  }
  const bool offline = !options.offline_client_key.empty();
  if (done) {
    done = write_authority(in(directory, "client-ca.pem"),
                           offline ? options.offline_client_key : in(directory, "client-ca.key"),
                           offline ? Existing::refuse : Existing::replace, *client);
  }
  if (done) done = remove_file(in(directory, kMaking));
  if (!done) return std::unexpected(std::move(done.error()));
  return Authorities{std::move(deployment), std::move(*client), std::move(*server)};
}

Result<void> prepare(const std::string& directory) {
  const Result<void> made = make_private_directory(directory);
  if (!made) return unusable(std::string(made.error().detail()));
  return check_directory(directory);
}

bool is_gateway_name(std::string_view name) { return !name.empty() && gateway_name(name) == name; }

}  // namespace

std::string authority_directory(std::string_view state_directory) { return std::string(state_directory) + "/ca"; }

Result<Authorities> make_authorities(const std::string& directory, WallTime now, const Entropy& entropy,
                                     const MakeOptions& options, Duration max_wait) {
  if (Result<void> ready = prepare(directory); !ready) return std::unexpected(std::move(ready.error()));
  const Result<DirectoryLock> lock = DirectoryLock::take(directory, DirectoryLock::Mode::change, max_wait);
  if (!lock) return unusable(std::string(lock.error().detail()));
  const Result<State> state = state_of(directory);
  if (!state) return unusable(std::string(state.error().detail()));
  if (*state == State::made) {
    return refused(directory,
                   "there are authorities already, as `postern ca show` shows; what they have signed would "
                   "count no longer");
  }
  return make_locked(directory, now, entropy, options);
}

Result<Authorities> load_authorities(const std::string& directory, Duration max_wait) {
  if (Result<void> good = check_directory(directory); !good) return std::unexpected(std::move(good.error()));
  const Result<DirectoryLock> lock = DirectoryLock::take(directory, DirectoryLock::Mode::read, max_wait);
  if (!lock) return unusable(std::string(lock.error().detail()));
  return load_locked(directory);
}

Result<Authorities> open_or_make_authorities(const std::string& directory, WallTime now, const Entropy& entropy,
                                             Duration max_wait) {
  // Most of the time nothing has to be changed, and the directory may be one that cannot be.
  Result<State> state = state_of(directory);
  if (!state) return std::unexpected(std::move(state.error()));
  if (*state == State::made) return load_authorities(directory, max_wait);
  if (Result<void> ready = prepare(directory); !ready) return std::unexpected(std::move(ready.error()));
  const Result<DirectoryLock> lock = DirectoryLock::take(directory, DirectoryLock::Mode::change, max_wait);
  if (!lock) return unusable(std::string(lock.error().detail()));
  state = state_of(directory);
  if (!state) return std::unexpected(std::move(state.error()));
  return *state == State::made ? load_locked(directory) : make_locked(directory, now, entropy, {});
}

std::string uri_prefix(std::string_view deployment) {
  return std::string(kScheme) + std::string(deployment) + std::string(kGatewayPart);
}

std::string to_uri(const GatewayIdentity& identity) {
  return uri_prefix(identity.deployment) + identity.gateway + std::string(kOriginPart) + identity.origin;
}

std::optional<GatewayIdentity> parse_gateway_uri(std::string_view uri) {
  if (!uri.starts_with(kScheme)) return std::nullopt;
  const std::string_view rest = uri.substr(kScheme.size());
  const std::size_t gateway_at = rest.find(kGatewayPart);
  if (gateway_at == std::string_view::npos) return std::nullopt;
  const std::string_view after = rest.substr(gateway_at + kGatewayPart.size());
  const std::size_t origin_at = after.find(kOriginPart);
  if (origin_at == std::string_view::npos) return std::nullopt;
  GatewayIdentity out{std::string(rest.substr(0, gateway_at)), std::string(after.substr(0, origin_at)),
                      std::string(after.substr(origin_at + kOriginPart.size()))};
  if (!is_deployment(out.deployment) || !is_gateway_name(out.gateway) || !is_origin_name(out.origin)) {
    return std::nullopt;
  }
  return out;
}

std::string gateway_name(std::string_view host_name) {
  std::string out;
  for (const char upper : host_name) {
    const char c = ascii_lower(upper);
    const bool letter = is_alpha(c) || is_digit(c);
    if (out.empty() && !letter) continue;
    out.push_back(letter || c == '.' || c == '_' || c == '-' ? c : '-');
    if (out.size() == kMaxName) break;
  }
  return out.empty() ? "gateway" : out;
}

bool is_origin_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= kMaxName && name.front() >= 'a' && name.front() <= 'z' &&
         std::ranges::all_of(name,
                             [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || c == '-'; });
}

LeafRequest client_request(const GatewayIdentity& identity, WallTime now) {
  return {.use = CertifiedKey::Use::client,
          .common_name = identity.origin,
          .uris = {to_uri(identity)},
          .not_before = now - kClockSkew,
          .not_after = now + kClientLife};
}

LeafRequest server_request(std::string_view origin, std::vector<std::string> dns_names,
                           std::vector<std::string> ip_addresses, WallTime now) {
  return {.use = CertifiedKey::Use::server,
          .common_name = std::string(origin),
          .dns_names = std::move(dns_names),
          .ip_addresses = std::move(ip_addresses),
          .not_before = now - kClockSkew,
          .not_after = now + kServerLife};
}

}  // namespace postern::tls
