// What the tests and the fuzz targets of the HTTP/1 codec share: input in blocks of exactly its size, and verdicts as
// plain values, so that two ways of feeding the same bytes are compared with ==.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/h1/chunked.h"
#include "http/h1/request_parser.h"
#include "http/h1/response_parser.h"

namespace postern::http::h1 {

// A copy in a heap block without a spare byte: AddressSanitizer sees every read beyond it, and every view that outlives
// it.
class ExactBytes {
 public:
  explicit ExactBytes(std::string_view bytes)
      : bytes_(std::make_unique_for_overwrite<char[]>(bytes.size())), size_(bytes.size()) {
    if (!bytes.empty()) std::memcpy(bytes_.get(), bytes.data(), bytes.size());
  }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
};

inline std::string text_of(const Error& error) {
  return std::string(info(error.code()).id) + " " + std::string(error.detail());
}

inline std::string_view text_of(Framing framing) {
  switch (framing) {
    case Framing::none: return "none";
    case Framing::length: return "length";
    case Framing::chunked: return "chunked";
    case Framing::until_close: return "until close";
  }
  return "";
}

inline std::string text_of(const Headers& headers) {
  std::string out;
  for (const Field& field : headers) {
    out.append("[").append(field.name).append("|").append(field.value).append("]");
    // The id is how the rest of the gateway finds a field, so it belongs to what was understood.
    if (field.id != lookup_header_name(field.name)) out.append("<- wrong id");
  }
  return out;
}

// What became of a head.
struct Verdict {
  std::string decision;  // "need more", "PST-R003 why", or a summary like "GET / 1.1 none keep"
  std::string fields;    // of an accepted head: "[Host|a][X|b]"
  std::size_t head_size = 0;
  Framing framing = Framing::none;
  std::uint64_t content_length = 0;
  bool keep_alive = false;
  bool operator==(const Verdict&) const = default;

  [[nodiscard]] bool accepted() const noexcept { return head_size != 0; }
  [[nodiscard]] bool undecided() const noexcept { return decision == "need more"; }
};

template <typename Head>
void describe_framing(const Head& head, std::size_t head_size, Verdict& verdict) {
  verdict.decision.append(head.version == Version::http_1_1 ? " 1.1 " : " 1.0 ").append(text_of(head.framing));
  if (head.content_length != 0 || head.framing == Framing::length) {
    verdict.decision.append(" ").append(std::to_string(head.content_length));
  }
  verdict.decision.append(head.keep_alive ? " keep" : " close");
  verdict.fields = text_of(head.headers);
  verdict.head_size = head_size;
  verdict.framing = head.framing;
  verdict.content_length = head.content_length;
  verdict.keep_alive = head.keep_alive;
}

// One request head, given as a growing prefix: each call moves the bytes and ends the block of the call before.
class RequestJudge {
 public:
  explicit RequestJudge(HeadLimits limits = {}) : limits_(limits) {}
  Verdict operator()(std::string_view prefix) {
    bytes_ = std::make_unique<ExactBytes>(prefix);
    RequestHead head;
    const Result<Parse> parsed = parser_.parse(bytes_->view(), limits_, head);
    Verdict verdict;
    if (!parsed) {
      verdict.decision = text_of(parsed.error());
    } else if (*parsed == Parse::need_more) {
      verdict.decision = "need more";
      if (!head.headers.empty() || !head.target.empty()) verdict.decision += ", but something was reported";
    } else {
      verdict.decision.append(head.method_text).append(" ").append(head.target);
      describe_framing(head, parser_.head_size(), verdict);
      if (head.expect_continue) verdict.decision += " continue";
    }
    return verdict;
  }

 private:
  HeadLimits limits_;
  RequestParser parser_;
  std::unique_ptr<ExactBytes> bytes_;
};

class ResponseJudge {
 public:
  explicit ResponseJudge(Method method, HeadLimits limits = {}) : method_(method), limits_(limits) {}
  Verdict operator()(std::string_view prefix) {
    bytes_ = std::make_unique<ExactBytes>(prefix);
    ResponseHead head;
    const Result<Parse> parsed = parser_.parse(bytes_->view(), limits_, method_, head);
    Verdict verdict;
    if (!parsed) {
      verdict.decision = text_of(parsed.error());
    } else if (*parsed == Parse::need_more) {
      verdict.decision = "need more";
      if (!head.headers.empty() || head.status != 0) verdict.decision += ", but something was reported";
    } else {
      verdict.decision = std::to_string(head.status);
      if (!head.reason.empty()) verdict.decision.append(" '").append(head.reason).append("'");
      describe_framing(head, parser_.head_size(), verdict);
      if (head.announces_length) verdict.decision += " announced";
    }
    return verdict;
  }

 private:
  Method method_;
  HeadLimits limits_;
  ResponseParser parser_;
  std::unique_ptr<ExactBytes> bytes_;
};

// A chunked body and what is left behind it.
struct ChunkedVerdict {
  std::string decision;  // "need more", "end" or "PST-R003 why"
  std::string data;
  std::string trailers;
  std::size_t consumed = 0;  // so far, or of the whole body
  bool operator==(const ChunkedVerdict&) const = default;
  [[nodiscard]] bool accepted() const noexcept { return decision == "end"; }
};

// One chunked body, given as a growing prefix; keeps what the decoder did not consume, as a connection does.
class ChunkedJudge {
 public:
  ChunkedVerdict operator()(std::string_view prefix) {
    using Kind = ChunkedDecoder::Step::Kind;
    while (verdict_.decision.empty() || verdict_.decision == "need more") {
      const ExactBytes rest(prefix.substr(verdict_.consumed));
      const Result<ChunkedDecoder::Step> step = decoder_.next(rest.view());
      if (!step) {
        verdict_.decision = text_of(step.error());
        verdict_.consumed = 0;  // how far it got within the pieces means nothing any more
        break;
      }
      verdict_.consumed += step->consumed;
      verdict_.data.append(step->data);
      verdict_.decision = step->kind == Kind::end ? "end" : "need more";
      if (step->kind == Kind::end) verdict_.trailers = text_of(decoder_.trailers());
      if (step->kind == Kind::need_more) break;
    }
    return verdict_;
  }

 private:
  ChunkedDecoder decoder_;
  ChunkedVerdict verdict_;
};

// Where to cut `size` bytes: everywhere, or, if they are many, near both ends and here and there between.
inline std::vector<std::size_t> cut_points(std::size_t size) {
  constexpr std::size_t kEverywhere = 700;
  constexpr std::size_t kEdge = 96;
  const std::size_t stride = size <= kEverywhere ? 1 : size / 61 + 1;
  std::vector<std::size_t> points;
  for (std::size_t at = 1; at <= size;) {
    points.push_back(at);
    at += at < kEdge || at + kEdge > size ? 1 : std::min(stride, size - kEdge + 1 - at);
  }
  return points;
}

// Feeds `bytes` in steps and cut in two, each with a fresh judge of make(). "" if every prefix got the verdict that it
// gets in one piece, however it came, and no verdict is taken back by what follows.
template <typename MakeJudge>
std::string find_cut_that_matters(std::string_view bytes, MakeJudge make) {
  const std::vector<std::size_t> points = cut_points(bytes.size());
  auto stepping = make();
  const auto whole = make()(bytes);
  bool decided = false;
  for (const std::size_t point : points) {
    const std::string_view prefix = bytes.substr(0, point);
    auto fresh = make();
    const auto in_one_piece = fresh(prefix);
    if (!decided) {
      const auto in_steps = stepping(prefix);
      if (in_steps != in_one_piece) {
        return "in steps up to " + std::to_string(point) + ": " + in_steps.decision + " <> " + in_one_piece.decision;
      }
    }
    if (decided && in_one_piece != whole) {
      return "taken back after " + std::to_string(point) + ": " + in_one_piece.decision + " <> " + whole.decision;
    }
    decided = decided || in_one_piece.decision != "need more";
    if (decided) continue;
    const auto in_two = fresh(bytes);
    if (in_two != whole) {
      return "cut at " + std::to_string(point) + ": " + in_two.decision + " <> " + whole.decision;
    }
  }
  return "";
}

}  // namespace postern::http::h1
