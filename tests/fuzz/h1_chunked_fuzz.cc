// A chunked body. Invariants: what is delivered does not depend on how the bytes come; written again as one chunk it is
// the same; and llhttp reads the same data, trailers and end.
#include <charconv>
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "http/h1/llhttp_oracle.h"
#include "http/h1/test_support.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using namespace postern::http::h1;

constexpr std::string_view kHead = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

// The data as one chunk.
std::string write_again(const ChunkedVerdict& verdict) {
  std::string out;
  if (!verdict.data.empty()) {
    char digits[16];
    const auto end = std::to_chars(digits, digits + sizeof digits, verdict.data.size(), 16).ptr;
    out.append(digits, end).append("\r\n").append(verdict.data).append("\r\n");
  }
  return out + "0\r\n\r\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = view(data, size);
  if (bytes.empty()) return 0;
  const std::uint64_t number = number_of(bytes);
  const ChunkedVerdict whole = ChunkedJudge()(bytes);

  ChunkedJudge in_two;
  const ChunkedVerdict first = in_two(bytes.substr(0, number % bytes.size()));
  const bool undecided = first.decision == "need more";
  check(undecided || first.decision.empty() || first == whole, "a verdict is not taken back", first.decision);
  if (undecided) check(in_two(bytes) == whole, "cut in two", whole.decision);
  if (size <= 256 && number % 8 == 0) {
    check_equal(find_cut_that_matters(bytes, [] { return ChunkedJudge(); }), "", "however it is cut");
  }
  if (!whole.accepted()) return 0;

  check(ChunkedJudge()(bytes.substr(0, whole.consumed)) == whole, "what follows the body does not matter");
  const ChunkedVerdict again = ChunkedJudge()(write_again(whole));
  check(again.accepted(), "written again it is a body", again.decision);
  check_equal(again.data, whole.data, "written again it has the same data");
  // llhttp takes no second value among extensions (src/http/h1/chunked_rows.h).
  if (bytes.substr(0, whole.consumed).find(';') != std::string_view::npos) return 0;
  const SecondOpinion theirs = Llhttp::read(std::string(kHead) + std::string(bytes), HTTP_REQUEST);
  check(theirs.message == SecondOpinion::Kind::complete, "llhttp takes the body as well", theirs.why);
  check_equal(whole.data, theirs.body, "llhttp reads the same data");
  check_equal(whole.trailers, theirs.trailers, "llhttp reads the same trailers");
  check(kHead.size() + whole.consumed == theirs.size, "llhttp ends the body at the same place");
  return 0;
}
