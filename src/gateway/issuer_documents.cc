#include "gateway/issuer_documents.h"

#include <algorithm>

#include "issuer/token_mint.h"

namespace postern::gateway {
namespace {

// A key is published for an hour at least before it signs (RotationTimes::kMinLead): no cache may be older than that.
constexpr std::string_view kCacheControl = "public, max-age=900";

// Host and path of a URL that the configuration has judged.
struct UrlPlace {
  std::string_view host;  // without port and brackets
  std::string_view path;
};
UrlPlace place_of(std::string_view url) {
  const std::string_view rest = url.substr(url.find("://") + 3);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view host = rest.substr(0, slash);
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  return {host, rest.substr(slash)};
}

}  // namespace

bool answer_issuer_document(const Snapshot& snapshot, http::Exchange& exchange) {
  if (!snapshot.mint) return false;
  const UrlPlace issuer = place_of(snapshot.mint->options().url);
  const std::string_view path = exchange.target.path;
  if (!path.starts_with(issuer.path) || exchange.target.host != issuer.host) return false;
  const std::shared_ptr<const std::vector<issuer::Document>> documents = snapshot.mint->documents();
  const issuer::Document* found = nullptr;
  if (documents) {
    const auto at = std::ranges::find(*documents, path, &issuer::Document::path);
    if (at != documents->end()) found = &*at;
  }
  if (!found) return false;
  http::LocalResponse& answer = exchange.local;
  const http::Method method = exchange.request.method;
  if (method != http::Method::get && method != http::Method::head) {
    answer.status = 405;
    answer.headers.append("Allow", "GET, HEAD");
    return true;
  }
  answer.status = 200;
  answer.content_type = "application/json";
  answer.headers.append("Cache-Control", kCacheControl);
  answer.headers.append("Access-Control-Allow-Origin", "*");
  answer.body = exchange.arena.copy(found->body);
  return true;
}

}  // namespace postern::gateway
