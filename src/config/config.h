// Config: the whole configuration as plain structs, checked and complete: every default is filled in, every name
// resolves, every secret is read. Built by load(); immutable afterwards, shared by all loops as shared_ptr<const
// Config>.
//
// Durations are nanoseconds (platform/clock.h), sizes are bytes. Addresses and networks are text whose form is checked;
// resolving and parsing them is the work of the rooms that use them. `document` keeps the tree alive that PolicyUse
// points into.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/node.h"
#include "config/secret.h"
#include "issuer/issuer.h"
#include "platform/clock.h"
#include "tls/certificate.h"
#include "tls/server_context.h"

namespace postern::config {

class Diagnostics;
class Schema;

inline constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// "host:port", "[::1]:8080" or "unix:/path".
struct Address {
  enum class Kind : std::uint8_t { tcp, unix_socket };
  Kind kind = Kind::tcp;
  std::string host;  // tcp: lower-case name or IP address, IPv6 without brackets
  std::uint16_t port = 0;
  std::string path;  // unix_socket: absolute
  std::string text;  // as written, for messages
};

// How much a client may ask for. The gateway's values are the defaults of each listener.
struct Limits {
  std::uint32_t max_header_count = 100;
  std::uint64_t max_header_bytes = 32 * 1024;  // all fields of one head
  std::uint64_t max_target_length = 8 * 1024;
  std::uint64_t max_body_size = 10 * 1024 * 1024;          // kUnlimited after `max_body_size: unlimited`
  Duration header_timeout = std::chrono::seconds(10);      // first byte to complete head
  Duration idle_timeout = std::chrono::seconds(75);        // between requests
  Duration body_idle_timeout = std::chrono::seconds(30);   // without one body byte
  std::uint64_t body_min_rate = 256;                       // bytes/s, averaged over body_idle_timeout; 0: off
  Duration write_idle_timeout = std::chrono::seconds(30);  // client takes nothing of the response
  std::uint32_t max_connections = 65'536;                  // open client connections of one listener, all loops
  std::uint32_t max_requests_per_connection = 10'000;
  std::uint32_t max_concurrent_streams = 128;  // of one HTTP/2 connection
};

enum class ProxyProtocol : std::uint8_t {
  off,
  v2,  // required from every peer in trusted_proxies; other peers are refused
};

// A certificate chain and its key in PEM files. They are read by load(); other content in one of them is another
// configuration, like other content of a secret. Equal content is the same object as in LoadInput::in_force.
struct CertificateFiles {
  std::string certificate;  // paths
  std::string key;
  std::shared_ptr<const tls::CertifiedKey> pair;
};

struct ServerCertificateConfig {
  CertificateFiles files;          // paths are empty for a self-signed one
  std::vector<std::string> names;  // lower-case; those of the certificate, if the file does not say
  Position position;
};

struct ListenerTlsConfig {
  // At least one; the first is the default. The same name may stand in two of them, one with an RSA and one with an EC
  // key.
  std::vector<ServerCertificateConfig> certificates;
  // Names and addresses, lower-case. Not empty: for development only, `certificates` is one pair that load() has made,
  // or taken over from what runs.
  std::vector<std::string> self_signed;
  tls::ProtocolVersion min_version = tls::ProtocolVersion::tls_1_2;
  bool session_tickets = true;
};

enum class ListenerHttp2 : std::uint8_t {
  automatic,  // offered by ALPN
  never,
  h2c,  // in clear, with prior knowledge (RFC 9113 3.3), beside HTTP/1
};

struct ListenerConfig {
  Address address;
  std::optional<ListenerTlsConfig> tls;
  ListenerHttp2 http2 = ListenerHttp2::automatic;
  std::optional<std::uint16_t> redirect_to_https;  // port; every request is answered with its https URL
  [[nodiscard]] bool redirects() const noexcept { return redirect_to_https.has_value(); }
  ProxyProtocol proxy_protocol = ProxyProtocol::off;
  Limits limits;                             // the gateway's, with this listener's overrides
  std::vector<std::string> trusted_proxies;  // CIDR; this listener's, else the gateway's
  Position position;
};

struct ObserveConfig {
  Address address;
};

struct AdminConfig {
  std::string socket;  // path
};

enum class Level : std::uint8_t { gateway, origin, route };

// One step of a policies list. `options` is never null: `- api_key` has an empty mapping. It satisfies the policy's
// schema; the policy's factory turns it into the policy's own struct.
struct PolicyUse {
  std::string name;
  const Node* options = nullptr;
  Position position;
  Level level = Level::gateway;
  std::shared_ptr<const tls::TrustAnchors> authorities;  // of client_certificate: what its `ca` holds
};

// Inherited policies that are dropped here.
struct Without {
  std::vector<std::string> names;
  std::string reason;
};

// One address that an origin can be reached at.
struct EndpointConfig {
  Address address;
  std::string authority;  // for the Host field under HostMode::origin: "orders.internal:8080", "localhost" for unix
  std::string url;        // as written
};

enum class HostMode : std::uint8_t {
  origin,    // the endpoint's authority
  preserve,  // what the client sent
  name,      // OriginConfig::host_name
};

enum class Balance : std::uint8_t { round_robin, least_request };

struct OriginTimeouts {
  Duration connect = std::chrono::seconds(5);
  Duration first_byte = std::chrono::seconds(30);  // request sent to response head
  Duration idle = std::chrono::seconds(60);        // no byte in either direction during a response or a WebSocket
};

struct PoolConfig {
  std::uint32_t max_idle = 64;  // per loop and endpoint
  Duration idle_timeout = std::chrono::seconds(30);
  std::uint32_t max_connections = 0;  // per endpoint, all loops; 0: no limit, nobody waits
  Duration max_lifetime = std::chrono::hours(1);
};

struct RetryConfig {
  std::uint32_t attempts = 2;         // in total; 1: no retries
  std::uint32_t budget_percent = 20;  // retries per requests, over the last seconds
};

struct EjectionConfig {
  std::uint32_t consecutive_failures = 5;  // 0: off
  Duration base_time = std::chrono::seconds(30);
  std::uint32_t max_percent = 50;  // of the endpoints
};

struct HealthConfig {
  std::string path;
  Duration interval = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(2);
  std::uint32_t healthy_threshold = 2;
  std::uint32_t unhealthy_threshold = 3;
  std::vector<int> expected_status;  // empty: any 2xx
};

enum class SecretPrefix : std::uint8_t { raw, bearer };

// RFC 9110 5.6.2 token as header name; the value is legal in a field.
struct SharedSecretConfig {
  struct Next {
    Secret value;
    WallTime switch_at;  // from this moment on `value` is sent instead
  };
  std::string header;
  SecretPrefix prefix = SecretPrefix::raw;  // bearer: "Bearer " + value
  Secret value;
  std::optional<Next> next;
};

// The gateway's client certificate for this origin.
struct MtlsConfig {
  bool managed = false;  // issued by the gateway's own client CA; `files` is empty
  CertificateFiles files;
};

// Of every other method: what `identity` (identity/catalog.h) makes it from.
struct MethodConfig {
  const Node* options = nullptr;     // never null once loaded; satisfies the schema of the method
  std::vector<std::string> headers;  // every field that it sets, the one with the credential first
  std::string origin;                // its name
  std::string where;                 // "origins.orders.identity[0].gateway_jwt"
  int assurance = 0;                 // see IdentityTraits
  // What the references in `options` stand for, by the node that holds the reference.
  std::map<const Node*, Secret> secrets;

  // Of the option `key` of `options`; nullptr if it is not given.
  [[nodiscard]] const Secret* secret(std::string_view key) const noexcept;
  // True if both would make the same method: the same options and the same secrets.
  [[nodiscard]] bool same_as(const MethodConfig& other) const noexcept;
};

struct IdentityUse {
  std::string method;  // "shared_secret", "mtls", ...
  std::variant<SharedSecretConfig, MtlsConfig, MethodConfig> config;
  Position position;
};

// How the gateway knows that it speaks to the real origin (https only).
struct TrustConfig {
  enum class Ca : std::uint8_t { system, managed, file };
  Ca ca = Ca::system;
  std::string ca_path;  // Ca::file
  // Ca::file and Ca::system; equal content is the same object as in LoadInput::in_force. nullptr for Ca::managed (of
  // the state directory), and if the origin is `insecure` (not verified).
  std::shared_ptr<const tls::TrustAnchors> anchors;
  std::vector<std::string> names;  // lower-case; empty: the host of each endpoint
  std::vector<std::string> pins;   // base64 of SHA-256 of the SPKI; none, or at least two
  std::string server_name;         // SNI; empty: the host of each endpoint, if it is a name
  tls::ProtocolVersion min_version = tls::ProtocolVersion::tls_1_2;
  Position position;
};

enum class OriginHttp2 : std::uint8_t {
  automatic,  // https: by ALPN; http: HTTP/1.1
  always,     // https: or not at all; http: with prior knowledge
  never,
};

// Permission to do without, until it expires: to send identity in clear over a network (http), or not to verify the
// origin's certificate (https).
struct InsecureConfig {
  std::string reason;
  WallTime until;
};

struct OriginConfig {
  std::string name;
  std::vector<EndpointConfig> endpoints;  // at least one
  bool tls = false;                       // all endpoints are https://, or none
  TrustConfig trust;                      // with tls
  OriginHttp2 http2 = OriginHttp2::automatic;
  HostMode host_mode = HostMode::origin;
  std::string host_name;
  Balance balance = Balance::round_robin;
  OriginTimeouts timeouts;
  PoolConfig pool;
  RetryConfig retries;
  EjectionConfig ejection;
  std::optional<HealthConfig> health;
  std::vector<IdentityUse> identity;
  // Whether the client's own Authorization, which makes room for that of an identity method, goes on as
  // X-Forwarded-Authorization.
  bool forward_authorization = false;
  std::optional<InsecureConfig> insecure;
  std::vector<PolicyUse> policies;
  Without without;                         // of the gateway's policies
  std::vector<std::string> allow_headers;  // override headers that may pass, lower-case
  Position position;
};

struct RouteMatch {
  std::string host;                  // "" any; "api.example.com"; "*.example.com"; lower-case
  std::string path;                  // "/orders/{id}", "/files/*"
  std::vector<std::string> methods;  // empty: any
};

enum class Access : std::uint8_t { authenticated, open_to_public };

struct RouteConfig {
  std::string name;  // given, or made from the match: "GET,POST api.example.com/orders/{id}"
  RouteMatch match;
  std::string origin;               // "" if the route answers by itself
  std::size_t origin_index = 0;     // into Config::origins, if origin is not ""
  std::optional<PolicyUse> answer;  // `respond:` or `redirect:` on the route; runs as its last inbound policy
  std::vector<PolicyUse> policies;
  Without without;                        // of the gateway's and the origin's policies
  Access access = Access::authenticated;  // `public: true`
  Position position;
};

struct AccessLogConfig {
  enum class Sink : std::uint8_t { off, standard_output, standard_error, file };
  enum class QueryValues : std::uint8_t { redact, keep };
  Sink sink = Sink::standard_output;
  std::string path;  // Sink::file
  QueryValues query_values = QueryValues::redact;
};

// The gateway's own OIDC issuer.
struct IssuerConfig {
  issuer::IssuerOptions options;
  std::string directory;  // of its keys; replicas share it
  // Instead: files with one key each, which somebody else keeps (issuer::load_key_files()).
  std::vector<std::string> keys;
  Position position;
};

struct ConsumersConfig {
  std::string file;      // hashed keys kept by hand; "" none
  std::string database;  // SQLite
};

// How token endpoints, and what else the gateway asks for itself, are reached. Origins never are that way.
struct EgressProxyConfig {
  std::string host;  // "": directly
  std::uint16_t port = 0;
  std::vector<std::string> bypass;  // host names, or ".example.com" for everything below it
};

struct Config {
  int version = 1;
  std::vector<ListenerConfig> listeners;  // at least one
  std::optional<ObserveConfig> observe;
  AdminConfig admin;
  unsigned workers = 0;  // loops; 0: as many as the CPU quota allows
  std::string state_directory;
  Duration drain = std::chrono::seconds(30);
  std::uint64_t buffer_memory = 0;  // bytes; 0: a quarter of what the machine or the cgroup has
  Limits limits;
  std::vector<std::string> trusted_proxies;  // CIDR
  std::vector<PolicyUse> policies;
  std::vector<OriginConfig> origins;
  std::vector<RouteConfig> routes;
  AccessLogConfig access_log;
  ConsumersConfig consumers;
  std::optional<IssuerConfig> issuer;
  EgressProxyConfig egress_proxy;

  std::shared_ptr<const Document> document;
};

// Paths for what the file does not name.
struct DefaultPaths {
  std::string admin_socket = "/run/postern/admin.sock";
  std::string state_directory = "/var/lib/postern";
};
// Root and services: /run/postern and /var/lib/postern, or what systemd says in $RUNTIME_DIRECTORY and
// $STATE_DIRECTORY. Other users: $XDG_STATE_HOME (else ~/.local/state)/postern, and for the socket
// $XDG_RUNTIME_DIR/postern or, without one (cron, ssh without a session, containers), the state directory.
[[nodiscard]] DefaultPaths default_paths(const Environment& environment, unsigned user_id);
// Where keys are stored if `consumers.database` is not set.
[[nodiscard]] std::string default_key_database(const std::string& state_directory);

// What an `insecure` exception that has expired is: an error for whoever writes the file; a warning when a text that
// runs already is read again for its secrets.
enum class ExpiredException : std::uint8_t { error, warning };

// What a certificate that has expired, or is not in force yet, is where it would come into use: an error for whoever
// writes the file; a warning at the start of the process, because the other hosts must come up whatever has become of
// one of them.
enum class OutdatedCertificate : std::uint8_t { error, warning };

// What load() must know of an identity method whose options it does not read itself.
struct IdentityTraits {
  std::string name;
  // The field that carries the credential, unless the option `header` names another; "": the method has no such field.
  std::string default_header;
  std::vector<std::string> headers;  // further fields that it sets
  // Options whose secret is a file of several lines (a PEM key, a service account), and no text for a header field.
  std::vector<std::string> documents;
  // How strongly it locks an origin (prove/assurance.h): 2 a short-lived bearer token, 3 bound to the request.
  int assurance = 0;
};

// Everything load() depends on. All references outlive the call only.
struct LoadInput {
  std::string file;       // name for messages; ".json" at its end asks for strict JSON
  std::string_view text;  // whole content
  const Schema& schema;   // config/schema.h
  SecretSources secrets;
  WallTime now;  // judges `insecure.until`, `switch_at` and certificates
  DefaultPaths paths;
  // Policies that authenticate a consumer; a route without one of them must be `public: true`.
  std::vector<std::string> authenticating_policies;
  std::vector<IdentityTraits> identity_methods;
  ExpiredException expired = ExpiredException::error;
  OutdatedCertificate outdated = OutdatedCertificate::error;
  // What runs, or nullptr. Time alone does not stop a certificate of it: that it has expired is a warning. Certificates
  // and authorities whose content is the same are taken over from it, so that equal pointers mean "unchanged".
  const Config* in_force = nullptr;
  // Not nullptr: a certificate and key whose files have become unusable do not stop the load if the pair from the same
  // files is in force: it goes on, with a warning, and what is wrong is appended here.
  std::string* kept = nullptr;
};

// nullptr if diagnostics has errors afterwards. Warnings do not stop it. `diagnostics` keeps no reference to the tree
// afterwards unless load succeeded, in which case it may be used for later checks while the Config lives.
[[nodiscard]] std::shared_ptr<const Config> load(const LoadInput& input, Diagnostics& diagnostics);

// The policies that run for `route`, in the order gateway, origin, route, `without` applied. Valid while config lives.
[[nodiscard]] std::vector<const PolicyUse*> effective_policies(const Config& config, const RouteConfig& route);

// Names of header fields that identity methods of any origin set, in the form of fold_header_name(); no policy may set,
// rewrite or read from the client a field whose folded name is among them.
[[nodiscard]] std::vector<std::string> reserved_headers(const Config& config);
// The header fields that this identity sets.
[[nodiscard]] std::vector<std::string_view> headers_of(const IdentityUse& use);
// By http::fold_name_byte(): names that some origin could take for each other fold to the same text.
[[nodiscard]] std::string fold_header_name(std::string_view name);

// What a reload changes, one line each, in document order: "~ origins.orders.timeouts.connect: 5s -> 2s",
// "+ routes[3] ...", "- ...". Secrets appear as "changed" only, certificates with fingerprint and last day.
[[nodiscard]] std::vector<std::string> describe_changes(const Config& before, const Config& after);
// Paths of the secrets that come from the environment: fixed at process start, so a reload cannot renew them and says
// so.
[[nodiscard]] std::vector<std::string> secrets_fixed_at_start(const Config& config);

}  // namespace postern::config
