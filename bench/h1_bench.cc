// HTTP/1 heads and chunks: our parsers beside llhttp in strict mode, and what serialising costs. "wrk" is the request
// that the load generator sends, "browser" 688 bytes as a browser sends them.
//
// llhttp is driven as a server would have to: callbacks that record names and values as views. It does less than ours
// (no lookup of known names, none of the rules of docs/decisions/001-http1-parser.md).
#include <benchmark/benchmark.h>
#include <llhttp.h>

#include <array>
#include <string>
#include <string_view>

#include "http/h1/chunked.h"
#include "http/h1/request_parser.h"
#include "http/h1/response_parser.h"
#include "http/h1/serialize.h"

namespace {

using namespace postern;
using namespace postern::http;

constexpr std::string_view kWrk =
    "GET /orders/7 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Api-Key: pst_0123456789abcdef0123456789abcdef\r\n\r\n";

constexpr std::string_view kBrowser =
    "GET /orders/7/lines?sort=desc&limit=50 HTTP/1.1\r\n"
    "Host: api.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126 "
    "Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Referer: https://www.example.com/shop/orders\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=5f8a1c0e9b7d4a3f8e6c2b1a0d9f8e7c; theme=dark; consent=necessary%2Cstatistics; "
    "_tz=Europe%2FBerlin\r\n"
    "If-None-Match: \"33a64df551425fcc55e4d42a148795d9\"\r\n"
    "X-Requested-With: XMLHttpRequest\r\n"
    "\r\n";
static_assert(kBrowser.size() == 688);

constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\n"
    "Date: Tue, 15 Nov 2033 08:12:31 GMT\r\n"
    "Server: origin\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    "Content-Length: 1234\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: no-store\r\n"
    "Vary: Accept-Encoding\r\n"
    "ETag: \"33a64df551425fcc55e4d42a148795d9\"\r\n"
    "\r\n";

constexpr h1::HeadLimits kLimits;

void ours_request(benchmark::State& state, std::string_view bytes) {
  h1::RequestParser parser;
  RequestHead head;
  for (auto _ : state) {
    parser.reset();
    auto parsed = parser.parse(bytes, kLimits, head);
    if (!parsed || *parsed != h1::Parse::done) state.SkipWithError("refused");
    benchmark::DoNotOptimize(head);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(bytes.size()));
}

void ours_response(benchmark::State& state, std::string_view bytes) {
  h1::ResponseParser parser;
  ResponseHead head;
  for (auto _ : state) {
    parser.reset();
    auto parsed = parser.parse(bytes, kLimits, Method::get, head);
    if (!parsed || *parsed != h1::Parse::done) state.SkipWithError("refused");
    benchmark::DoNotOptimize(head);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(bytes.size()));
}

// The same request in two reads, cut in the middle.
void ours_two_reads(benchmark::State& state, std::string_view bytes) {
  h1::RequestParser parser;
  RequestHead head;
  for (auto _ : state) {
    parser.reset();
    auto first = parser.parse(bytes.substr(0, bytes.size() / 2), kLimits, head);
    auto second = parser.parse(bytes, kLimits, head);
    if (!first || !second || *second != h1::Parse::done) state.SkipWithError("refused");
    benchmark::DoNotOptimize(head);
  }
}

struct Recorder {
  llhttp_t parser;
  std::array<std::string_view, 64> spans;
  std::size_t count = 0;
};

int record(llhttp_t* parser, const char* at, std::size_t size) {
  auto* const recorder = static_cast<Recorder*>(parser->data);
  recorder->spans[recorder->count++ % 64] = {at, size};
  return 0;
}

void llhttp_head(benchmark::State& state, std::string_view bytes, llhttp_type_t type) {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = settings.on_status = settings.on_header_field = settings.on_header_value = record;
  settings.on_headers_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
  Recorder recorder;
  for (auto _ : state) {
    recorder.count = 0;
    llhttp_init(&recorder.parser, type, &settings);
    recorder.parser.data = &recorder;
    if (llhttp_execute(&recorder.parser, bytes.data(), bytes.size()) != HPE_PAUSED) state.SkipWithError("refused");
    benchmark::DoNotOptimize(recorder);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(bytes.size()));
}

std::string chunked_body() {
  std::string body;
  for (int i = 0; i < 64; ++i) body += "400\r\n" + std::string(1024, 'x') + "\r\n";
  return body + "0\r\n\r\n";
}

void ours_chunks(benchmark::State& state) {
  const std::string body = chunked_body();
  h1::ChunkedDecoder decoder;
  for (auto _ : state) {
    decoder.reset();
    std::string_view rest = body;
    for (;;) {
      auto step = decoder.next(rest);
      if (!step) state.SkipWithError("refused");
      if (!step || step->kind == h1::ChunkedDecoder::Step::Kind::end) break;
      rest.remove_prefix(step->consumed);
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 64);
}

void llhttp_chunks(benchmark::State& state) {
  const std::string body = chunked_body();
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_body = record;
  Recorder recorder;
  for (auto _ : state) {
    llhttp_init(&recorder.parser, HTTP_REQUEST, &settings);
    recorder.parser.data = &recorder;
    llhttp_execute(&recorder.parser, head.data(), head.size());
    if (llhttp_execute(&recorder.parser, body.data(), body.size()) != HPE_OK) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 64);
}

void ours_serialize(benchmark::State& state) {
  h1::RequestParser parser;
  RequestHead head;
  if (!parser.parse(kBrowser, kLimits, head)) state.SkipWithError("refused");
  BufferPool pool;
  Buffer out(pool);
  for (auto _ : state) {
    out.clear();
    h1::begin_request_head(out, head.method_text, head.target);
    h1::write_fields(out, head.headers);
    out.append("\r\n");
    benchmark::DoNotOptimize(out.view().data());
  }
}

BENCHMARK_CAPTURE(ours_request, browser, kBrowser);
BENCHMARK_CAPTURE(llhttp_head, browser, kBrowser, HTTP_REQUEST);
BENCHMARK_CAPTURE(ours_request, wrk, kWrk);
BENCHMARK_CAPTURE(llhttp_head, wrk, kWrk, HTTP_REQUEST);
BENCHMARK_CAPTURE(ours_two_reads, browser, kBrowser);
BENCHMARK_CAPTURE(ours_response, json, kResponse);
BENCHMARK_CAPTURE(llhttp_head, json_response, kResponse, HTTP_RESPONSE);
BENCHMARK(ours_chunks);
BENCHMARK(llhttp_chunks);
BENCHMARK(ours_serialize);

}  // namespace

BENCHMARK_MAIN();
