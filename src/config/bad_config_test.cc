// Bad configurations: which code, where. One line of the table per mistake a person or an attacker makes.
#include <gtest/gtest.h>

#include "config/bad_config.h"

namespace postern::config {
namespace {

TEST(BadConfig, TheGoodOneIsGood) { run({{"good", Parts().text(), ""}}); }

TEST(BadConfig, Gateway) {
  const std::string listener = "listeners: [{address: \"127.0.0.1:8080\"}]\n";
  run({
      {"no version", head(listener), "PST-C013 1:1 "},
      {"version 2", head("version: 2\n" + listener), "PST-C012 1:10 version"},
      {"version as text", head("version: \"1\"\n" + listener), "PST-C011 1:10 version"},
      {"no listener", head("version: 1\nlisteners: []\n"), "PST-C012 2:12 listeners"},
      {"listener without port", head("version: 1\nlisteners: [{address: 0.0.0.0}]\n"),
       "PST-C012 2:23 listeners[0].address"},
      {"octal address", head("version: 1\nlisteners: [{address: \"010.0.0.1:80\"}]\n"),
       "PST-C012 2:23 listeners[0].address"},
      {"twice", head("version: 1\nlisteners: [{address: \"a:1\"}, {address: \"a:1\"}]\n"),
       "PST-C032 2:31 listeners[1]"},
      {"observe on a listener",
       head("version: 1\nlisteners: [{address: \"127.0.0.1:1\"}]\nobserve: {address: \"127.0.0.1:1\"}\n"),
       "PST-C032 3:10 observe"},
      {"observe on a name", head("version: 1\n" + listener + "observe: {address: \"metrics.internal:9090\"}\n"),
       "PST-C012 3:20 observe.address"},
      {"observe on this machine", head("version: 1\n" + listener + "observe: {address: \"localhost:9090\"}\n"), ""},
      {"observe on IPv6", head("version: 1\n" + listener + "observe: {address: \"[::1]:9090\"}\n"), ""},
      {"proxy protocol from anybody", head("version: 1\nlisteners: [{address: \"a:1\", proxy_protocol: v2}]\n"),
       "PST-C015 2:46 listeners[0].proxy_protocol"},
      {"proxy protocol v1", head("version: 1\nlisteners: [{address: \"a:1\", proxy_protocol: v1}]\n"),
       "PST-C012 2:46 listeners[0].proxy_protocol"},
      {"unknown key", head("version: 1\n" + listener + "worker: 2\n"), "PST-C010 3:1 worker"},
      {"workers 0", head("version: 1\n" + listener + "workers: 0\n"), "PST-C012 3:10 workers"},
      {"workers octal", head("version: 1\n" + listener + "workers: 010\n"), "PST-C012 3:10 workers"},
      {"issuer", head("version: 1\n" + listener + "issuer: {}\n"), "PST-C013 3:9 issuer"},
      {"duration without unit", head("version: 1\n" + listener + "drain: 30\n"), "PST-C011 3:8 drain"},
      {"size without unit", head("version: 1\n" + listener + "limits: {max_body_size: 1000}\n"),
       "PST-C011 3:25 limits.max_body_size"},
      {"header limit out of range", head("version: 1\n" + listener + "limits: {max_header_bytes: 1GiB}\n"),
       "PST-C012 3:28 limits.max_header_bytes"},
      {"network with host bits", head("version: 1\n" + listener + "trusted_proxies: [10.0.0.1/8]\n"),
       "PST-C012 3:19 trusted_proxies[0]"},
      {"everybody as text", head("version: 1\n" + listener + "trusted_proxies: all\n"),
       "PST-C011 3:18 trusted_proxies"},
      {"duplicate key", head("version: 1\n" + listener + "drain: 1s\ndrain: 2s\n"), "PST-C005 4:1 "},
      {"merge key", head("version: 1\n" + listener + "limits: {<<: {}}\n"), "PST-C006 3:10 "},
      {"log to a relative path", head("version: 1\n" + listener + "access_log: {path: x.log}\n"),
       "PST-C012 3:20 access_log.path"},
      {"several at once", head("version: 2\n" + listener + "drain: 5\nworker: 1\n"),
       "PST-C012 1:10 version; PST-C011 3:8 drain; PST-C010 4:1 worker"},
      {"not a mapping", "- a\n", "PST-C011 1:1 "},
  });
}

TEST(BadConfig, Origins) {
  run({
      {"service", url("    url: service://a\n"), "PST-C014 5:10 origins.o.url"},
      {"other scheme", url("    url: ftp://a\n"), "PST-C012 5:10 origins.o.url"},
      {"path in url", url("    url: http://a/base\n"), "PST-C012 5:10 origins.o.url"},
      {"password in url", url("    url: http://u:hunter2@a\n"), "PST-C012 5:10 origins.o.url"},
      {"reference in url", url("    url: ${env:URL}\n"), "PST-C021 5:10 origins.o.url"},
      {"neither url nor endpoints", url("    host: origin\n"), "PST-C013 5:5 origins.o"},
      {"both", url("    url: http://a\n    endpoints: [http://b]\n"), "PST-C015 6:16 origins.o.endpoints"},
      {"empty endpoints", url("    endpoints: []\n"), "PST-C012 5:16 origins.o.endpoints"},
      {"same endpoint twice", url("    endpoints: [http://b, http://b]\n"), "PST-C032 5:27 origins.o.endpoints[1]"},
      {"name in capitals",
       "version: 1\nlisteners: [{address: \"a:1\"}]\norigins:\n  Orders: {url: http://a}\nroutes: "
       "[{match: {path: /}, respond: {status: 200}, public: true}]\n",
       "PST-C012 4:3 origins.Orders"},
      {"null origin", url("").replace(url("").find("  o:\n"), 5, "  o:\n"), "PST-C011 4:5 origins.o"},
      {"prove", origin("    prove: {path: /x}\n"), "PST-C014 6:5 origins.o.prove"},
      {"signature", origin("    identity: [{http_signature: {key: /x}}]\n"),
       "PST-C014 6:17 origins.o.identity[0].http_signature"},
      {"unknown identity", origin("    identity: [{shared_secrets: {}}]\n"),
       "PST-C010 6:17 origins.o.identity[0].shared_secrets"},
      {"identity as text", origin("    identity: [shared_secret]\n"), "PST-C011 6:16 origins.o.identity[0]"},
      {"no identity in the list", origin("    identity: []\n"), "PST-C012 6:15 origins.o.identity"},
      {"mistyped timeout", origin("    timeouts: {conect: 1s}\n"), "PST-C010 6:16 origins.o.timeouts.conect"},
      {"health timeout over interval", origin("    health: {path: /, interval: 1s, timeout: 2s}\n"),
       "PST-C015 6:46 origins.o.health.timeout"},
      {"no attempts", origin("    retries: {attempts: 0}\n"), "PST-C012 6:25 origins.o.retries.attempts"},
      {"identity header allowed from clients", secret("X-Secret", "    allow_headers: [x_secret]\n"),
       "PST-C026 8:21 origins.o.allow_headers[0]"},
      {"without nothing inherited", origin("    without: [api_key]\n    reason: because we can\n"),
       "PST-C036 6:15 origins.o.without[0]"},
  });
}

TEST(BadConfig, SharedSecret) {
  const auto value = [](const std::string& text) {
    return origin("    identity:\n      - shared_secret:\n          header: X-Secret\n          value: " + text + "\n");
  };
  const std::string at = " 9:18 origins.o.identity[0].shared_secret.value";
  run({
      {"good", secret("X-Secret"), ""},
      {"literal", value("hunter2hunter2hunter2"), "PST-C020" + at},
      {"literal number", value("123456789012345678"), "PST-C011" + at},
      {"unset", value("${env:NONE}"), "PST-C022" + at},
      {"short", value("${env:SHORT}"), "PST-C023" + at},
      {"default", value("${env:NONE:-hunter2hunter2}"), "PST-C021" + at},
      {"missing file", value("${file:/s/none}"), "PST-C022" + at},
      {"no value", origin("    identity: [{shared_secret: {header: X-Secret}}]\n"),
       "PST-C013 6:32 origins.o.identity[0].shared_secret"},
      {"secret instead of options", origin("    identity: [{shared_secret: hunter2hunter2hunter2}]\n"),
       "PST-C011 6:32 origins.o.identity[0].shared_secret"},
      {"secret as header",
       origin("    identity: [{shared_secret: {header: \"hunter2 hunter2\", value: \"${file:/s/a}\"}}]\n"),
       "PST-C012 6:41 origins.o.identity[0].shared_secret.header"},
      {"Host", secret("Host"), "PST-C026 7:33 origins.o.identity[0].shared_secret.header"},
      {"hop-by-hop", secret("connection"), "PST-C026 7:33 origins.o.identity[0].shared_secret.header"},
      {"alias of framing", secret("Content_Length"), "PST-C026 7:33 origins.o.identity[0].shared_secret.header"},
      {"rebuilt by the gateway", secret("X-Forwarded-For"), "PST-C026 7:33 origins.o.identity[0].shared_secret.header"},
      {"injection in the name", secret("\"X: y\""), "PST-C012 7:33 origins.o.identity[0].shared_secret.header"},
      {"two in one header", secret("X-Secret", "      - shared_secret: {header: x.secret, value: \"${file:/s/b}\"}\n"),
       "PST-C032 8:33 origins.o.identity[1].shared_secret.header"},
      {"next is the same",
       origin("    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\",\n"
              "      next: {value: \"${file:/s/a}\", switch_at: 2026-12-24T08:00:00Z}}}]\n"),
       "PST-C012 7:21 origins.o.identity[0].shared_secret.next.value"},
      {"next without time",
       origin("    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\",\n"
              "      next: {value: \"${file:/s/b}\"}}}]\n"),
       "PST-C013 7:13 origins.o.identity[0].shared_secret.next"},
  });
}

TEST(BadConfig, InsecureIsAskedForDatedAndNeverIdle) {
  const auto at = [](const std::string& where, const std::string& insecure) {
    return url("    url: " + where + "\n    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\"}}]\n" +
               insecure);
  };
  const auto until = [](const std::string& date) {
    return "    insecure: {reason: moving to TLS soon, until: " + date + "}\n";
  };
  run({
      {"localhost", at("http://localhost:1", ""), ""},
      {"127.0.0.0/8", at("http://127.1.2.3:1", ""), ""},
      {"::1", at("http://[::1]:1", ""), ""},
      {"unix", at("unix:///run/x", ""), ""},
      {"network", at("http://10.0.0.1:1", ""), "PST-C027 6:15 origins.o.identity"},
      {"name", at("http://orders.internal", ""), "PST-C027 6:15 origins.o.identity"},
      {"name that starts like loopback", at("http://127.0.0.1.example.com", ""), "PST-C027 6:15 origins.o.identity"},
      {"localhost as a part", at("http://localhost.example.com", ""), "PST-C027 6:15 origins.o.identity"},
      {"mapped address", at("http://[::ffff:10.0.0.1]:1", ""), "PST-C027 6:15 origins.o.identity"},
      {"allowed", at("http://10.0.0.1:1", until("2026-12-24")), ""},
      {"last day", at("http://10.0.0.1:1", until("2026-11-24")), ""},
      {"expired", at("http://10.0.0.1:1", until("2026-11-23")), "PST-C027 7:51 origins.o.insecure.until"},
      {"90 days", at("http://10.0.0.1:1", until("2027-02-22")), ""},
      {"too far", at("http://10.0.0.1:1", until("2027-02-23")), "PST-C027 7:51 origins.o.insecure.until"},
      {"no reason", at("http://10.0.0.1:1", "    insecure: {until: 2026-12-24}\n"), "PST-C013 7:15 origins.o.insecure"},
      {"as boolean", at("http://10.0.0.1:1", "    insecure: true\n"), "PST-C011 7:15 origins.o.insecure"},
      {"not needed", at("http://127.0.0.1:1", until("2026-12-24")), "PST-C028 7:15 origins.o.insecure"},
      {"nothing to protect", origin(until("2026-12-24")), "PST-C028 6:15 origins.o.insecure"},
      {"one of two endpoints",
       url("    endpoints: [http://127.0.0.1:1, http://10.0.0.1:1]\n    identity: [{shared_secret: {header: X-S, "
           "value: "
           "\"${file:/s/a}\"}}]\n"),
       "PST-C027 6:15 origins.o.identity"},
  });
}

// Only time has passed since the text was judged: its secrets must still be renewable.
TEST(BadConfig, AnExpiredExceptionOfTheTextInForceIsAWarning) {
  World world;
  const std::string text =
      url("    url: http://10.0.0.1:1\n    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\"}}]\n"
          "    insecure: {reason: moving to TLS soon, until: 2026-11-23}\n");
  std::string full;
  EXPECT_EQ(errors_of(world, text, Severity::error, full), "PST-C027 7:51 origins.o.insecure.until");
  world.expired = ExpiredException::warning;
  EXPECT_EQ(errors_of(world, text, Severity::error, full), "");
  EXPECT_EQ(errors_of(world, text, Severity::warning, full), "PST-C027 7:51 origins.o.insecure.until");
}

TEST(BadConfig, Routes) {
  const std::string end = "    policies: [api_key]\n";
  run({
      {"unknown origin", routes("  - match: {path: /}\n    origin: oo\n" + end), "PST-C030 8:13 routes[0].origin"},
      {"no target", routes("  - match: {path: /}\n" + end), "PST-C033 7:5 routes[0]"},
      {"two targets", routes("  - match: {path: /}\n    origin: o\n    respond: {status: 200}\n" + end),
       "PST-C015 7:5 routes[0]"},
      {"two answering policies",
       routes(
           "  - match: {path: /}\n    public: true\n    policies: [{respond: {status: 200}}, {redirect: {to: /}}]\n"),
       "PST-C015 7:5 routes[0]"},
      {"an answer and an answering policy",
       routes(
           "  - match: {path: /}\n    public: true\n    policies: [{respond: {status: 200}}]\n    redirect: {to: /}\n"),
       "PST-C015 7:5 routes[0]"},
      {"an answer and an inherited one",
       "policies: [{respond: {status: 503}}]\n" +
           routes("  - match: {path: /}\n    public: true\n    respond: {status: 200}\n"),
       "PST-C015 8:5 routes[0]"},
      {"an answer instead of an inherited one",
       "policies: [{respond: {status: 503}}]\n" +
           routes("  - match: {path: /}\n    public: true\n    respond: {status: 200}\n    without: [respond]\n"
                  "    reason: the health of the gateway itself\n"),
       ""},
      {"body limit over that of the listeners",
       routes("  - match: {path: /}\n    origin: o\n    policies: [api_key, {body_limit: {max: 11MiB}}]\n"),
       "PST-C040 9:44 routes[0].policies[1].body_limit.max"},
      {"body limit within that of the listeners",
       "limits: {max_body_size: 11MiB}\n" +
           routes("  - match: {path: /}\n    origin: o\n    policies: [api_key, {body_limit: {max: 11MiB}}]\n"),
       ""},
      {"body limit without one",
       "limits: {max_body_size: unlimited}\n" +
           routes("  - match: {path: /}\n    origin: o\n    policies: [api_key, {body_limit: {max: 11GiB}}]\n"),
       ""},
      {"respond as policy",
       routes("  - match: {path: /}\n    public: true\n    policies: [{respond: {status: 200}}]\n"), ""},
      {"bad respond", routes("  - match: {path: /}\n    public: true\n    respond: {status: 99}\n"),
       "PST-C012 9:23 routes[0].respond.status"},
      {"no match", routes("  - origin: o\n" + end), "PST-C013 7:5 routes[0]"},
      {"relative path", routes("  - match: {path: orders}\n    origin: o\n" + end),
       "PST-C012 7:19 routes[0].match.path"},
      {"host with port", routes("  - match: {path: /, host: \"a:80\"}\n    origin: o\n" + end),
       "PST-C012 7:28 routes[0].match.host"},
      {"method in small letters", routes("  - match: {path: /, methods: [get]}\n    origin: o\n" + end),
       "PST-C012 7:32 routes[0].match.methods[0]"},
      {"nobody authenticated", routes("  - match: {path: /}\n    origin: o\n"), "PST-C034 7:5 routes[0]"},
      {"public with api_key of its own", routes("  - match: {path: /}\n    origin: o\n    public: true\n" + end),
       "PST-C035 9:13 routes[0].public"},
      {"public as text", routes("  - match: {path: /}\n    origin: o\n    public: yes\n"),
       "PST-C011 9:13 routes[0].public"},
      {"unknown policy", routes("  - match: {path: /}\n    origin: o\n    policies: [api_keys]\n"),
       "PST-C010 9:16 routes[0].policies[0]"},
      {"policy without its options",
       routes("  - match: {path: /}\n    origin: o\n    policies: [api_key, rate_limit]\n"),
       "PST-C013 9:25 routes[0].policies[1]"},
      {"jwt", routes("  - match: {path: /}\n    origin: o\n    policies: [jwt]\n"),
       "PST-C014 9:16 routes[0].policies[0]"},
      {"same match",
       routes("  - match: {path: \"/a/{x}\"}\n    origin: o\n" + end +
              "  - match: {path: \"/a/{y}\"}\n    origin: o\n" + end),
       "PST-C032 10:5 routes[1]"},
      {"one method in common",
       routes("  - match: {path: /a, methods: [GET, PUT]}\n    origin: o\n" + end +
              "  - match: {path: /a, methods: [POST, PUT]}\n    origin: o\n" + end),
       "PST-C032 10:5 routes[1]"},
      {"different methods",
       routes("  - match: {path: /a, methods: [GET]}\n    origin: o\n" + end +
              "  - match: {path: /a}\n    origin: o\n" + end),
       ""},
      {"same name",
       routes("  - match: {path: /a}\n    name: x\n    origin: o\n" + end +
              "  - match: {path: /b}\n    name: x\n    origin: o\n" + end),
       "PST-C032 12:11 routes[1].name"},
      {"without what is not inherited",
       routes("  - match: {path: /}\n    origin: o\n    without: [cors]\n    reason: no browser here\n" + end),
       "PST-C036 9:15 routes[0].without[0]"},
      {"reason alone", routes("  - match: {path: /}\n    origin: o\n    reason: no browser here\n" + end),
       "PST-C036 9:13 routes[0].reason"},
  });
}

TEST(BadConfig, Inheritance) {
  const auto inherited = [](const std::string& route) {
    Parts parts;
    parts.more = "    policies: [api_key]\n";
    parts.routes = "routes:\n  - match: {path: /}\n    origin: o\n" + route;
    return parts.text();
  };
  run({
      {"inherited is enough", inherited(""), ""},
      {"public over inherited", inherited("    public: true\n"), "PST-C035 10:13 routes[0].public"},
      {"dropped with reason", inherited("    public: true\n    without: [api_key]\n    reason: open catalogue\n"), ""},
      {"dropped without reason", inherited("    public: true\n    without: [api_key]\n"),
       "PST-C036 11:14 routes[0].without"},
      {"dropped and forgotten", inherited("    without: [api_key]\n    reason: open catalogue\n"),
       "PST-C034 8:5 routes[0]"},
  });
}

TEST(BadConfig, Warnings) {
  const std::string identity = "    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\"}}]\n";
  run(
      {
          {"unused origin", routes("  - match: {path: /}\n    respond: {status: 200}\n    public: true\n"),
           "PST-C037 5:5 origins.o; PST-C031 5:5 origins.o"},
          {"mistyped host mode", origin(identity + "    host: preserv\n"), "PST-C015 7:11 origins.o.host"},
          {"no identity", origin(""), "PST-C037 5:5 origins.o"},
          {"shared secret",
           origin(
               "    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\"}}]\n  p:\n    url: "
               "http://127.0.0.1:1\n"
               "    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\"}}]\n    policies: [api_key]\n") +
               "  - match: {path: /p}\n    origin: p\n",
           "PST-C025 9:15 origins.p.identity"},
          {"switch in the past",
           origin("    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\",\n"
                  "      next: {value: \"${file:/s/b}\", switch_at: 2026-01-01T08:00:00Z}}}]\n"),
           "PST-C015 7:48 origins.o.identity[0].shared_secret.next.switch_at"},
          {"credential written out",
           origin(identity + "    policies:\n      - request_headers:\n          set: {authorization: Bearer hunter2}\n"
                             "          add: {x_api_key: hunter2, X-Plan: hunter2, X-Token: \"${consumer.id}\"}\n"),
           "PST-C020 9:32 origins.o.policies[0].request_headers.set.authorization; "
           "PST-C020 10:28 origins.o.policies[0].request_headers.add.x_api_key"},
      },
      Severity::warning);
}

}  // namespace
}  // namespace postern::config
