// An engine without a database, for tests of the host: it answers by script and remembers what it was told.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/host/engine.h"

namespace fettle::engine_host {

// What a statement does. Statements without a script yield nothing and succeed.
struct FakeScript {
  std::vector<std::string> pieces;  // of a stream; joined for run()
  int fails_with = 0;               // after the pieces
  bool hangs = false;               // after the pieces, until a KILL names its tag
};

class FakeEngine final : public Engine {
 public:
  // Statements whose text, without the tag, begins with `prefix` follow the script.
  void script(std::string prefix, FakeScript script) {
    const std::lock_guard lock(mutex_);
    scripts_[std::move(prefix)] = std::move(script);
  }
  void ignore_kills() {
    const std::lock_guard lock(mutex_);
    ignores_kills_ = true;
  }
  Outcome<std::unique_ptr<Session>> connect() override {
    const std::lock_guard lock(mutex_);
    ++connects_;
    ++open_;
    return std::make_unique<FakeSession>(*this);
  }

  int connects() const { return read(connects_); }
  int open_sessions() const { return read(open_); }
  int running() const { return read(running_); }
  // All statements in order of arrival, tags and all.
  std::vector<std::string> statements() const {
    const std::lock_guard lock(mutex_);
    return statements_;
  }
  // Blocks until `count` statements hang.
  void await_running(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ >= count; });
  }
  void await_idle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0; });
  }
  // Blocks until a statement that begins with `prefix` has come.
  void await_statement(std::string_view prefix) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return std::any_of(statements_.begin(), statements_.end(),
                         [&](const auto& sql) { return sql.starts_with(prefix); });
    });
  }
  void release_all() {
    const std::lock_guard lock(mutex_);
    is_released_ = true;
    changed_.notify_all();
  }

 private:
  class FakeSession final : public Session {
   public:
    explicit FakeSession(FakeEngine& engine) : engine_(engine) {}
    ~FakeSession() override {
      const std::lock_guard lock(engine_.mutex_);
      --engine_.open_;
    }
    Outcome<Piece> run(const Call& call) override {
      if (auto opened = open_stream(call); !opened) return std::unexpected(opened.error());
      // As the real library: what a failed statement had begun to say comes before the next result.
      std::string all = leftover_;
      while (true) {
        auto piece = next();
        if (!piece) {
          leftover_ = all;
          return piece;
        }
        if (piece->bytes.empty()) break;
        all += piece->bytes;
      }
      leftover_.clear();
      return piece_of(all);
    }
    Outcome<void> open_stream(const Call& call) override {
      std::unique_lock lock(engine_.mutex_);
      const std::string sql(call.sql);
      engine_.statements_.push_back(sql);
      engine_.changed_.notify_all();
      tag_ = sql.starts_with("/*") ? sql.substr(0, sql.find("*/") + 3) : std::string();
      const std::string text = sql.substr(tag_.size());
      if (text.starts_with("KILL QUERY") && !engine_.ignores_kills_) {
        engine_.killed_.push_back(text);
        engine_.changed_.notify_all();
      }
      script_ = {};
      for (const auto& [prefix, script] : engine_.scripts_) {
        if (text.starts_with(prefix)) script_ = script;
      }
      at_ = 0;
      return {};
    }
    Outcome<Piece> next() override {
      if (at_ < script_.pieces.size()) return piece_of(script_.pieces[at_++]);
      if (script_.hangs) {
        std::unique_lock lock(engine_.mutex_);
        ++engine_.running_;
        engine_.changed_.notify_all();
        bool is_killed = false;
        engine_.changed_.wait(lock, [&] {
          for (const std::string& kill : engine_.killed_) is_killed = is_killed || kill.find(tag_) != std::string::npos;
          return is_killed || engine_.is_released_;
        });
        --engine_.running_;
        engine_.changed_.notify_all();
        if (is_killed)
          return std::unexpected(Failure{394, "Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)"});
      }
      if (script_.fails_with != 0) {
        return std::unexpected(
            Failure{script_.fails_with, "Code: " + std::to_string(script_.fails_with) + ". DB::Exception: as told"});
      }
      return Piece{};
    }

   private:
    static Piece piece_of(const std::string& text) {
      auto owner = std::make_shared<std::string>(text);
      return {.bytes = *owner, .counts = {.rows_read = 1}, .owner = owner};
    }
    FakeEngine& engine_;
    FakeScript script_;
    std::size_t at_ = 0;
    std::string tag_;
    std::string leftover_;
  };

  int read(const int& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, FakeScript> scripts_;
  std::vector<std::string> statements_;
  std::vector<std::string> killed_;
  int connects_ = 0;
  int open_ = 0;
  int running_ = 0;
  bool ignores_kills_ = false;
  bool is_released_ = false;
};

}  // namespace fettle::engine_host
