#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <functional>
#include <sstream>

#include "cli/origin_snippets.h"
#include "cli/verbs.h"
#include "config/diagnostics.h"

namespace postern::cli {
namespace {

constexpr std::array<std::string_view, 13> kVerbs = {"ca",     "check",  "demo",   "explain", "federate",
                                                     "issuer", "keys",   "origin", "reload",  "run",
                                                     "schema", "status", "version"};
// Part of the product, not of this version: said so, instead of "unknown".
constexpr std::array<std::string_view, 5> kPlanned = {"init", "prove", "rotate", "tunnel", "verify"};

constexpr const char* kFooter =
    "Exit codes: 0 ok, 1 runtime, 2 usage, 3 configuration, 4 proof failed, 5 unreachable.\n"
    "No secret is ever an argument.";

// The parser with what it fills in. Every verb sets `chosen`.
class CommandLine {
 public:
  explicit CommandLine(const Console& console) : console_(console) {
    app_.require_subcommand(1);
    app_.footer(kFooter);
    add_run();
    add_check();
    add_explain();
    add_keys();
    add_ca();
    add_issuer();
    add_admin("reload", "Check the file again and put it into force in place; prints what changed", reload);
    add_admin("status", "What a running gateway is doing", status);
    add_origin();
    add_federate();
    add_demo();
    add_schema();
    add_version();
  }

  Exit run(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      std::ostringstream out;
      std::ostringstream problem;
      const bool asked_for_help = app_.exit(error, out, problem) == 0;
      static_cast<void>(console_.out(out.str()));
      static_cast<void>(console_.error(problem.str()));
      return asked_for_help ? Exit::ok : Exit::usage;
    }
    return chosen_();
  }

 private:
  static void add_config(CLI::App& verb, std::string& file) {
    verb.add_option("-c,--config", file, "Configuration file")->capture_default_str();
  }
  static CLI::Option* add_json(CLI::App& verb, Format& format) {
    return verb.add_flag_callback("--json", [&format] { format = Format::json; }, "For machines");
  }

  void add_run() {
    CLI::App& verb = *app_.add_subcommand("run", "Run the gateway until SIGTERM; SIGHUP reloads");
    add_config(verb, run_.config);
    verb.callback([this] { chosen_ = [this] { return run_gateway(run_, console_); }; });
  }

  void add_check() {
    CLI::App& verb = *app_.add_subcommand("check", "Say everything that is wrong with a configuration");
    add_config(verb, check_.config);
    add_json(verb, check_.format);
    verb.callback([this] { chosen_ = [this] { return check(check_, console_); }; });
  }

  void add_explain() {
    CLI::App& verb =
        *app_.add_subcommand("explain", "What would happen to one request, and where each step comes from");
    add_config(verb, explain_.config);
    add_json(verb, explain_.format);
    verb.add_option("request", explain_.request, "\"GET https://api.example.com/orders/7\"")->required();
    verb.callback([this] { chosen_ = [this] { return explain(explain_, console_); }; });
  }

  void add_keys() {
    CLI::App& keys = *app_.add_subcommand("keys", "API keys: create, list, revoke");
    keys.require_subcommand(1);
    CLI::App& create = *keys.add_subcommand("create", "Make a key and print it, once; only its hash is stored");
    add_keys_options(create, create_);
    create.add_option("consumer", create_.consumer, "Id of the API client, such as \"shop\"")->required();
    create.add_option("--name", create_.name, "Name of the client, for people");
    create.add_option("--metadata", create_.metadata, "name=value, may be repeated")->take_all();
    create.add_option("--expires", create_.expires, "90d, 2027-01-01 or 2027-01-01T00:00:00Z");
    create.add_flag("--hashed", create_.hashed,
                    "Store nothing; print the entry for a file of hashed keys (standard error)");
    create.callback([this] { chosen_ = [this] { return keys_create(create_, console_); }; });

    CLI::App& list = *keys.add_subcommand("list", "All keys of the database, revoked and expired ones too");
    add_keys_options(list, list_);
    list.callback([this] { chosen_ = [this] { return keys_list(list_, console_); }; });

    CLI::App& revoke = *keys.add_subcommand("revoke", "Refuse a key from now on; counts within a second");
    add_keys_options(revoke, revoke_);
    revoke.add_option("key-id", revoke_.key_id, "\"pst_\" and 8 characters, as `keys list` shows it")->required();
    revoke.callback([this] { chosen_ = [this] { return keys_revoke(revoke_, console_); }; });
  }
  static void add_keys_options(CLI::App& verb, KeysOptions& options) {
    add_config(verb, options.config);
    verb.add_option("--database", options.database, "Key database, if not the one that the configuration names");
    add_json(verb, options.format);
  }

  void add_ca() {
    CLI::App& ca = *app_.add_subcommand("ca", "The private authorities of managed mTLS: make, show, export, sign");
    ca.require_subcommand(1);
    CLI::App& init = *ca.add_subcommand("init", "Make the client CA and the server CA of this deployment");
    add_ca_options(init, ca_init_);
    init.add_option("--offline-client-key", ca_init_.offline_client_key,
                    "New file for the client CA's key, instead of keeping it where gateways can use it");
    init.callback([this] { chosen_ = [this] { return ca_init(ca_init_, console_); }; });

    CLI::App& show =
        *ca.add_subcommand("show", "Both authorities: names, dates, fingerprints, whether the keys are here");
    add_ca_options(show, ca_show_);
    show.callback([this] { chosen_ = [this] { return ca_show(ca_show_, console_); }; });

    CLI::App& out = *ca.add_subcommand("export", "Print the certificate of the client CA, which origins must trust");
    add_ca_options(out, ca_export_);
    CLI::Option* const origin =
        out.add_option("--origin", ca_export_.origin, "Name of the origin in the configuration");
    CLI::Option* const server =
        out.add_option("--for", ca_export_.server, "Print the configuration of a server that demands and checks it")
            ->check(CLI::IsMember(std::vector<std::string>(kSnippetServers.begin(), kSnippetServers.end())));
    server->needs(origin);
    origin->needs(server);
    out.add_option("--files", ca_export_.files, "Where client-ca.pem, ORIGIN.pem and ORIGIN.key are on its machine")
        ->needs(server)
        ->capture_default_str();
    out.add_option("--port", ca_export_.port, "Port that it listens on")->needs(server)->capture_default_str();
    out.add_option("--backend", ca_export_.backend, "host:port of the application behind it")
        ->needs(server)
        ->capture_default_str();
    out.callback([this] { chosen_ = [this] { return ca_export(ca_export_, console_); }; });

    add_ca_issue_origin(*ca.add_subcommand("issue-origin", "Make a key and a server certificate for an origin"));
    add_ca_sign(*ca.add_subcommand("sign", "Sign a certificate request (PKCS #10), for keys that are made elsewhere"));
  }
  void add_ca_issue_origin(CLI::App& verb) {
    add_ca_options(verb, ca_issue_);
    verb.add_option("origin", ca_issue_.origin, "Name of the origin in the configuration")->required();
    verb.add_option("--dns", ca_issue_.dns_names, "DNS name that gateways call it by, may be repeated")->take_all();
    verb.add_option("--ip", ca_issue_.ip_addresses, "IP address, may be repeated")->take_all();
    verb.add_option("--out", ca_issue_.out, "Directory for ORIGIN.pem and ORIGIN.key; what is there is replaced")
        ->required();
    verb.callback([this] { chosen_ = [this] { return ca_issue_origin(ca_issue_, console_); }; });
  }
  void add_ca_sign(CLI::App& verb) {
    add_ca_options(verb, ca_sign_);
    verb.add_option("--use", ca_sign_.use, "Whether a gateway shows it (client) or an origin (server)")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"client", "server"}));
    verb.add_option("--csr", ca_sign_.csr, "File with the request; only its key is taken over")->required();
    verb.add_option("--origin", ca_sign_.origin, "Name of the origin in the configuration");
    verb.add_option("--gateway", ca_sign_.gateway, "client: name of the gateway (default: this host's)");
    verb.add_option("--dns", ca_sign_.dns_names, "server: DNS name, may be repeated")->take_all();
    verb.add_option("--ip", ca_sign_.ip_addresses, "server: IP address, may be repeated")->take_all();
    verb.add_option("--days", ca_sign_.days, "How long it is in force, but never longer than the authority")
        ->check(CLI::Range(1, 3650))
        ->capture_default_str();
    verb.add_option("--ca-key", ca_sign_.ca_key, "File with the authority's key, if it is kept elsewhere");
    verb.add_option("--out", ca_sign_.out, "File for the certificate (default: standard output)");
    verb.callback([this] { chosen_ = [this] { return ca_sign(ca_sign_, console_); }; });
  }
  static void add_ca_options(CLI::App& verb, CaOptions& options) {
    add_config(verb, options.config);
    verb.add_option("--directory", options.directory, "Where the authorities are, if not where the configuration says");
    add_json(verb, options.format);
  }

  void add_issuer() {
    CLI::App& issuer =
        *app_.add_subcommand("issuer", "The keys that sign the gateway's own tokens: status, rotate, remove, export");
    issuer.require_subcommand(1);
    CLI::App& show = *issuer.add_subcommand("status", "Every key: what for, since when and until when it signs");
    add_issuer_options(show, issuer_status_);
    show.callback([this] { chosen_ = [this] { return issuer_status(issuer_status_, console_); }; });

    CLI::App& rotate = *issuer.add_subcommand(
        "rotate", "Make and publish a successor, which signs when verifiers have had time to see it");
    add_issuer_options(rotate, issuer_rotate_);
    rotate.add_option("--algorithm", issuer_rotate_.algorithm, "Of this algorithm only (default: of each)");
    rotate.add_flag("--now", issuer_rotate_.now, "It signs at once: for a key that may be stolen");
    rotate.callback([this] { chosen_ = [this] { return issuer_rotate(issuer_rotate_, console_); }; });

    CLI::App& remove =
        *issuer.add_subcommand("remove", "Take away a key that does not sign, and all that it has signed");
    add_issuer_options(remove, issuer_remove_);
    remove.add_option("kid", issuer_remove_.kid, "As `issuer status` shows it; behind -- if it begins with -")
        ->required();
    remove.callback([this] { chosen_ = [this] { return issuer_remove(issuer_remove_, console_); }; });

    CLI::App& out = *issuer.add_subcommand(
        "export", "Write the discovery documents and key sets as files, for a bucket or another web server");
    add_issuer_options(out, issuer_export_);
    out.add_option("out", issuer_export_.out, "Stands for the issuer's host; made if it is not there")->required();
    out.callback([this] { chosen_ = [this] { return issuer_export(issuer_export_, console_); }; });
  }
  static void add_issuer_options(CLI::App& verb, IssuerOptions& options) {
    add_config(verb, options.config);
    verb.add_option("--directory", options.directory, "Where the keys are, if not where the configuration says");
    add_json(verb, options.format);
  }

  void add_admin(const char* name, const char* description, Exit (*act)(const AdminOptions&, const Console&)) {
    CLI::App& verb = *app_.add_subcommand(name, description);
    add_config(verb, admin_.config);
    verb.add_option("--socket", admin_.socket, "Admin socket, if not the one that the configuration names");
    add_json(verb, admin_.format);
    verb.callback([this, act] { chosen_ = [this, act] { return act(admin_, console_); }; });
  }

  void add_federate() {
    CLI::App& verb = *app_.add_subcommand(
        "federate",
        "Print what a cloud has to be told so that it trusts the gateway's issuer; --check whether it will");
    add_config(verb, federate_.config);
    verb.add_option("cloud", federate_.cloud, "aws, gcp, azure, or alb: a load balancer of AWS")
        ->required()
        ->check(CLI::IsMember(std::vector<std::string>{"aws", "gcp", "azure", "alb"}));
    verb.add_option("--audience", federate_.audience, "Audience of the gateway's tokens (default: the cloud's own)");
    verb.add_option("--subject", federate_.subject, "Subject that is trusted, and no other")->capture_default_str();
    verb.add_option("--account", federate_.account, "Number of the AWS account or of the Google project");
    verb.add_option("--name", federate_.name,
                    "aws: the role; gcp: the service account; azure: the application id; alb: ARN of the listener");
    verb.add_flag("--check", federate_.check, "Read what the issuer publishes, and compare it with the cloud's rules");
    add_json(verb, federate_.format);
    verb.callback([this] { chosen_ = [this] { return federate(federate_, console_); }; });
  }

  void add_origin() {
    CLI::App& origin = *app_.add_subcommand("origin", "Backends: test");
    origin.require_subcommand(1);
    CLI::App& test = *origin.add_subcommand(
        "test",
        "Connect to an origin as the gateway does, and say what was seen: TLS, names, pins, certificates, status");
    add_config(test, origin_test_.config);
    test.add_option("name", origin_test_.origin, "Name of the origin")->required();
    test.add_option("--path", origin_test_.path, "Path of the request (default: that of the health checks, else /)");
    add_json(test, origin_test_.format);
    test.callback([this] { chosen_ = [this] { return test_origin(origin_test_, console_); }; });
  }

  void add_demo() {
    CLI::App& verb = *app_.add_subcommand("demo", "A locked backend with a gateway in front of it, live");
    verb.add_option("--port", demo_.port, "Port of the gateway (default: 8080, or the next one that is free)")
        ->check(CLI::Range(1, 65535));
    CLI::Option* const once =
        verb.add_flag("--once", demo_.once, "Run every check once and exit: 0 if all passed, 4 if not");
    verb.add_option("--backend", demo_.backends,
                    "name=http://127.0.0.1:port of another locked backend; https:// if it demands a certificate of "
                    "the client authority")
        ->take_all();
    verb.add_option("--backend-secret", demo_.backend_secrets,
                    "File with the secret of an http:// backend, in the same order")
        ->take_all();
    verb.add_option("--backend-identity", demo_.backend_identities,
                    "name=FILE: instead of a secret, how that http:// backend knows the gateway, as it stands under "
                    "`identity`: {http_signature: {key: \"${file:/path}\"}}")
        ->take_all();
    verb.add_option(
        "--issuer", demo_.issuer,
        "http://127.0.0.1:port/path of the gateway's own issuer, whose keys backends read there; the gateway "
        "listens on that port, too");
    verb.add_option("--state-directory", demo_.state_directory,
                    "Where `postern ca init` has made the authorities that https:// backends know");
    add_json(verb, demo_.format)->needs(once);
    verb.callback([this] { chosen_ = [this] { return demo(demo_, console_); }; });
  }

  void add_schema() {
    CLI::App& verb = *app_.add_subcommand("schema", "Print the JSON Schema of the configuration, for editors");
    verb.add_flag_callback("--json", [] {}, "For machines; it is JSON without it, too");
    verb.callback([this] { chosen_ = [this] { return schema(console_); }; });
  }

  void add_version() {
    CLI::App& verb = *app_.add_subcommand("version", "Version of Postern and of what it is built on");
    add_json(verb, version_format_);
    verb.callback([this] { chosen_ = [this] { return version(version_format_, console_); }; });
  }

  const Console& console_;
  CLI::App app_{"Postern, the API gateway that locks the backends behind it", "postern"};
  std::function<Exit()> chosen_;
  RunOptions run_;
  CheckOptions check_;
  ExplainOptions explain_;
  AdminOptions admin_;
  KeysCreateOptions create_;
  KeysOptions list_;
  KeysRevokeOptions revoke_;
  CaInitOptions ca_init_;
  CaOptions ca_show_;
  FederateOptions federate_;
  CaExportOptions ca_export_;
  CaIssueOptions ca_issue_;
  CaSignOptions ca_sign_;
  IssuerOptions issuer_status_;
  IssuerRotateOptions issuer_rotate_;
  IssuerRemoveOptions issuer_remove_;
  IssuerExportOptions issuer_export_;
  DemoOptions demo_;
  OriginTestOptions origin_test_;
  Format version_format_ = Format::text;
};

// A first word that is no verb gets a better answer than the parser's.
bool explain_unknown_verb(std::string_view word, const Console& console) {
  if (word.empty() || word[0] == '-' || std::ranges::find(kVerbs, word) != kVerbs.end()) return false;
  std::string text = "postern: ";
  if (std::ranges::find(kPlanned, word) != kPlanned.end()) {
    text += "`" + std::string(word) + "` is not in this version\n";
  } else {
    text += "there is no verb " + config::printable(word);
    const std::string_view meant = config::nearest(word, kVerbs);
    if (!meant.empty()) text += "; did you mean `" + std::string(meant) + "`?";
    text += "\n";
  }
  static_cast<void>(console.error(text + "`postern --help` lists the verbs\n"));
  return true;
}

}  // namespace

Exit run_command_line(int argc, const char* const* argv, const Console& console) {
  try {
    if (argc > 1 && explain_unknown_verb(argv[1], console)) return Exit::usage;
    return CommandLine(console).run(argc, argv);
  } catch (const std::exception& failure) {
    static_cast<void>(console.error("postern: " + std::string(failure.what()) + "\n"));
    return Exit::runtime;
  }
}

}  // namespace postern::cli
