// The verbs of the command line. Each returns the exit code; command_line.h fills the options in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/exit.h"

namespace postern::cli {

enum class Format : std::uint8_t { text, json };

inline constexpr const char* kDefaultConfig = "/etc/postern/postern.yaml";

struct RunOptions {
  std::string config = kDefaultConfig;
};
[[nodiscard]] Exit run_gateway(const RunOptions& options, const Console& console);

struct CheckOptions {
  std::string config = kDefaultConfig;
  Format format = Format::text;
};
[[nodiscard]] Exit check(const CheckOptions& options, const Console& console);

struct ExplainOptions {
  std::string config = kDefaultConfig;
  std::string request;  // "GET https://api.example.com/orders/7"
  Format format = Format::text;
};
[[nodiscard]] Exit explain(const ExplainOptions& options, const Console& console);

// reload and status: `socket` names the gateway; if it is empty, the configuration file says where the socket is.
struct AdminOptions {
  std::string config = kDefaultConfig;
  std::string socket;
  Format format = Format::text;
};
[[nodiscard]] Exit reload(const AdminOptions& options, const Console& console);
[[nodiscard]] Exit status(const AdminOptions& options, const Console& console);

struct KeysOptions {
  std::string config = kDefaultConfig;
  std::string database;  // empty: as the configuration says
  Format format = Format::text;
};
struct KeysCreateOptions : KeysOptions {
  std::string consumer;
  std::string name;
  std::vector<std::string> metadata;  // "plan=gold"
  std::string expires;                // "90d", "2027-01-01" or an RFC 3339 time; empty: never
  bool hashed = false;                // print the entry for a file of hashed keys, too
};
struct KeysRevokeOptions : KeysOptions {
  std::string key_id;
};
[[nodiscard]] Exit keys_create(const KeysCreateOptions& options, const Console& console);
[[nodiscard]] Exit keys_list(const KeysOptions& options, const Console& console);
[[nodiscard]] Exit keys_revoke(const KeysRevokeOptions& options, const Console& console);

struct OriginTestOptions {
  std::string config = kDefaultConfig;
  std::string origin;
  std::string path;  // empty: that of the health checks, else "/"
  Format format = Format::text;
};
[[nodiscard]] Exit test_origin(const OriginTestOptions& options, const Console& console);
// ca: the private authorities of managed mTLS (tls/authority_store.h). They work on the directory itself; no gateway
// has to be running.
struct CaOptions {
  std::string config = kDefaultConfig;
  std::string directory;  // empty: as the configuration says
  Format format = Format::text;
};
struct CaInitOptions : CaOptions {
  std::string offline_client_key;  // file that takes the client CA's key; empty: it stays in the directory
};
struct CaExportOptions : CaOptions {
  std::string server;  // of kSnippetServers; empty: the certificate
  std::string origin;  // with `server`, and so are the others
  std::string files = "/etc/postern";
  std::uint16_t port = 8443;
  std::string backend = "127.0.0.1:8080";
};
struct CaIssueOptions : CaOptions {
  std::string origin;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  std::string out;  // directory for ORIGIN.pem and ORIGIN.key
};
struct CaSignOptions : CaOptions {
  std::string use;      // "client" or "server"
  std::string csr;      // file
  std::string origin;   // needed for a client
  std::string gateway;  // client; empty: the name of this host
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  unsigned days = 90;
  std::string ca_key;  // file with the key of the authority, if it is not in the directory
  std::string out;     // file; empty: standard output
};
[[nodiscard]] Exit ca_init(const CaInitOptions& options, const Console& console);
[[nodiscard]] Exit ca_show(const CaOptions& options, const Console& console);
[[nodiscard]] Exit ca_export(const CaExportOptions& options, const Console& console);
[[nodiscard]] Exit ca_issue_origin(const CaIssueOptions& options, const Console& console);
[[nodiscard]] Exit ca_sign(const CaSignOptions& options, const Console& console);

struct FederateOptions {
  std::string config = kDefaultConfig;
  std::string cloud;     // "aws", "gcp", "azure", "alb"
  std::string audience;  // empty: the cloud's own
  std::string subject = "postern";
  std::string account;  // number of the account or project
  std::string name;     // role, service account, application or listener
  bool check = false;
  Format format = Format::text;
};
[[nodiscard]] Exit federate(const FederateOptions& options, const Console& console);

// issuer: the keys of the gateway's issuer (issuer/key_directory.h). They work on the directory itself; no gateway has
// to be running.
struct IssuerOptions {
  std::string config = kDefaultConfig;
  std::string directory;  // empty: as the configuration says
  Format format = Format::text;
};
struct IssuerRotateOptions : IssuerOptions {
  std::string algorithm;  // empty: all of them
  bool now = false;       // sign at once, without waiting until verifiers know the key
};
struct IssuerRemoveOptions : IssuerOptions {
  std::string kid;
};
struct IssuerExportOptions : IssuerOptions {
  std::string out;  // directory; the documents lie below it as below the issuer's host
};
[[nodiscard]] Exit issuer_status(const IssuerOptions& options, const Console& console);
[[nodiscard]] Exit issuer_rotate(const IssuerRotateOptions& options, const Console& console);
[[nodiscard]] Exit issuer_remove(const IssuerRemoveOptions& options, const Console& console);
[[nodiscard]] Exit issuer_export(const IssuerExportOptions& options, const Console& console);

[[nodiscard]] Exit schema(const Console& console);  // JSON in any format
[[nodiscard]] Exit version(Format format, const Console& console);

struct DemoOptions {
  int port = 0;  // of the gateway; 0: 8080, or the next one that is free
  bool once = false;
  Format format = Format::text;                 // json only together with `once`
  std::vector<std::string> backends;            // "nginx=http://127.0.0.1:9101", "mtls=https://127.0.0.1:9102"
  std::vector<std::string> backend_secrets;     // files, one per http:// backend in the same order
  std::vector<std::string> backend_identities;  // "signed=FILE": what stands under `identity` of that http:// backend
  std::string issuer;                           // URL of the gateway's issuer, on a port of its own; empty: it has none
  std::string state_directory;                  // with the authorities that https:// backends know; empty: made anew
};
[[nodiscard]] Exit demo(const DemoOptions& options, const Console& console);

}  // namespace postern::cli
