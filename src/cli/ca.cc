// postern ca: the authorities of managed mTLS, in their directory. A running gateway has read them at its start.
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/json_writer.h"
#include "base/strings.h"
#include "cli/failure.h"
#include "cli/origin_snippets.h"
#include "cli/paths.h"
#include "cli/verbs.h"
#include "config/units.h"
#include "platform/private_directory.h"
#include "platform/whole_file.h"
#include "tls/authority_store.h"

namespace postern::cli {
namespace {

using tls::Authorities;
using tls::Authority;
using tls::Certificate;
using tls::CertifiedKey;
using Use = CertifiedKey::Use;

constexpr std::uint32_t kKeyMode = 0600;
constexpr std::uint32_t kCertificateMode = 0644;

Exit report_error(const Error& error, const CaOptions& options, const Console& console) {
  Failure failure{std::string(error.detail()), {}, {}, {}};
  if (error.side() == Side::client) return report(failure, Exit::usage, options.format, console);
  failure.code = info(error.code()).id;
  failure.fix = options.directory.empty()
                    ? "work as the user that the gateway runs as, or name another directory with --directory"
                    : "work as the user that the gateway runs as, and see whether --directory names the right one";
  return report(failure, Exit::runtime, options.format, console);
}

Exit report_misuse(std::string what, const CaOptions& options, const Console& console) {
  return report({.what = std::move(what), .why = {}, .code = {}, .fix = {}}, Exit::usage, options.format, console);
}

// False after explaining why it is not known.
bool find_directory(CaOptions& options, const Console& console) {
  if (!options.directory.empty()) return true;
  config::Diagnostics diagnostics(options.config);
  ConfigPaths paths;
  if (find_paths(options.config, paths, diagnostics)) {
    options.directory = paths.authorities;
    return true;
  }
  static_cast<void>(
      report(diagnostics, "--directory DIR names the authorities without the configuration", options.format, console));
  return false;
}

std::int64_t days_left(const Certificate& certificate, WallTime now) {
  return std::chrono::floor<std::chrono::days>(certificate.not_after() - now).count();
}

void write_certificate(JsonWriter& json, const Certificate& certificate, WallTime now) {
  json.field("subject", certificate.subject());
  json.field("serial", certificate.serial());
  json.field("sha256", certificate.fingerprint());
  json.field("key_type", certificate.key_type());
  json.field("not_before", config::format_timestamp(certificate.not_before()));
  json.field("not_after", config::format_timestamp(certificate.not_after()));
  json.field("days_left", days_left(certificate, now));
}

void write_names(JsonWriter& json, const Certificate& certificate) {
  const auto list = [&](std::string_view key, const std::vector<std::string>& names) {
    json.key(key);
    json.begin_array();
    for (const std::string& name : names) json.value(name);
    json.end_array();
  };
  list("dns", certificate.dns_names());
  list("ip", certificate.ip_addresses());
  list("uri", certificate.uris());
}

void write_authority(JsonWriter& json, std::string_view use, const Authority& authority, WallTime now) {
  json.begin_object();
  json.field("use", use);
  write_certificate(json, authority.certificate(), now);
  json.key("key");
  json.value_bool(authority.has_key());
  json.end_object();
}

std::string text_of(std::string_view title, const Authority& authority, WallTime now) {
  const Certificate& it = authority.certificate();
  const std::int64_t days = days_left(it, now);
  return fmt::format(
      "{}\n"
      "  subject      {}\n"
      "  serial       {}\n"
      "  sha256       {}\n"
      "  in force     {} to {}, {}\n"
      "  key          {}\n",
      title, it.subject(), it.serial(), it.fingerprint(), config::format_timestamp(it.not_before()),
      config::format_timestamp(it.not_after()), days < 0 ? std::string("EXPIRED") : fmt::format("{} days left", days),
      authority.has_key() ? "here" : "not here, kept elsewhere");
}

bool show(const Authorities& authorities, const CaOptions& options, WallTime now, const Console& console) {
  std::string text;
  if (options.format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.field("directory", options.directory);
    json.field("deployment", authorities.deployment);
    json.key("authorities");
    json.begin_array();
    write_authority(json, "client", authorities.client, now);
    write_authority(json, "server", authorities.server, now);
    json.end_array();
    json.end_object();
    text += "\n";
  } else {
    text = fmt::format("directory      {}\ndeployment     {}\n", visible(options.directory), authorities.deployment);
    text += text_of("client CA      signs what gateways show to origins", authorities.client, now);
    text += text_of("server CA      signs what origins show to gateways", authorities.server, now);
  }
  return console.out(text);
}

// Its content, or why there is none.
Result<std::string> read_input(const std::string& path) {
  Result<std::optional<WholeFile>> file = read_whole_file(path, tls::kMaxChainText);
  if (!file) return std::unexpected(std::move(file.error()));
  if (!*file) return fail(Code::io_failed, Side::gateway, path + ": No such file or directory");
  return std::move((*file)->content);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

// The authority that signs, with the key that is kept elsewhere if there is one. Fails with what to do.
Result<Authority> signer(Authorities authorities, Use use, const std::string& key_file) {
  Authority& kept = use == Use::client ? authorities.client : authorities.server;
  if (key_file.empty()) {
    if (kept.has_key()) return std::move(kept);
    return fail(Code::io_failed, Side::gateway,
                "the key of the " + std::string(use == Use::client ? "client" : "server") +
                    " CA is not here: --ca-key FILE names it where it is kept");
  }
  Result<std::optional<WholeFile>> file = read_whole_file(key_file, tls::kMaxChainText);
  if (!file) return std::unexpected(std::move(file.error()));
  if (!*file) return fail(Code::io_failed, Side::gateway, key_file + ": No such file or directory");
  std::string& key = (*file)->content;
  const bool exposed = ((*file)->mode & 0077U) != 0;
  Result<Authority> whole = Authority::parse(kept.certificate().to_pem(), key);
  OPENSSL_cleanse(key.data(), key.size());
  if (exposed) {
    return fail(
        Code::io_failed, Side::gateway,
        key_file + ": others than its owner may read this key: if nobody can have done so, chmod 600 " + key_file);
  }
  if (!whole) return fail(Code::io_failed, Side::gateway, key_file + ": " + std::string(whole.error().detail()));
  return whole;
}

// What is asked for, or in `misuse` why it makes no sense.
tls::LeafRequest request_of(const CaSignOptions& options, const std::string& deployment, WallTime now,
                            std::string& misuse) {
  tls::LeafRequest request;
  if (options.use == "client") {
    if (options.origin.empty()) misuse = "a client certificate is for one origin: --origin names it";
    if (!options.dns_names.empty() || !options.ip_addresses.empty()) {
      misuse = "--dns and --ip are names of servers; a client certificate names gateway and origin";
    }
    const std::string gateway = tls::gateway_name(options.gateway.empty() ? host_name() : options.gateway);
    if (!options.gateway.empty() && gateway != options.gateway) {
      misuse = "--gateway takes a-z, 0-9, ., _ and -, such as " + gateway;
    }
    request = tls::client_request({deployment, gateway, options.origin}, now);
  } else {
    if (options.dns_names.empty() && options.ip_addresses.empty()) {
      misuse = "a server certificate needs a name that gateways call it by: --dns or --ip";
    }
    if (!options.gateway.empty()) misuse = "--gateway belongs to a client certificate";
    request = tls::server_request(options.origin, options.dns_names, options.ip_addresses, now);
  }
  if (!options.origin.empty() && !tls::is_origin_name(options.origin)) {
    misuse = visible(options.origin) + " is no name of an origin: a-z, then a-z, 0-9, _ and -";
  }
  request.not_after = now + std::chrono::days(options.days);
  return request;
}

bool answer_signed(const Certificate& made, const CaSignOptions& options, WallTime now, const Console& console) {
  if (options.format == Format::text) {
    if (options.out.empty()) return console.out(made.to_pem());
    return console.out(fmt::format("{}: {}, in force until {}\n", visible(options.out), made.subject(),
                                   config::format_timestamp(made.not_after())));
  }
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  if (options.out.empty()) {
    json.field("pem", made.to_pem());
  } else {
    json.field("certificate", options.out);
  }
  write_certificate(json, made, now);
  write_names(json, made);
  json.end_object();
  return console.out(text + "\n");
}

}  // namespace

Exit ca_init(const CaInitOptions& given, const Console& console) {
  CaInitOptions options = given;
  if (!find_directory(options, console)) return Exit::configuration;
  const WallTime now = SystemClock().wall();
  const Result<Authorities> made = tls::make_authorities(options.directory, now, SystemEntropy(),
                                                         {.offline_client_key = options.offline_client_key});
  if (!made) return report_error(made.error(), options, console);
  // What is shown is what is in the directory.
  const Result<Authorities> kept = tls::load_authorities(options.directory);
  if (!kept) return report_error(kept.error(), options, console);
  if (options.format == Format::text && !options.offline_client_key.empty()) {
    static_cast<void>(console.error("the key of the client CA is in " + visible(options.offline_client_key) +
                                    " alone; without it no gateway issues certificates to itself, and `postern ca "
                                    "sign --use client --ca-key` makes them\n"));
  }
  return show(*kept, options, now, console) ? Exit::ok : Exit::runtime;
}

Exit ca_show(const CaOptions& given, const Console& console) {
  CaOptions options = given;
  if (!find_directory(options, console)) return Exit::configuration;
  const Result<Authorities> authorities = tls::load_authorities(options.directory);
  if (!authorities) return report_error(authorities.error(), options, console);
  return show(*authorities, options, SystemClock().wall(), console) ? Exit::ok : Exit::runtime;
}

Exit ca_export(const CaExportOptions& given, const Console& console) {
  CaExportOptions options = given;
  if (!options.origin.empty() && !tls::is_origin_name(options.origin)) {
    return report_misuse(visible(options.origin) + " is no name of an origin: a-z, then a-z, 0-9, _ and -", options,
                         console);
  }
  if (!options.files.starts_with('/') || !is_plain(options.files) || !is_plain(options.backend)) {
    return report_misuse("--files takes an absolute path and --backend host:port, of letters, digits and / . _ -",
                         options, console);
  }
  if (!find_directory(options, console)) return Exit::configuration;
  const Result<Authorities> authorities = tls::load_authorities(options.directory);
  if (!authorities) return report_error(authorities.error(), options, console);
  const std::string pem = authorities->client.certificate().to_pem();
  std::string snippet;
  if (!options.server.empty()) {
    snippet = to_text({options.server, options.origin, authorities->deployment, options.files,
                       std::to_string(options.port), options.backend});
  }
  if (options.format == Format::text) return console.out(snippet.empty() ? pem : snippet) ? Exit::ok : Exit::runtime;
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.field("client_ca", pem);
  json.field("deployment", authorities->deployment);
  if (!snippet.empty()) {
    json.field("server", options.server);
    json.field("origin", options.origin);
    json.field("snippet", snippet);
  }
  json.end_object();
  return console.out(text + "\n") ? Exit::ok : Exit::runtime;
}

Exit ca_issue_origin(const CaIssueOptions& given, const Console& console) {
  CaIssueOptions options = given;
  if (!tls::is_origin_name(options.origin)) {
    return report_misuse(visible(options.origin) + " is no name of an origin: a-z, then a-z, 0-9, _ and -", options,
                         console);
  }
  if (options.dns_names.empty() && options.ip_addresses.empty()) {
    return report_misuse("a server certificate needs a name that gateways call it by: --dns or --ip", options, console);
  }
  if (!find_directory(options, console)) return Exit::configuration;
  const Result<Authorities> authorities = tls::load_authorities(options.directory);
  if (!authorities) return report_error(authorities.error(), options, console);
  const WallTime now = SystemClock().wall();
  const auto issued =
      authorities->server.issue(tls::server_request(options.origin, options.dns_names, options.ip_addresses, now));
  if (!issued) return report_error(issued.error(), options, console);

  const std::string base = options.out + "/" + options.origin;
  Result<void> done = make_private_directory(options.out);
  std::string key = tls::to_pem((*issued)->key());
  if (done) done = write_whole_file(base + ".key", key, kKeyMode);
  OPENSSL_cleanse(key.data(), key.size());
  if (done) done = write_whole_file(base + ".pem", (*issued)->leaf().to_pem(), kCertificateMode);
  if (!done) {
    return report({.what = std::string(done.error().detail()),
                   .why = "a key without its certificate is of no use, and an old certificate does not fit a new key",
                   .code = info(Code::io_failed).id,
                   .fix = "mend what is in the way, and issue the certificate again"},
                  Exit::runtime, options.format, console);
  }
  const Certificate& leaf = (*issued)->leaf();
  if (options.format == Format::text) {
    const std::string text = fmt::format("{0}.pem and {0}.key: {1}, in force until {2}\n", visible(base),
                                         leaf.subject(), config::format_timestamp(leaf.not_after()));
    return console.out(text) ? Exit::ok : Exit::runtime;
  }
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.field("certificate", base + ".pem");
  json.field("key", base + ".key");
  write_certificate(json, leaf, now);
  write_names(json, leaf);
  json.end_object();
  return console.out(text + "\n") ? Exit::ok : Exit::runtime;
}

Exit ca_sign(const CaSignOptions& given, const Console& console) {
  CaSignOptions options = given;
  if (!find_directory(options, console)) return Exit::configuration;
  Result<Authorities> authorities = tls::load_authorities(options.directory);
  if (!authorities) return report_error(authorities.error(), options, console);
  const WallTime now = SystemClock().wall();
  std::string misuse;
  const tls::LeafRequest request = request_of(options, authorities->deployment, now, misuse);
  if (!misuse.empty()) return report_misuse(std::move(misuse), options, console);
  const Use use = request.use;
  const Result<Authority> authority = signer(std::move(*authorities), use, options.ca_key);
  if (!authority) return report_error(authority.error(), options, console);
  const Result<std::string> csr = read_input(options.csr);
  if (!csr) return report_error(csr.error(), options, console);
  const auto made = authority->sign(*csr, request);
  if (!made) {
    if (made.error().side() == Side::client) return report_error(made.error(), options, console);
    return report({.what = options.csr + ": " + std::string(made.error().detail()),
                   .why = {},
                   .code = info(made.error().code()).id,
                   .fix = "make one with: openssl req -new -key KEY -subj / -out FILE"},
                  Exit::runtime, options.format, console);
  }
  if (!options.out.empty()) {
    const Result<void> written = write_whole_file(options.out, (*made)->to_pem(), kCertificateMode);
    if (!written) return report_error(written.error(), options, console);
  }
  return answer_signed(**made, options, now, console) ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
