// A response as a hostile origin may send it. Invariants as in h1_request_fuzz.cc; which request it answers (GET, HEAD)
// depends on the bytes.
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "http/h1/llhttp_oracle.h"
#include "http/h1/serialize.h"
#include "http/h1/test_support.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using namespace postern::http::h1;

constexpr HeadLimits kLimits{12, 512, 64};

void check_written_again(std::string_view bytes, Method method, const Verdict& whole) {
  ResponseParser parser;
  ResponseHead head;
  check(parser.parse(bytes, kLimits, method, head).has_value(), "a second parser agrees");
  BufferPool pool;
  Buffer out(pool);
  write_response_head(out, head.status, head.reason, head.headers);
  std::string text(out.view());
  if (head.version == Version::http_1_0) text[7] = '0';
  const Verdict again = ResponseJudge(method)(text);
  check_equal(again.fields, whole.fields, "written again it has the same fields");
  check(again.framing == whole.framing && again.content_length == whole.content_length &&
            again.keep_alive == whole.keep_alive,
        "written again it means the same", text);
}

void compare(std::string_view bytes, Method method, const Verdict& ours) {
  const std::string_view rest = bytes.substr(ours.head_size);
  // The exceptions of the tables: tabs behind a length or coding, the second value among chunk extensions.
  if (bytes.substr(0, ours.head_size).find('\t') != std::string_view::npos) return;
  const SecondOpinion theirs = Llhttp::read(bytes, HTTP_RESPONSE, method);
  check(theirs.head == SecondOpinion::Kind::complete, "llhttp takes the head as well", theirs.why);
  check_equal(ours.fields, theirs.fields, "llhttp reads the same fields");
  check(ours.framing == theirs.framing, "llhttp sees the same framing", ours.decision);
  if (ours.framing == Framing::until_close) return;
  std::string body;
  std::size_t end = ours.head_size;
  if (ours.framing == Framing::length) {
    check(ours.content_length == theirs.content_length, "llhttp sees the same length", ours.decision);
    if (rest.size() < ours.content_length) return;
    body = rest.substr(0, ours.content_length);
    end += ours.content_length;
  } else if (ours.framing == Framing::chunked) {
    const ChunkedVerdict chunked = ChunkedJudge()(rest);
    if (!chunked.accepted() || rest.find(';') != std::string_view::npos) return;
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
  const Method method = number / 64 % 4 == 0 ? Method::head : Method::get;
  const Verdict whole = ResponseJudge(method, kLimits)(bytes);

  ResponseJudge in_two(method, kLimits);
  const Verdict first = in_two(bytes.substr(0, number % bytes.size()));
  check(first.undecided() || first == whole, "a verdict is not taken back", first.decision);
  if (first.undecided()) check(in_two(bytes) == whole, "cut in two", whole.decision);
  if (size <= 256 && number % 8 == 0) {
    check_equal(find_cut_that_matters(bytes, [&] { return ResponseJudge(method, kLimits); }), "", "however it is cut");
  }
  if (!whole.accepted()) return 0;

  check(ResponseJudge(method, kLimits)(bytes.substr(0, whole.head_size)) == whole, "what follows does not matter");
  check(method != Method::head || whole.framing == Framing::none, "no body after HEAD", whole.decision);
  check_written_again(bytes, method, whole);
  compare(bytes, method, whole);
  return 0;
}
