// postern status: what a running gateway says about itself.
#include "cli/admin_client.h"

namespace postern::cli {

Exit status(const AdminOptions& options, const Console& console) {
  const std::string socket = admin_socket_of(options, console);
  if (socket.empty()) return Exit::configuration;
  const Result<ClientAnswer> answer = ask_admin(socket, "GET", "/status", options.format);
  if (!answer) return explain_unreachable(socket, answer.error(), options.format, console);
  if (!console.out(answer->body)) return Exit::runtime;
  return answer->status == 200 ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
