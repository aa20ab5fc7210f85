// A PROXY protocol header, version 2. Invariants: no prefix of a header is one, a verdict is not taken back by what
// follows, and what was understood comes back from a header that is written from it.
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "http/h1/test_support.h"
#include "http/proxy_protocol.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using postern::http::h1::ExactBytes;

struct Verdict {
  std::string decision;
  ProxyHeader header;
};

Verdict judge(std::string_view bytes) {
  const ExactBytes exact(bytes);
  Verdict out;
  const Result<ProxyParse> parsed = parse_proxy_header(exact.view(), out.header);
  out.decision = !parsed ? std::string(parsed.error().detail()) : *parsed == ProxyParse::done ? "done" : "need more";
  return out;
}

std::string write(const ProxyHeader::Source& source) {
  std::string out("\r\n\r\n\0\r\nQUIT\n\x21", 13);
  const bool v4 = source.ip.is_v4();
  out += v4 ? '\x11' : '\x21';
  out += '\0';
  out += v4 ? '\x0c' : '\x24';
  const auto& v6_bytes = source.ip.v6_bytes();
  for (std::size_t i = 0; i < (v4 ? 4u : 16u); ++i) out += static_cast<char>(v6_bytes[i]);
  out.append(v4 ? 4 : 16, '\x01');
  out += static_cast<char>(source.port >> 8);
  out += static_cast<char>(source.port & 0xff);
  return out + std::string("\x01\xbb", 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = view(data, size);
  const Verdict whole = judge(bytes);
  const Verdict prefix = judge(bytes.substr(0, size == 0 ? 0 : number_of(bytes) % size));
  check(prefix.decision == "need more" || prefix.decision == whole.decision, "a verdict is not taken back",
        prefix.decision + " <> " + whole.decision);
  if (whole.decision != "done") return 0;
  check(whole.header.size >= 16 && whole.header.size <= size && whole.header.size <= kMaxProxyHeader,
        "its size is right");
  for (std::size_t i = 0; i < whole.header.size; ++i)
    check(judge(bytes.substr(0, i)).decision == "need more", "not yet");
  check(judge(bytes.substr(0, whole.header.size)).decision == "done", "what follows does not matter");
  if (!whole.header.source || whole.header.source->ip.is_unspecified()) return 0;
  const Verdict again = judge(write(*whole.header.source));
  check(again.decision == "done" && again.header.source.has_value(), "written again it is a header", again.decision);
  check_equal(again.header.source->ip.to_string(), whole.header.source->ip.to_string(), "the same address");
  check(again.header.source->port == whole.header.source->port, "the same port");
  return 0;
}
