// The second opinion: where llhttp in strict mode decides otherwise than we do, the table says why, and where both take
// a message they must agree where it ends. Nobody between a client and us, and nobody behind us, may then see another
// request in the same bytes.
#include <gtest/gtest.h>

#include "http/h1/chunked_rows.h"
#include "http/h1/llhttp_oracle.h"
#include "http/h1/request_rows.h"
#include "http/h1/response_rows.h"
#include "http/h1/test_support.h"

namespace postern::http::h1 {
namespace {

using Kind = SecondOpinion::Kind;

struct Tally {
  int refused = 0;  // rows that we refuse
  int refused_by_us_alone = 0;
  int taken = 0;
  int taken_by_us_alone = 0;

  // The counts of docs/decisions/001-http1-parser.md.
  void print(const char* what) const {
    std::printf("  %s: %d refused, of which llhttp takes %d; %d taken, of which llhttp refuses %d\n", what, refused,
                refused_by_us_alone, taken, taken_by_us_alone);
  }
};

// Returns whether both took the head.
template <typename Row, typename AnyVerdict>
bool compare(const Row& row, const AnyVerdict& ours, Kind theirs, const std::string& why, Tally& tally) {
  if (ours.decision == "need more") {
    EXPECT_NE(theirs, Kind::complete) << row.name;
    return false;
  }
  // What we refuse and they still wait for, they would take.
  const bool they_take_it = ours.accepted() ? theirs == Kind::complete : theirs != Kind::refused;
  if (ours.accepted() != they_take_it) {
    EXPECT_NE(row.differs, "") << row.name << ": llhttp " << (they_take_it ? "takes it" : "refuses it: " + why);
  } else {
    EXPECT_EQ(row.differs, "") << row.name << ": llhttp agrees";
  }
  ++(ours.accepted() ? tally.taken : tally.refused);
  if (ours.accepted() != they_take_it) ++(ours.accepted() ? tally.taken_by_us_alone : tally.refused_by_us_alone);
  return ours.accepted() && they_take_it;
}

void expect_same_framing(const Verdict& ours, const SecondOpinion& theirs, const std::string& name) {
  EXPECT_EQ(ours.framing, theirs.framing) << name;
  if (ours.framing == Framing::length) {
    EXPECT_EQ(ours.content_length, theirs.content_length) << name;
  }
  EXPECT_EQ(ours.fields, theirs.fields) << name;
}

TEST(Llhttp, EveryDifferenceInRequestHeadsIsInTheTable) {
  Tally tally;
  for (const RequestRow& row : request_rows()) {
    const Verdict ours = RequestJudge()(row.bytes);
    const SecondOpinion theirs = Llhttp::read(row.bytes, HTTP_REQUEST);
    if (compare(row, ours, theirs.head, theirs.why, tally)) {
      expect_same_framing(ours, theirs, row.name);
      // RFC 9112 9.3: close beats keep-alive; llhttp lets keep-alive win in HTTP/1.0.
      if (row.name != "close in HTTP/1.0") {
        EXPECT_EQ(ours.keep_alive, theirs.keep_alive) << row.name;
      }
    }
  }
  tally.print("request heads");
}

TEST(Llhttp, EveryDifferenceInResponseHeadsIsInTheTable) {
  Tally tally;
  for (const ResponseRow& row : response_rows()) {
    const Verdict ours = ResponseJudge(row.request_method)(row.bytes);
    const SecondOpinion theirs = Llhttp::read(row.bytes, HTTP_RESPONSE, row.request_method);
    if (compare(row, ours, theirs.head, theirs.why, tally)) expect_same_framing(ours, theirs, row.name);
  }
  tally.print("response heads");
}

TEST(Llhttp, EveryDifferenceInChunkedBodiesIsInTheTable) {
  Tally tally;
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const ChunkedRow& row : chunked_rows()) {
    const ChunkedVerdict ours = ChunkedJudge()(row.bytes);
    const SecondOpinion theirs = Llhttp::read(head + row.bytes, HTTP_REQUEST);
    if (!compare(row, ours, theirs.message, theirs.why, tally)) continue;
    EXPECT_EQ(ours.data, theirs.body) << row.name;
    EXPECT_EQ(ours.trailers, theirs.trailers) << row.name;
    EXPECT_EQ(head.size() + ours.consumed, theirs.size) << row.name << " does not end at the same place";
  }
  tally.print("chunked bodies");
}

// Pipelined: what both take for the first message must leave the same bytes for the second.
TEST(Llhttp, EndsRequestsWhereWeEndThem) {
  const std::string chunks = "3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n";
  const std::string next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
  int compared = 0;
  for (const RequestRow& row : request_rows()) {
    const Verdict ours = RequestJudge()(row.bytes);
    if (!ours.accepted() || !row.differs.empty() || ours.content_length > 100) continue;
    std::string message = row.bytes;
    if (ours.framing == Framing::length) message += std::string(ours.content_length, 'x');
    if (ours.framing == Framing::chunked) message += chunks;
    const SecondOpinion theirs = Llhttp::read(message + next, HTTP_REQUEST);
    EXPECT_EQ(theirs.message, Kind::complete) << row.name << ": " << theirs.why;
    EXPECT_EQ(theirs.size, message.size()) << row.name;
    ++compared;
  }
  EXPECT_GT(compared, 30);
}

TEST(Llhttp, EndsResponsesWhereWeEndThem) {
  const std::string chunks = "3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n";
  const std::string next = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
  int compared = 0;
  for (const ResponseRow& row : response_rows()) {
    const Verdict ours = ResponseJudge(row.request_method)(row.bytes);
    if (!ours.accepted() || !row.differs.empty() || ours.framing == Framing::until_close) continue;
    std::string message = row.bytes;
    if (ours.framing == Framing::length) message += std::string(ours.content_length, 'x');
    if (ours.framing == Framing::chunked) message += chunks;
    const SecondOpinion theirs = Llhttp::read(message + next, HTTP_RESPONSE, row.request_method);
    EXPECT_EQ(theirs.message, Kind::complete) << row.name << ": " << theirs.why;
    EXPECT_EQ(theirs.size, message.size()) << row.name;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

}  // namespace
}  // namespace postern::http::h1
