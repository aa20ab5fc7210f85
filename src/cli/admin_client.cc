#include "cli/admin_client.h"

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
  if (find_paths(options.config, paths, diagnostics)) {
    if (paths.admin_socket.empty())
      static_cast<void>(console.error("postern: the configuration has no admin socket\n"));
    return paths.admin_socket;
  }
  static_cast<void>(console.error(diagnostics.to_text()));
  return {};
}

Exit explain_unreachable(const std::string& socket, const Error& error, const Console& console) {
  std::string text = "postern: no gateway answers on " + socket;
  if (!error.detail().empty()) text += " (" + std::string(error.detail()) + ")";
  text += "\n  fix: start it with `postern run`, or name its socket with --socket\n";
  static_cast<void>(console.error(text));
  return Exit::unreachable;
}

}  // namespace postern::cli
