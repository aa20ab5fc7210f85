#include "gateway/start_check.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "gateway/schema.h"
#include "store/key_database.h"
#include "store/key_file.h"

namespace postern::gateway {
namespace {

namespace fs = std::filesystem;

enum class Parents : bool { must_exist, are_made };

// Why this process may not use `path` so, in words of the operating system; "" if it may.
std::string refused(const fs::path& path, int mode) {
  if (::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0) return {};
  return path.string() + ": " + std::generic_category().message(errno);
}

// Why no file can be created at `path`; "" if one can.
std::string cannot_create(const fs::path& path, Parents parents) {
  fs::path directory = path.parent_path();
  std::error_code ignored;
  if (parents == Parents::are_made) {
    while (directory.has_relative_path() && !fs::exists(directory, ignored)) directory = directory.parent_path();
  }
  if (fs::exists(directory, ignored) && !fs::is_directory(directory, ignored)) {
    return directory.string() + ": not a directory";
  }
  return refused(directory, W_OK | X_OK);
}

class StartCheck {
 public:
  StartCheck(const config::Config& config, config::Diagnostics& diagnostics)
      : config_(config), diagnostics_(diagnostics), root_(config.document->root()) {}

  void run() {
    check_access_log();
    if (config_.observe) check_socket(config_.observe->address, *root_.find("observe")->find("address"));
    for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
      check_socket(config_.listeners[i].address, *root_.find("listeners")->items()[i].find("address"));
    }
    if (!config_.admin.socket.empty()) {
      if (const std::string problem = cannot_create(config_.admin.socket, Parents::are_made); !problem.empty()) {
        report(node("admin", "socket"), "the admin socket cannot be made: " + problem,
               "let `admin: {socket: /path}` name a place that the gateway may write");
      }
    }
    if (!identifies_consumers(config_)) return;
    if (!config_.consumers.database.empty()) check_database(config_.consumers.database);
    if (!config_.consumers.file.empty()) {
      config::Diagnostics keys(config_.consumers.file);
      static_cast<void>(store::read_key_file(config_.consumers.file, keys));
      diagnostics_.append(keys);
    }
  }

 private:
  void check_access_log() {
    const config::AccessLogConfig& log = config_.access_log;
    if (log.sink != config::AccessLogConfig::Sink::file) return;
    std::error_code ignored;
    const bool exists = fs::exists(log.path, ignored);
    std::string problem = exists ? refused(log.path, W_OK) : cannot_create(log.path, Parents::must_exist);
    if (exists && fs::is_directory(log.path, ignored)) problem = log.path + ": is a directory";
    if (problem.empty()) return;
    report(node("access_log", "path"), "the access log cannot be written: " + problem,
           "create the directory for the user of the gateway, or log to stdout");
  }

  void check_socket(const config::Address& address, const config::Node& at) {
    if (address.kind != config::Address::Kind::unix_socket) return;
    const std::string problem = cannot_create(address.path, Parents::must_exist);
    if (!problem.empty())
      report(at, "the socket cannot be made: " + problem, "create the directory for the user of the gateway");
  }

  void check_database(const std::string& path) {
    const config::Node& given = node("consumers", "database");
    const config::Node* const state = root_.find("state_directory");
    const config::Node& at = &given == &root_ && state ? *state : given;
    constexpr const char* kFix = "let `state_directory` name a directory that the gateway may write";
    // SQLite keeps its log beside the database.
    if (const std::string problem = cannot_create(path, Parents::are_made); !problem.empty()) {
      report(at, "the key database cannot be kept: " + problem, kFix);
      return;
    }
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return;
    if (const std::string problem = refused(path, R_OK | W_OK); !problem.empty()) {
      report(at, "the key database cannot be used: " + problem, kFix);
      return;
    }
    if (const Result<void> sound = store::KeyDatabase::inspect(path); !sound) {
      report(at, std::string(sound.error().detail()),
             "restore it from a copy, or let `consumers: {database: /path}` name another one");
    }
  }

  void report(const config::Node& at, std::string what, std::string fix) {
    diagnostics_.error(config::Problem::unusable_path, at, std::move(what), std::move(fix));
  }
  // Where the file says so; the root if it is a default.
  const config::Node& node(std::string_view section, std::string_view key) const {
    const config::Node* const parent = root_.find(section);
    const config::Node* const found = parent ? parent->find(key) : nullptr;
    return found ? *found : root_;
  }

  const config::Config& config_;
  config::Diagnostics& diagnostics_;
  const config::Node& root_;
};

}  // namespace

void check_start(const config::Config& config, config::Diagnostics& diagnostics) {
  StartCheck(config, diagnostics).run();
}

}  // namespace postern::gateway
