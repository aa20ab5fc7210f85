#include "policies/redirect/redirect.h"

#include <string>

#include "base/strings.h"
#include "config/diagnostics.h"
#include "config/formats.h"
#include "config/node.h"
#include "policies/catalog.h"
#include "policies/header_rules.h"
#include "policies/path_prefix.h"

namespace postern::policies {
namespace {

enum class Part : bool { left_out, appended };

// prefix + [path of the request, without strip_prefix] + [its query]
struct Target {
  std::string prefix;
  std::string strip_prefix;
  Part path = Part::left_out;
  Part query = Part::left_out;
};

class Redirect final : public Policy {
 public:
  Redirect(int status, Target target) : status_(status), target_(std::move(target)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "redirect"; }

  Task<Result<Flow>> on_request(http::Exchange& exchange) const override {
    std::string_view path;
    if (target_.path == Part::appended) {
      // "*" has no place behind a prefix. A canonical path starts with one slash, never with two.
      if (!exchange.target.path.starts_with('/')) return Result<Flow>(fail(Code::bad_target, Side::client));
      path = without_prefix(exchange.target.path, target_.strip_prefix);
    }
    const bool query = target_.query == Part::appended && exchange.target.has_query;
    exchange.local.status = status_;
    const std::string_view location =
        exchange.arena.join(target_.prefix, path, query ? "?" : "", query ? exchange.target.query : "");
    // What the client wrote must not end the field: the canonical target cannot, and this makes sure of it.
    if (!is_header_value(location)) return Result<Flow>(fail(Code::bad_target, Side::client));
    exchange.local.headers.append(http::HeaderName::location, location);
    return Result<Flow>(Flow::respond);
  }

 private:
  int status_;
  Target target_;
};

bool is_fixed_part(std::string_view text) noexcept {
  for (const char c : text) {
    if (c <= 0x20 || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' || c == '{' ||
        c == '|' || c == '}' || c == '$') {
      return false;
    }
  }
  return true;
}

// The host that a browser goes to must be decided by the fixed part alone: everything up to the first slash of the path
// stands in the configuration.
bool has_fixed_host(std::string_view prefix, Part path) {
  if (prefix.starts_with('/')) return prefix.size() > 1 ? prefix[1] != '/' : path == Part::left_out;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (!prefix.starts_with(scheme)) continue;
    const std::string_view rest = prefix.substr(scheme.size());
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    const auto host = config::split_host_port(authority);
    return host && (host->port.empty() || config::parse_port(host->port));
  }
  return false;
}

}  // namespace

std::unique_ptr<const Policy> make_redirect(const config::Node& options, config::Diagnostics& diagnostics,
                                            const Services&) {
  const config::Node& to = *options.find("to");
  Target target;
  std::string_view text = to.text();
  constexpr std::string_view kQuery = "${query}";
  constexpr std::string_view kPath = "${path}";
  if (text.ends_with(kQuery)) {
    text.remove_suffix(kQuery.size());
    target.query = Part::appended;
  }
  if (text.ends_with(kPath)) {
    text.remove_suffix(kPath.size());
    target.path = Part::appended;
    // The path brings its own slash.
    if (text.size() > 1 && text.ends_with('/')) text.remove_suffix(1);
  }
  target.prefix = text;
  const bool open_ended = target.query == Part::appended || target.path == Part::appended;
  if (!is_fixed_part(text) || !has_fixed_host(text, target.path) ||
      (open_ended && text.find_first_of("?#") != std::string_view::npos)) {
    diagnostics.error(config::Problem::policy_option, to, "not a fixed place to redirect to",
                      "write https://host/path or /path, then ${path} and ${query} at the end if wanted");
    return nullptr;
  }
  if (const config::Node* const strip = options.find("strip_prefix")) {
    target.strip_prefix = strip->text();
    if (target.path == Part::left_out || !check_path_prefix(*strip, diagnostics)) {
      if (target.path == Part::left_out) {
        diagnostics.error(config::Problem::policy_option, *strip, "`to` does not use the path", "add ${path} to `to`");
      }
      return nullptr;
    }
  }
  const config::Node* const status = options.find("status");
  return std::make_unique<Redirect>(status ? static_cast<int>(status->as_int()) : 307, std::move(target));
}

}  // namespace postern::policies
