#include "http/h1/chunked.h"

#include <gtest/gtest.h>

#include "http/h1/chunked_rows.h"
#include "http/h1/test_support.h"

namespace postern::http::h1 {
namespace {

ChunkedVerdict decode(std::string_view bytes) { return ChunkedJudge()(bytes); }

TEST(ChunkedDecoder, DecidesEveryRowOfTheTableAsWritten) {
  for (const ChunkedRow& row : chunked_rows()) {
    const ChunkedVerdict verdict = decode(row.bytes);
    EXPECT_EQ(verdict.decision, row.decision) << row.name;
    EXPECT_EQ(verdict.data, row.data) << row.name;
    EXPECT_EQ(verdict.trailers, row.trailers) << row.name;
  }
}

TEST(ChunkedDecoder, DecidesEveryPrefixTheSameHoweverItIsCut) {
  for (const ChunkedRow& row : chunked_rows()) {
    EXPECT_EQ(find_cut_that_matters(row.bytes, [] { return ChunkedJudge(); }), "") << row.name;
  }
}

TEST(ChunkedDecoder, ConsumesTheBodyAndNothingBehindIt) {
  for (const ChunkedRow& row : chunked_rows()) {
    ChunkedVerdict alone = decode(row.bytes);
    if (!alone.accepted()) continue;
    EXPECT_EQ(decode(row.bytes + "GET / HTTP/1.1\r\n\r\n"), alone) << row.name;
    EXPECT_EQ(decode(row.bytes.substr(0, alone.consumed)), alone) << row.name;
  }
}

TEST(ChunkedDecoder, AChunkHeaderMayHaveSoManyBytesAndNotOneMore) {
  for (const std::size_t size : {ChunkedDecoder::kMaxLine, ChunkedDecoder::kMaxLine + 1}) {
    const std::string bytes = "5;" + std::string(size - 4, 'a') + "\r\nhello\r\n0\r\n\r\n";
    EXPECT_EQ(decode(bytes).decision, size == ChunkedDecoder::kMaxLine ? "end" : "PST-R003 chunk header too long");
    EXPECT_EQ(find_cut_that_matters(bytes, [] { return ChunkedJudge(); }), "");
  }
}

TEST(ChunkedDecoder, AllExtensionsOfABodyTogetherAreBounded) {
  // Each chunk brings one byte of data and 1024 of extension (Go's CVE-2023-39326 and kin).
  const std::string chunk = "1;" + std::string(1023, 'a') + "\r\nx\r\n";
  std::string bytes;
  for (std::size_t i = 0; i < ChunkedDecoder::kMaxExtensions / 1024; ++i) bytes += chunk;
  EXPECT_EQ(decode(bytes + "0\r\n\r\n").decision, "end");
  const ChunkedVerdict verdict = decode(bytes + "0;a\r\n\r\n");
  EXPECT_EQ(verdict.decision, "PST-R003 too many chunk extensions");
  EXPECT_EQ(verdict.data, std::string(64, 'x'));
}

TEST(ChunkedDecoder, TrailersAreBoundedInNumber) {
  std::string bytes = "0\r\n";
  std::string trailers;
  for (std::size_t i = 0; i < ChunkedDecoder::kMaxTrailerCount; ++i) {
    bytes += "X: y\r\n";
    trailers += "[X|y]";
  }
  EXPECT_EQ(decode(bytes + "\r\n").trailers, trailers);
  EXPECT_EQ(decode(bytes + "X: y\r\n\r\n").decision, "PST-R003 too many trailers");
}

TEST(ChunkedDecoder, TrailersAreBoundedInSize) {
  const auto with = [](std::size_t size) { return "0\r\nX: " + std::string(size - 7, 'y') + "\r\n\r\n"; };
  EXPECT_EQ(decode(with(ChunkedDecoder::kMaxTrailers)).decision, "end");
  for (const std::size_t over : {1u, 2u, 3u, 500u}) {
    const std::string bytes = with(ChunkedDecoder::kMaxTrailers + over);
    EXPECT_EQ(decode(bytes).decision, "PST-R003 trailers too large") << over;
    EXPECT_EQ(find_cut_that_matters(bytes, [] { return ChunkedJudge(); }), "") << over;
  }
}

TEST(ChunkedDecoder, LargeChunksAreHandedOnWithoutBeingCollected) {
  ChunkedDecoder decoder;
  const std::string block(64 * 1024, 'x');
  auto step = decoder.next("40000000\r\n");  // 1 GiB
  ASSERT_TRUE(step.has_value());
  EXPECT_EQ(step->consumed, 10u);
  for (std::uint64_t left = 0x40000000; left != 0; left -= block.size()) {
    step = decoder.next(block);
    ASSERT_TRUE(step.has_value());
    ASSERT_EQ(step->kind, ChunkedDecoder::Step::Kind::data);
    ASSERT_EQ(step->data.data(), block.data());
    ASSERT_EQ(step->consumed, block.size());
  }
  step = decoder.next("\r\n0\r\n\r\n");
  ASSERT_TRUE(step.has_value());
  EXPECT_EQ(step->kind, ChunkedDecoder::Step::Kind::end);
}

TEST(ChunkedDecoder, IsReadyForTheNextBodyAfterReset) {
  ChunkedDecoder decoder;
  for (int i = 0; i < 3; ++i) {
    auto step = decoder.next("0;ext\r\nX: y\r\n\r\n");
    ASSERT_TRUE(step.has_value());
    EXPECT_EQ(step->kind, ChunkedDecoder::Step::Kind::end);
    EXPECT_EQ(text_of(decoder.trailers()), "[X|y]");
    decoder.reset();
    EXPECT_TRUE(decoder.trailers().empty());
    ASSERT_TRUE(decoder.next("5;an extension").has_value());  // and from the middle of a line
    decoder.reset();
  }
}

}  // namespace
}  // namespace postern::http::h1
