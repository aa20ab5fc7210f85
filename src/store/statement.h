// Statement: one prepared SQLite statement, its bindings and its rows. Strings are bound as copies. Errors of binding
// are kept and come out of step(), so that a call reads as one line per value. For the files of this folder only.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace postern::store {

class Statement {
 public:
  Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  [[nodiscard]] bool prepare(sqlite3* database, std::string_view sql) {
    return sqlite3_prepare_v3(database, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                              &statement_, nullptr) == SQLITE_OK;
  }

  // Forgets rows and bindings of the last use.
  Statement& start() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    next_ = 1;
    problem_ = SQLITE_OK;
    return *this;
  }
  Statement& bind(std::string_view text) {
    // A null pointer would bind NULL.
    const char* const data = text.empty() ? "" : text.data();
    return keep(sqlite3_bind_text(statement_, next_, data, static_cast<int>(text.size()), SQLITE_TRANSIENT));
  }
  Statement& bind(std::int64_t value) { return keep(sqlite3_bind_int64(statement_, next_, value)); }
  Statement& bind(std::optional<std::int64_t> value) { return value ? bind(*value) : keep(SQLITE_OK); }
  Statement& bind(std::span<const std::uint8_t> bytes) {
    return keep(sqlite3_bind_blob(statement_, next_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT));
  }

  // SQLITE_ROW, SQLITE_DONE or an error code.
  [[nodiscard]] int step() { return problem_ != SQLITE_OK ? problem_ : sqlite3_step(statement_); }
  // Ends the read transaction of a statement that is not stepped to its end.
  void finish() { sqlite3_reset(statement_); }

  [[nodiscard]] bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  [[nodiscard]] std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  [[nodiscard]] std::optional<std::int64_t> optional_integer(int column) const {
    return is_null(column) ? std::nullopt : std::optional(integer(column));
  }
  [[nodiscard]] std::string text(int column) const {
    const unsigned char* const data = sqlite3_column_text(statement_, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return data ? std::string(data, data + size) : std::string();
  }
  [[nodiscard]] std::span<const std::uint8_t> blob(int column) const {
    const void* const data = sqlite3_column_blob(statement_, column);
    return {static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  Statement& keep(int outcome) {
    if (problem_ == SQLITE_OK) problem_ = outcome;
    ++next_;
    return *this;
  }
  sqlite3_stmt* statement_ = nullptr;
  int next_ = 1;
  int problem_ = SQLITE_OK;
};

}  // namespace postern::store
