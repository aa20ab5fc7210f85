// postern reload: asks a running gateway to read its file again.
#include "cli/admin_client.h"

namespace postern::cli {

Exit reload(const AdminOptions& options, const Console& console) {
  const std::string socket = admin_socket_of(options, console);
  if (socket.empty()) return Exit::configuration;
  const Result<ClientAnswer> answer = ask_admin(socket, "POST", "/reload", options.format);
  if (!answer) return explain_unreachable(socket, answer.error(), options.format, console);
  // What went well is a result, what did not is a message; JSON is a result either way.
  const bool result = answer->status == 200 || options.format == Format::json;
  const bool shown = result ? console.out(answer->body) : console.error(answer->body);
  if (!shown) return Exit::runtime;
  switch (answer->status) {
    case 200: return Exit::ok;
    case 422: return Exit::configuration;
    default: return Exit::runtime;
  }
}

}  // namespace postern::cli
