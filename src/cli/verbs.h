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

[[nodiscard]] Exit schema(const Console& console);  // JSON in any format
[[nodiscard]] Exit version(Format format, const Console& console);

struct DemoOptions {
  int port = 0;  // of the gateway; 0: 8080, or the next one that is free
  bool once = false;
  Format format = Format::text;              // json only together with `once`
  std::vector<std::string> backends;         // "nginx=http://127.0.0.1:9101", "mtls=https://127.0.0.1:9102"
  std::vector<std::string> backend_secrets;  // files, one per http:// backend in the same order
  std::string state_directory;               // with the authorities that https:// backends know; empty: made anew
};
[[nodiscard]] Exit demo(const DemoOptions& options, const Console& console);

}  // namespace postern::cli
