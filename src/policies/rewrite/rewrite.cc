#include "policies/rewrite/rewrite.h"

#include <string>

#include "config/diagnostics.h"
#include "config/node.h"
#include "policies/catalog.h"
#include "policies/path_prefix.h"

namespace postern::policies {
namespace {

struct Options {
  std::string strip_prefix;
  std::string add_prefix;
  std::string path;  // whole path; excludes the others
};

class Rewrite final : public Policy {
 public:
  explicit Rewrite(Options options) : options_(std::move(options)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "rewrite"; }

  Task<Result<Flow>> on_request(http::Exchange& exchange) const override {
    // "*" (OPTIONS for the server as a whole) is no path.
    if (!exchange.target.path.starts_with('/')) return Result<Flow>(Flow::next);
    if (!options_.path.empty()) {
      exchange.target.path = options_.path;
      return Result<Flow>(Flow::next);
    }
    std::string_view path = without_prefix(exchange.target.path, options_.strip_prefix);
    if (!options_.add_prefix.empty()) path = exchange.arena.join(options_.add_prefix, path);
    if (path.empty()) path = "/";
    // Two canonical parts make a canonical whole; were that ever not so, the origin must not be the one to find out.
    Result<std::string_view> canonical = http::canonicalize_path(path, exchange.arena);
    if (!canonical) return Result<Flow>(std::unexpected(std::move(canonical.error())));
    exchange.target.path = *canonical;
    return Result<Flow>(Flow::next);
  }

 private:
  Options options_;
};

}  // namespace

std::unique_ptr<const Policy> make_rewrite(const config::Node& options, config::Diagnostics& diagnostics,
                                           const Services&) {
  Options out;
  const config::Node* const path = options.find("path");
  const config::Node* const strip = options.find("strip_prefix");
  const config::Node* const add = options.find("add_prefix");
  if (path && (strip || add)) {
    diagnostics.error(config::Problem::ambiguous, *path, "`path` replaces the whole path, so a prefix has no meaning",
                      "use `path` alone, or prefixes alone");
    return nullptr;
  }
  if (strip && !check_path_prefix(*strip, diagnostics)) return nullptr;
  if (add && !check_path_prefix(*add, diagnostics)) return nullptr;
  if (strip) out.strip_prefix = strip->text();
  if (add) out.add_prefix = add->text();
  if (path) {
    out.path = path->text();
    Arena arena;
    const auto canonical = http::canonicalize_path(out.path, arena);
    if (!canonical || *canonical != out.path) {
      diagnostics.error(config::Problem::policy_option, *path, config::printable(out.path) + " is no canonical path",
                        "write it as /a/b, without dots, double slashes, queries and encoded letters");
      return nullptr;
    }
  }
  return std::make_unique<Rewrite>(std::move(out));
}

}  // namespace postern::policies
