// For tests of sources: a Fetcher that answers what the test says and keeps what it was asked, and a way to run a
// source to its end.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jose/json.h"
#include "platform/task_set.h"
#include "tokens/source.h"

namespace postern::tokens::test {

using namespace std::chrono_literals;

inline FetchResponse response(int status, std::string_view body,
                              std::vector<std::pair<std::string, std::string>> fields = {}) {
  return {status, std::move(fields), config::Secret(body)};
}

class ScriptedFetcher final : public Fetcher {
 public:
  struct Asked {
    std::string method, url, content_type, body;
    std::map<std::string, std::string> fields;
    FetchRequest::Proxy proxy = FetchRequest::Proxy::as_configured;
    std::size_t max_body = 0;
  };

  Task<Result<FetchResponse>> fetch(FetchRequest request) override {
    Asked seen;
    seen.method = request.method;
    seen.url = request.url;
    seen.content_type = request.content_type;
    seen.body = request.body.reveal();
    for (const auto& field : request.fields) seen.fields[field.name] = field.value.reveal();
    seen.proxy = request.proxy;
    seen.max_body = request.max_body;
    asked.push_back(std::move(seen));
    if (silent) return never();
    if (answers.empty()) {
      ADD_FAILURE() << "nobody expected " << request.method << ' ' << request.url;
      return Result<FetchResponse>(fail(Code::internal, Side::gateway));
    }
    Result<FetchResponse> answer = std::move(answers.front());
    answers.pop_front();
    return answer;
  }

  void answer(int status, std::string_view body, std::vector<std::pair<std::string, std::string>> fields = {}) {
    answers.emplace_back(response(status, body, std::move(fields)));
  }

  std::deque<Result<FetchResponse>> answers;
  std::vector<Asked> asked;
  bool silent = false;  // no answer ever comes

 private:
  static Task<Result<FetchResponse>> never() {
    co_await std::suspend_always{};
    co_return fail(Code::internal, Side::gateway);
  }
};

class CountingEntropy final : public Entropy {
 public:
  void fill(std::span<unsigned char> out) const noexcept override {
    for (unsigned char& byte : out) byte = next_++;
  }

 private:
  mutable unsigned char next_ = 0;
};

using Obtained = std::expected<Credential, SourceError>;

// What a source needs around it.
struct World {
  ScriptedFetcher fetcher;
  ManualClock clock;
  CountingEntropy entropy;

  // nullopt: it waits for something.
  std::optional<Obtained> start_and_stop(const Source& source) {
    struct Errors final : TaskSet::ErrorHandler {
      void on_task_exception(std::exception_ptr) noexcept override { ADD_FAILURE() << "an exception"; }
    } errors;
    std::optional<Obtained> out;
    TaskSet tasks(errors);
    tasks.spawn(keep(source.obtain({fetcher, clock, entropy}), out));
    return out;
  }
  Obtained obtain(const Source& source) {
    std::optional<Obtained> out = start_and_stop(source);
    if (out) return std::move(*out);
    ADD_FAILURE() << "it did not end";
    return std::unexpected(SourceError{Error(Code::internal, Side::gateway)});
  }
  // The detail of its error; "" if there is none.
  std::string error_of(const Source& source) {
    const Obtained obtained = obtain(source);
    return obtained ? "" : std::string(obtained.error().error.detail());
  }

 private:
  static Task<void> keep(Task<Obtained> task, std::optional<Obtained>& out) {
    Obtained obtained = co_await std::move(task);
    out.emplace(std::move(obtained));
  }
};

// The fields of a form, decoded.
inline std::map<std::string, std::string> form_fields(std::string_view body) {
  std::map<std::string, std::string> out;
  const auto decode = [](std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '%' && i + 2 < text.size()) {
        plain += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
      } else {
        plain += text[i] == '+' ? ' ' : text[i];
      }
    }
    return plain;
  };
  while (!body.empty()) {
    const std::string_view pair = body.substr(0, body.find('&'));
    body.remove_prefix(std::min(pair.size() + 1, body.size()));
    const std::size_t equals = pair.find('=');
    const std::string name = decode(pair.substr(0, equals));
    EXPECT_FALSE(out.contains(name)) << name << " twice";
    out[name] = decode(pair.substr(equals + 1));
  }
  return out;
}

class TestEnvironment final : public config::Environment {
 public:
  std::map<std::string, std::string, std::less<>> values;
  std::optional<std::string> get(std::string_view name) const override {
    const auto at = values.find(name);
    return at == values.end() ? std::nullopt : std::optional(at->second);
  }
};

class TestFiles final : public config::FileReader {
 public:
  mutable std::map<std::string, std::string> values;
  Outcome read(const std::string& path, std::size_t max) const override {
    const auto at = values.find(path);
    if (at == values.end()) return {std::nullopt, "no such file"};
    if (at->second.size() > max) return {std::nullopt, "too large"};
    return {at->second, ""};
  }
};

}  // namespace postern::tokens::test
