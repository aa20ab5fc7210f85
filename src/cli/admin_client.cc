#include "cli/admin_client.h"

#include <unistd.h>

#include <cerrno>

#include "cli/failure.h"
#include "cli/paths.h"
#include "cli/run_to_end.h"
#include "platform/socket_network.h"

namespace postern::cli {

Result<ClientAnswer> ask_admin(const std::string& socket, std::string_view method, std::string_view path,
                               Format format) {
  SystemClock clock;
  Loop loop(clock);
  SocketNetwork network;
  ClientRequest request{SocketAddress{{}, 0, socket},
                        std::string(method),
                        std::string(path),
                        "postern",
                        {{"Accept", format == Format::json ? "application/json" : "text/plain"}}};
  std::optional<Result<ClientAnswer>> answer = run_to_end(loop, fetch(loop, network, std::move(request)));
  if (!answer) return fail(Code::internal, Side::gateway);
  return std::move(*answer);
}

std::string admin_socket_of(const AdminOptions& options, const Console& console) {
  if (!options.socket.empty()) return options.socket;
  config::Diagnostics diagnostics(options.config);
  ConfigPaths paths;
  if (!find_paths(options.config, paths, diagnostics)) {
    static_cast<void>(
        report(diagnostics, "--socket PATH names the admin socket without the file", options.format, console));
    return {};
  }
  if (paths.admin_socket.empty()) {
    static_cast<void>(
        report({.what = options.config + ": the configuration has no admin socket",
                .why = "a running gateway is asked through its socket only",
                .code = {},
                .fix = "set `admin.socket` and start the gateway again, or name the socket with --socket"},
               Exit::configuration, options.format, console));
  }
  return paths.admin_socket;
}

Exit explain_unreachable(const std::string& socket, const Error& error, Format format, const Console& console) {
  if (::access(socket.c_str(), R_OK | W_OK) != 0 && errno == EACCES) {
    return report({.what = "the admin socket " + socket + ": Permission denied",
                   .why = "who may use it can change the gateway, so it is for the gateway's own user and root only",
                   .code = {},
                   .fix = "do it as that user, for instance `sudo -u postern postern ...`"},
                  Exit::runtime, format, console);
  }
  std::string what = "no gateway answers on " + socket;
  if (!error.detail().empty()) what += " (" + std::string(error.detail()) + ")";
  return report({.what = std::move(what),
                 .why = {},
                 .code = {},
                 .fix = "start it with `postern run`, or name its socket with --socket"},
                Exit::unreachable, format, console);
}

}  // namespace postern::cli
