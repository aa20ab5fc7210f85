#include "policies/api_key/api_key.h"

#include <string>
#include <vector>

#include "base/strings.h"
#include "config/diagnostics.h"
#include "config/node.h"
#include "policies/catalog.h"
#include "policies/header_rules.h"
#include "policies/query.h"
#include "policies/value_template.h"
#include "store/key_store.h"

namespace postern::policies {
namespace {

using http::Exchange;
using http::HeaderName;

enum class Source : std::uint8_t { header, bearer, query };
enum class Forward : bool { no, yes };

struct MetadataHeader {
  std::string metadata;
  std::string header;
};

// Options of one instance. An empty header name: this fact is not passed on.
struct Options {
  Source source = Source::header;
  std::string name = "X-API-Key";  // of the header or query parameter
  Forward forward = Forward::no;
  std::string id_header = "X-Consumer-Id";
  std::string name_header = "X-Consumer-Name";
  std::string key_id_header;
  std::vector<MetadataHeader> metadata_headers;
};

std::unexpected<Error> refuse(Code code, std::string detail) { return fail(code, Side::client, std::move(detail)); }

// RFC 6750 2.1. "" if the field carries another scheme.
std::string_view bearer_token(std::string_view authorization) noexcept {
  constexpr std::string_view kScheme = "bearer ";
  if (!iequals(authorization.substr(0, kScheme.size()), kScheme)) return {};
  return trim_ows(authorization.substr(kScheme.size()));
}

class ApiKey final : public Policy {
 public:
  ApiKey(Options options, const store::KeyStore* keys) : options_(std::move(options)), keys_(keys) {
    challenge_ = options_.source == Source::bearer   ? "Bearer realm=\"api\""
                 : options_.source == Source::header ? "ApiKey realm=\"api\", header=\"" + options_.name + "\""
                                                     : "ApiKey realm=\"api\", query=\"" + options_.name + "\"";
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "api_key"; }

  Task<Result<Flow>> on_request(Exchange& exchange) const override {
    // Before any decision, so that no branch leaves a client's claim about who it is.
    for_each_identity_header([&](std::string_view header) { exchange.request.headers.remove_aliases_of(header); });

    Result<std::string_view> credential = take_credential(exchange);
    if (!credential) return Result<Flow>(std::unexpected(std::move(credential.error())));

    const store::KeyIndex* const index = keys_ ? keys_->index() : nullptr;
    if (!index) {
      return Result<Flow>(fail(Code::store_unavailable, Side::gateway, "the key store has no current index"));
    }
    // Another api_key policy on the way has let this request in and may have taken the key off.
    const bool known = !exchange.consumer.key_id.empty();
    if (credential->empty() && !known) return challenge(exchange, Code::credentials_missing, {});

    const store::KeyRecord* const record =
        credential->empty() ? index->find_by_id(exchange.consumer.key_id) : find(*index, *credential);
    if (!record) {
      const bool looks_right = credential->empty() || store::is_api_key(*credential);
      return challenge(exchange, Code::credentials_invalid,
                       looks_right ? "no such key is stored" : "not in the form of a key");
    }
    if (known && record->consumer.id != exchange.consumer.id) {
      return challenge(exchange, Code::credentials_invalid, "keys of two consumers in one request");
    }
    switch (store::status_of(*record, exchange.started_wall)) {
      case store::KeyStatus::valid: break;
      case store::KeyStatus::expired:
        return challenge(exchange, Code::credentials_invalid, "key " + record->key_id + " has expired");
      case store::KeyStatus::revoked:
        return challenge(exchange, Code::credentials_invalid, "key " + record->key_id + " is revoked");
    }
    admit(exchange, *record);
    return Result<Flow>(Flow::next);
  }

  [[nodiscard]] std::vector<std::string_view> reserved_headers() const override {
    std::vector<std::string_view> names;
    for_each_identity_header([&](std::string_view header) { names.push_back(header); });
    return names;
  }

  [[nodiscard]] std::vector<std::string_view> read_headers() const override {
    switch (options_.source) {
      case Source::header: return {options_.name};
      case Source::bearer: return {"authorization"};
      case Source::query: return {};
    }
    return {};
  }

 private:
  template <typename Visit>
  void for_each_identity_header(Visit&& visit) const {
    if (!options_.id_header.empty()) visit(options_.id_header);
    if (!options_.name_header.empty()) visit(options_.name_header);
    if (!options_.key_id_header.empty()) visit(options_.key_id_header);
    for (const MetadataHeader& entry : options_.metadata_headers) visit(entry.header);
  }

  // An unknown key and a typo cost the same look-up.
  [[nodiscard]] static const store::KeyRecord* find(const store::KeyIndex& index, std::string_view key) noexcept {
    const store::KeyRecord* const record = index.find(store::hash_api_key(key));
    return store::is_api_key(key) ? record : nullptr;
  }

  // The text where a key should be, "" if there is none; takes it off the request unless it is to be forwarded.
  [[nodiscard]] Result<std::string_view> take_credential(Exchange& exchange) const {
    http::Headers& headers = exchange.request.headers;
    if (options_.source == Source::query) {
      QueryParameter parameter = find_query_parameter(exchange.target.query, options_.name, exchange.arena);
      if (parameter.count > 1) return refuse(Code::security_header_twice, "more than one key in the query");
      if (parameter.count == 1 && options_.forward == Forward::no) {
        exchange.target.query = parameter.rest;
        exchange.target.has_query = !parameter.rest.empty();
        exchange.request.target = exchange.target.path_and_query(exchange.arena);
      }
      return parameter.value;
    }
    std::string_view value;
    std::size_t copies = 0;
    const std::string_view name = options_.source == Source::bearer ? "authorization" : std::string_view(options_.name);
    for (const http::Field& field : headers) {
      // An origin may read X_API_Key as X-API-Key, so both count as the same field; only the real name is believed.
      if (!http::is_alias_of(field.name, name)) continue;
      ++copies;
      if (iequals(field.name, name)) value = field.value;
    }
    if (copies > 1) return refuse(Code::security_header_twice, "more than one " + std::string(name));
    const std::string_view credential = options_.source == Source::bearer ? bearer_token(value) : value;
    // Another scheme in Authorization is for the origin: it is no key of ours.
    const bool ours = options_.source == Source::header || !credential.empty();
    if (copies != 0 && ours && options_.forward == Forward::no) headers.remove_aliases_of(name);
    return credential;
  }

  void admit(Exchange& exchange, const store::KeyRecord& record) const {
    Arena& arena = exchange.arena;
    // The index may be replaced while the exchange lasts.
    exchange.consumer.id = arena.copy(record.consumer.id);
    exchange.consumer.name = arena.copy(record.consumer.name);
    exchange.consumer.key_id = arena.copy(record.key_id);
    http::Headers& headers = exchange.request.headers;
    if (!options_.id_header.empty()) headers.append(options_.id_header, exchange.consumer.id);
    if (!options_.name_header.empty()) {
      headers.append(options_.name_header, percent_encode(exchange.consumer.name, arena));
    }
    if (!options_.key_id_header.empty()) headers.append(options_.key_id_header, exchange.consumer.key_id);
    for (const MetadataHeader& entry : options_.metadata_headers) {
      for (const store::Metadata& metadata : record.consumer.metadata) {
        if (metadata.name != entry.metadata) continue;
        const std::string_view value = arena.copy(metadata.value);
        headers.append(entry.header, percent_encode(value, arena));
      }
    }
  }

  // RFC 9110 11.6.1: a 401 says how to do better.
  [[nodiscard]] Task<Result<Flow>> challenge(Exchange& exchange, Code code, std::string detail) const {
    exchange.consumer = {};
    exchange.response_additions.append(HeaderName::www_authenticate, challenge_);
    return Result<Flow>(refuse(code, std::move(detail)));
  }

  Options options_;
  std::string challenge_;
  const store::KeyStore* keys_;
};

bool read_identity_header(const config::Node& headers, std::string_view key, std::string& out,
                          config::Diagnostics& diagnostics) {
  const config::Node* const node = headers.find(key);
  if (!node) return true;
  if (node->is(config::Kind::null)) {
    out.clear();
    return true;
  }
  out = node->text();
  return check_header_name(*node, Direction::request, diagnostics);
}

bool read_headers(const config::Node& headers, Options& out, config::Diagnostics& diagnostics) {
  bool good = read_identity_header(headers, "id", out.id_header, diagnostics);
  good &= read_identity_header(headers, "name", out.name_header, diagnostics);
  good &= read_identity_header(headers, "key_id", out.key_id_header, diagnostics);
  if (const config::Node* const metadata = headers.find("metadata")) {
    for (const config::Entry& entry : metadata->entries()) {
      if (!store::is_metadata_name(entry.key)) {
        diagnostics.error(config::Problem::policy_option, entry, "no metadata can have this name",
                          "letters, digits and . _ -");
        good = false;
      }
      good &= check_header_name(entry.value, Direction::request, diagnostics);
      out.metadata_headers.push_back({std::string(entry.key), std::string(entry.value.text())});
    }
  }
  return good;
}

// Two facts in one header, or the key's own header among them: the origin could not tell which is which.
bool check_distinct(const Options& options, const config::Node& at, config::Diagnostics& diagnostics) {
  std::vector<std::string_view> names = {options.id_header, options.name_header, options.key_id_header};
  for (const MetadataHeader& entry : options.metadata_headers) names.emplace_back(entry.header);
  if (options.source == Source::header) names.emplace_back(options.name);
  if (options.source == Source::bearer) names.emplace_back("authorization");
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = i + 1; j < names.size(); ++j) {
      if (names[i].empty() || !http::is_alias_of(names[i], names[j])) continue;
      diagnostics.error(config::Problem::policy_option, at,
                        config::printable(names[i]) + " is used for two things by this policy");
      return false;
    }
  }
  return true;
}

}  // namespace

std::unique_ptr<const Policy> make_api_key(const config::Node& options, config::Diagnostics& diagnostics,
                                           const Services& services) {
  Options out;
  const config::Node* const header = options.find("header");
  const config::Node* const query = options.find("query");
  const config::Node* const bearer = options.find("bearer");
  const bool by_bearer = bearer && bearer->as_bool();
  if ((header != nullptr) + (query != nullptr) + by_bearer > 1) {
    diagnostics.error(config::Problem::ambiguous, options, "more than one of `header`, `bearer` and `query`",
                      "choose the one place where clients put the key");
    return nullptr;
  }
  bool good = true;
  if (header) {
    out.name = header->text();
    good &= check_header_name(*header, Direction::request, diagnostics);
    if (http::is_alias_of(out.name, "authorization") || http::is_alias_of(out.name, "cookie")) {
      diagnostics.error(config::Problem::policy_option, *header, "this header has a structure of its own",
                        "for Authorization write `bearer: true`");
      good = false;
    }
  } else if (query) {
    out.source = Source::query;
    out.name = query->text();
  } else if (by_bearer) {
    out.source = Source::bearer;
  }
  if (const config::Node* const forward = options.find("forward"); forward && forward->as_bool()) {
    out.forward = Forward::yes;
  }
  if (const config::Node* const headers = options.find("headers")) good &= read_headers(*headers, out, diagnostics);
  good = good && check_distinct(out, options, diagnostics);
  if (!good) return nullptr;
  return std::make_unique<ApiKey>(std::move(out), services.keys);
}

}  // namespace postern::policies
