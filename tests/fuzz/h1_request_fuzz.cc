// A request as a client may send it: head and what follows. Invariants: the verdict does not depend on how the bytes
// come; what is accepted reads the same after it was written again; and llhttp reads the same message, with the same
// fields, body and end, in everything that the gateway would forward.
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "http/h1/llhttp_oracle.h"
#include "http/h1/serialize.h"
#include "http/h1/test_support.h"
#include "http/target.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using namespace postern::http::h1;

constexpr HeadLimits kLimits{12, 512, 64};  // small, so that the fuzzer meets them

struct Request {
  std::string method;
  std::string target;
  std::string host;
  bool connect = false;
  std::string written_again;
};

Request reparse(std::string_view bytes) {
  RequestParser parser;
  RequestHead head;
  check(parser.parse(bytes, kLimits, head).has_value(), "a second parser agrees");
  Request out{std::string(head.method_text),
              std::string(head.target),
              std::string(head.headers.value(HeaderName::host)),
              head.method == Method::connect,
              {}};
  BufferPool pool;
  Buffer again(pool);
  begin_request_head(again, head.method_text, head.target);
  write_fields(again, head.headers);
  again.append("\r\n");
  out.written_again = again.view();
  // We always speak 1.1; here the version has to stay to be compared.
  if (head.version == Version::http_1_0) out.written_again[out.written_again.find("1.1\r\n") + 2] = '0';
  return out;
}

bool llhttp_knows(std::string_view method) {
  static constexpr std::string_view kMethods[] = {
#define POSTERN_NAME(number, name, text) #text,
      HTTP_METHOD_MAP(POSTERN_NAME)
#undef POSTERN_NAME
  };
  for (const std::string_view known : kMethods) {
    if (method == known) return method != "SOURCE";  // only in Icecast's protocol
  }
  return false;
}

// What the gateway would forward, and llhttp can be asked about: the exceptions of src/http/h1/request_rows.h are the
// methods that it does not know, tabs behind a length or coding, and the second value among chunk extensions.
bool comparable(const Request& request, std::string_view head, std::string_view rest) {
  Arena arena;
  CanonicalTarget target;
  if (!canonicalize(request.method, request.target, request.host, arena, target)) return false;
  return !request.connect && llhttp_knows(request.method) && head.find('\t') == std::string_view::npos &&
         rest.find(';') == std::string_view::npos;
}

void compare(std::string_view bytes, const Verdict& ours) {
  const std::string_view rest = bytes.substr(ours.head_size);
  const SecondOpinion theirs = Llhttp::read(bytes, HTTP_REQUEST);
  check(theirs.head == SecondOpinion::Kind::complete, "llhttp takes the head as well", theirs.why);
  check_equal(ours.fields, theirs.fields, "llhttp reads the same fields");
  check(ours.framing == theirs.framing, "llhttp sees the same framing", ours.decision);
  if (ours.framing == Framing::length) {
    check(ours.content_length == theirs.content_length, "llhttp sees the same length", ours.decision);
  }
  // RFC 9112 9.3: close beats keep-alive; llhttp lets keep-alive win in HTTP/1.0.
  if (theirs.minor == 1) check(ours.keep_alive == theirs.keep_alive, "llhttp agrees on keep-alive", ours.decision);
  std::string body;
  std::size_t end = ours.head_size;
  if (ours.framing == Framing::length) {
    if (rest.size() < ours.content_length) return;
    body = rest.substr(0, ours.content_length);
    end += ours.content_length;
  } else if (ours.framing == Framing::chunked) {
    const ChunkedVerdict chunked = ChunkedJudge()(rest);
    if (!chunked.accepted()) return;
    body = chunked.data;
    end += chunked.consumed;
    check_equal(chunked.trailers, theirs.trailers, "llhttp reads the same trailers");
  }
  check(theirs.message == SecondOpinion::Kind::complete, "llhttp takes the whole message", theirs.why);
  check_equal(body, theirs.body, "llhttp reads the same body");
  check(end == theirs.size, "llhttp ends the message at the same place", std::to_string(theirs.size));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = view(data, size);
  if (bytes.empty()) return 0;
  const std::uint64_t number = number_of(bytes);
  const Verdict whole = RequestJudge(kLimits)(bytes);

  const std::size_t cut = number % bytes.size();
  RequestJudge in_two(kLimits);
  const Verdict first = in_two(bytes.substr(0, cut));
  check(first.undecided() || first == whole, "a verdict is not taken back", first.decision);
  if (first.undecided()) check(in_two(bytes) == whole, "cut in two", whole.decision);
  if (size <= 256 && number % 8 == 0) {
    check_equal(find_cut_that_matters(bytes, [] { return RequestJudge(kLimits); }), "", "however it is cut");
  }
  if (!whole.accepted()) return 0;

  check(whole.head_size <= bytes.size(), "the head lies inside of what was given");
  check(RequestJudge(kLimits)(bytes.substr(0, whole.head_size)) == whole, "what follows the head does not matter");
  const Request request = reparse(bytes);
  const Verdict again = RequestJudge(HeadLimits{})(request.written_again);
  check_equal(again.decision, whole.decision, "written again it means the same");
  check_equal(again.fields, whole.fields, "written again it has the same fields");
  if (comparable(request, bytes.substr(0, whole.head_size), bytes.substr(whole.head_size))) compare(bytes, whole);
  return 0;
}
