#include "policies/cors/cors.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/strings.h"
#include "config/diagnostics.h"
#include "config/formats.h"
#include "config/node.h"
#include "config/units.h"
#include "policies/catalog.h"
#include "policies/header_rules.h"

namespace postern::policies {
namespace {

using http::Exchange;
using http::HeaderName;

// "https://app.example.com", or "https://*.example.com" for any subdomain at any depth.
struct OriginPattern {
  std::string head;  // the whole origin, or all before '*'
  std::string tail;  // after '*', starts with '.'; "" if there is no '*'

  [[nodiscard]] bool matches(std::string_view origin) const noexcept {
    if (tail.empty()) return origin == head;
    if (origin.size() <= head.size() + tail.size() || !origin.starts_with(head) || !origin.ends_with(tail))
      return false;
    // What stands for '*' must be host labels: "https://evil.example/.example.com" has the right ends too.
    const std::string_view labels = origin.substr(head.size(), origin.size() - head.size() - tail.size());
    return config::is_host_name(labels) && std::ranges::none_of(labels, [](char c) { return c >= 'A' && c <= 'Z'; });
  }
};

enum class Credentials : bool { no, yes };
enum class Origins : bool { listed, all };

struct Options {
  Origins origins = Origins::listed;
  std::vector<OriginPattern> patterns;
  Credentials credentials = Credentials::no;
  std::string methods;  // joined, as sent
  std::string headers;
  std::string expose;
  std::string max_age;
};

class Cors final : public Policy {
 public:
  explicit Cors(Options options) : options_(std::move(options)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "cors"; }

  Task<Result<Flow>> on_request(Exchange& exchange) const override {
    const http::Headers& request = exchange.request.headers;
    http::Headers& additions = exchange.response_additions;
    // The answer differs by Origin, also for requests that have none: a cache must know.
    if (options_.origins == Origins::listed) additions.append(HeaderName::vary, "Origin");
    const std::size_t count = request.count(HeaderName::origin);
    if (count == 0) return Result<Flow>(Flow::next);
    if (count > 1) return Result<Flow>(fail(Code::security_header_twice, Side::client, "more than one Origin"));

    const std::string_view origin = request.value(HeaderName::origin);
    const bool allowed = is_allowed(origin);
    const bool preflight = exchange.request.method == http::Method::options &&
                           request.find(HeaderName::access_control_request_method) != nullptr;
    if (!allowed) {
      // A plain request goes on: CORS tells browsers who may read, it does not keep anybody out.
      if (!preflight) return Result<Flow>(Flow::next);
      return Result<Flow>(
          fail(Code::forbidden, Side::client, "cross-origin requests are not allowed from this origin"));
    }
    additions.append("Access-Control-Allow-Origin", options_.origins == Origins::all ? "*" : origin, HeaderName::other);
    if (options_.credentials == Credentials::yes) {
      additions.append("Access-Control-Allow-Credentials", "true", HeaderName::other);
    }
    if (!preflight) {
      if (!options_.expose.empty()) {
        additions.append("Access-Control-Expose-Headers", options_.expose, HeaderName::other);
      }
      return Result<Flow>(Flow::next);
    }
    additions.append("Access-Control-Allow-Methods", options_.methods, HeaderName::other);
    if (!options_.headers.empty())
      additions.append("Access-Control-Allow-Headers", options_.headers, HeaderName::other);
    additions.append("Access-Control-Max-Age", options_.max_age, HeaderName::other);
    exchange.local.status = 204;
    return Result<Flow>(Flow::respond);
  }

  // The gateway's word is the only one: a second Access-Control-Allow-Origin makes browsers refuse, a wider one of the
  // origin would undo the list. Our own fields are added after this.
  void on_response(Exchange& exchange) const override {
    exchange.response->headers.remove_if([](const http::Field& field) {
      constexpr std::string_view kPrefix = "access-control-";
      return iequals(field.name.substr(0, kPrefix.size()), kPrefix);
    });
  }

 private:
  [[nodiscard]] bool is_allowed(std::string_view origin) const noexcept {
    if (options_.origins == Origins::all) return true;
    return std::ranges::any_of(options_.patterns,
                               [&](const OriginPattern& pattern) { return pattern.matches(origin); });
  }

  Options options_;
};

// As browsers send it (Fetch Standard, serialised origin): lower case, no default port, no path.
bool read_origin(const config::Node& node, Options& out, config::Diagnostics& diagnostics) {
  const std::string_view text = node.text();
  if (text == "*") {
    out.origins = Origins::all;
    return true;
  }
  OriginPattern pattern;
  const std::size_t star = text.find("://*.");
  std::string whole(text);
  if (star != std::string_view::npos) {
    whole.erase(star + 3, 2);
    pattern.head = text.substr(0, star + 3);
    pattern.tail = text.substr(star + 4);
  } else {
    pattern.head = text;
  }
  const auto url = config::split_url(whole);
  const bool web = url && (url->scheme == "https" || url->scheme == "http");
  const bool default_port = web && url->host.port == (url->scheme == "https" ? "443" : "80");
  if (!web || default_port || whole.ends_with('/') || to_lower(whole) != whole) {
    diagnostics.error(
        config::Problem::policy_option, node, config::printable(text) + " is no web origin",
        "write https://app.example.com, https://*.example.com or https://app.example.com:8443: lower case, "
        "without default port and without path");
    return false;
  }
  out.patterns.push_back(std::move(pattern));
  return true;
}

// The list as one field value; "" if the key is absent.
std::string read_tokens(const config::Node& options, std::string_view key, Credentials credentials,
                        config::Diagnostics& diagnostics) {
  std::string joined;
  const config::Node* const list = options.find(key);
  if (!list) return joined;
  for (const config::Node& item : list->items()) {
    if (!config::is_token(item.text()) || (item.text() == "*" && credentials == Credentials::yes)) {
      diagnostics.error(config::Problem::policy_option, item,
                        item.text() == "*" ? "with credentials browsers take * for a name" : "not a name",
                        "list the names");
    }
    if (!joined.empty()) joined += ", ";
    joined += item.text();
  }
  return joined;
}

}  // namespace

std::unique_ptr<const Policy> make_cors(const config::Node& options, config::Diagnostics& diagnostics,
                                        const Services&) {
  const std::size_t errors = diagnostics.errors();
  Options out;
  const config::Node& origins = *options.find("origins");
  for (const config::Node& node : origins.items()) static_cast<void>(read_origin(node, out, diagnostics));
  if (const config::Node* const credentials = options.find("credentials"); credentials && credentials->as_bool()) {
    out.credentials = Credentials::yes;
    if (out.origins == Origins::all) {
      diagnostics.error(config::Problem::ambiguous, *credentials,
                        "credentials for every origin: any web site could act as the user who visits it",
                        "list the origins, or drop `credentials`");
    }
  }
  if (out.origins == Origins::all && !out.patterns.empty()) {
    diagnostics.error(config::Problem::ambiguous, origins, "`*` makes the other origins meaningless",
                      "keep `*` alone, or remove it");
  }
  out.methods = read_tokens(options, "methods", out.credentials, diagnostics);
  if (out.methods.empty()) out.methods = "GET, HEAD, POST";
  out.headers = read_tokens(options, "headers", out.credentials, diagnostics);
  out.expose = read_tokens(options, "expose", out.credentials, diagnostics);
  Duration max_age = std::chrono::minutes(5);
  if (const config::Node* const node = options.find("max_age")) {
    max_age = config::parse_duration(node->text()).value_or(max_age);
  }
  out.max_age = std::to_string(std::chrono::floor<std::chrono::seconds>(max_age).count());
  if (diagnostics.errors() != errors) return nullptr;
  return std::make_unique<Cors>(std::move(out));
}

}  // namespace postern::policies
