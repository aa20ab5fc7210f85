#include "gateway/start_failure.h"

#include <cerrno>
#include <system_error>

#include "base/strings.h"

namespace postern::gateway {
namespace {

struct Place {
  std::string path;  // "listeners[0]"; "" if the error is about something else
  config::Position position;
  bool is_network = false;
};

// The detail of an Error begins with the address or file that it is about.
Place find_place(const config::Config& config, std::string_view detail) {
  const auto is_about = [&](std::string_view what) {
    return !what.empty() && detail.starts_with(what) && detail.substr(what.size()).starts_with(": ");
  };
  const auto is_network = [](const config::Address& address) { return address.kind == config::Address::Kind::tcp; };
  const config::Node& root = config.document->root();
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::ListenerConfig& listener = config.listeners[i];
    if (!is_about(listener.address.text)) continue;
    return {"listeners[" + std::to_string(i) + "]", listener.position, is_network(listener.address)};
  }
  if (config.observe && is_about(config.observe->address.text)) {
    return {"observe", root.find("observe")->position(), is_network(config.observe->address)};
  }
  const auto position_of = [&](std::string_view section) {
    const config::Node* const node = root.find(section);
    return node ? node->position() : config::Position{};
  };
  if (is_about("unix:" + config.admin.socket)) return {"admin.socket", position_of("admin"), false};
  if (is_about(config.consumers.database)) return {"state_directory", position_of("state_directory"), false};
  if (is_about(config.access_log.path)) return {"access_log.path", position_of("access_log"), false};
  return {};
}

std::string_view fix_for(const Place& place, std::string_view detail) {
  const auto because = [&](int error) { return detail.ends_with(std::generic_category().message(error)); };
  if (because(EADDRINUSE))
    return "stop what listens there (`ss -lptn` and `ss -lpx` name it), or choose another address";
  if (because(EADDRNOTAVAIL)) return "use an address of this machine (`ip address` lists them), or 0.0.0.0 for all";
  if (because(EACCES) && place.is_network) {
    return "ports below 1024 take a capability (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); or choose another";
  }
  if (because(EACCES) || because(EPERM)) {
    return "the user of the gateway must be allowed to write there; or let this option name another place";
  }
  if (because(ENOENT)) {
    return "make its directory first, writable for the user of the gateway; or let this option name another place";
  }
  if (because(EMFILE)) return "allow more open files (systemd: LimitNOFILE=, shell: ulimit -n)";
  return {};
}

}  // namespace

std::string describe_failure(const std::string& file, const config::Config& config, const Error& error) {
  const std::string_view detail = error.detail();
  const Place place = find_place(config, detail);
  std::string out = visible(file);
  if (place.position.line != 0) {
    out += ":" + std::to_string(place.position.line) + ":" + std::to_string(place.position.column);
  }
  if (!place.path.empty()) out += " " + place.path;
  out += ": " + visible(detail) +
         "\n  the gateway has everything that its configuration asks for, or does not start (" +
         std::string(info(error.code()).id) + ")\n";
  if (const std::string_view fix = fix_for(place, detail); !fix.empty()) out += "  fix: " + std::string(fix) + "\n";
  return out;
}

}  // namespace postern::gateway
