#include "ledger/idempotency.h"

#include <fmt/format.h>

#include "db/transaction.h"
#include "ledger/hash.h"
#include "ledger/packing.h"

namespace fettle::ledger {
namespace {

constexpr std::size_t kFingerprintBytesMax = 128;

// A key of one length, whatever the path's; lengths in front, so that no two scopes run together.
Digest hash_of(const IdempotencyKey& key) {
  std::string packed;
  for (const std::string* part : {&key.actor, &key.method, &key.path, &key.key}) pack_text(packed, *part);
  return sha256(packed);
}

Result<void> check(const IdempotencyKey& key, std::string_view fingerprint) {
  if (key.key.empty() || key.key.size() > kIdempotencyKeyBytesMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("an idempotency key has 1 to {} bytes, not {}", kIdempotencyKeyBytesMax, key.key.size()));
  }
  if (fingerprint.empty() || fingerprint.size() > kFingerprintBytesMax) {
    return fail(ErrorCode::kInvalidArgument, "an idempotency fingerprint has 1 to 128 bytes");
  }
  return {};
}

}  // namespace

Result<Begun> begin(db::Transaction& tx, const Scope& scope, const IdempotencyKey& key, std::string_view fingerprint,
                    UnixNanos now, const IdempotencyOptions& options) {
  if (auto fits = check(key, fingerprint); !fits) return std::unexpected(fits.error());
  const Digest hash = hash_of(key);
  const db::BlobView key_hash{bytes_of(hash)};
  const UnixNanos running_until = now + std::chrono::nanoseconds(options.running_max).count();
  const UnixNanos expires_at = now + std::chrono::nanoseconds(options.keep).count();
  auto inserted = tx.execute(
      "INSERT INTO idempotency_keys (workspace, key_hash, fingerprint, running_until, expires_at) VALUES ($1, $2, $3, "
      "$4, "
      "$5) ON CONFLICT (workspace, key_hash) DO NOTHING",
      {scope.workspace, key_hash, fingerprint, running_until, expires_at});
  if (!inserted) return std::unexpected(inserted.error());
  Begun begun;
  if (*inserted == 1) return begun;

  std::string stored_fingerprint;
  UnixNanos stored_until = 0;
  UnixNanos stored_expiry = 0;
  std::optional<std::int32_t> status;
  std::optional<std::string> headers;
  std::optional<db::Blob> body;
  auto found = tx.fetch(
      "SELECT fingerprint, running_until, expires_at, status, headers, body FROM idempotency_keys WHERE workspace = $1 "
      "AND "
      "key_hash = $2",
      {scope.workspace, key_hash}, stored_fingerprint, stored_until, stored_expiry, status, headers, body);
  if (!found) return std::unexpected(found.error());
  if (!*found) return fail(ErrorCode::kUnavailable, "an idempotency key went while it was looked at");

  const bool is_expired = stored_expiry <= now;
  const bool is_abandoned = !status && stored_until <= now;
  if (!is_expired && stored_fingerprint != fingerprint) {
    begun.state = IdempotencyState::kConflict;
    begun.stored_fingerprint = std::move(stored_fingerprint);
    begun.given_fingerprint = fingerprint;
    return begun;
  }
  if (!is_expired && status) {
    begun.state = IdempotencyState::kReplay;
    begun.answer = {.status = *status, .headers = headers.value_or(""), .body = body ? std::move(body->bytes) : ""};
    return begun;
  }
  if (!is_expired && !is_abandoned) {
    begun.state = IdempotencyState::kRunning;
    begun.retry_after = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(stored_until - now));
    return begun;
  }
  auto taken = tx.execute(
      "UPDATE idempotency_keys SET fingerprint = $3, running_until = $4, expires_at = $5, status = NULL, headers = "
      "NULL, "
      "body = NULL WHERE workspace = $1 AND key_hash = $2",
      {scope.workspace, key_hash, fingerprint, running_until, expires_at});
  if (!taken) return std::unexpected(taken.error());
  begun.recovered = !is_expired;
  return begun;
}

Result<void> finish(db::Transaction& tx, const Scope& scope, const IdempotencyKey& key, std::string_view fingerprint,
                    const StoredAnswer& answer) {
  const std::size_t size = answer.headers.size() + answer.body.size();
  if (size > kStoredAnswerBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("an answer of {} bytes cannot be kept for replay, at most {}", size,
                                                  kStoredAnswerBytesMax));
  }
  const Digest hash = hash_of(key);
  auto kept = tx.execute(
      "UPDATE idempotency_keys SET status = $4, headers = $5, body = $6 WHERE workspace = $1 AND key_hash = $2 AND "
      "fingerprint = $3 AND status IS NULL",
      {scope.workspace, db::BlobView{bytes_of(hash)}, fingerprint, answer.status, answer.headers,
       db::BlobView{answer.body}});
  if (!kept) return std::unexpected(kept.error());
  if (*kept == 0) return fail(ErrorCode::kConflict, "an idempotency key was not begun, or is finished already");
  return {};
}

Result<void> forget(db::Transaction& tx, const Scope& scope, const IdempotencyKey& key, std::string_view fingerprint) {
  const Digest hash = hash_of(key);
  auto gone = tx.execute(
      "DELETE FROM idempotency_keys WHERE workspace = $1 AND key_hash = $2 AND fingerprint = $3 AND status IS NULL",
      {scope.workspace, db::BlobView{bytes_of(hash)}, fingerprint});
  if (!gone) return std::unexpected(gone.error());
  return {};
}

std::string payload_fingerprint(std::string_view payload) { return to_hex(sha256(payload)); }

IdempotencyCounters::IdempotencyCounters(metrics::Registry& registry)
    : replays_(registry.counter("idempotency_replay_total", "Requests answered from an earlier one with their key.")),
      conflicts_(registry.counter("idempotency_conflict_total", "Requests whose key was used with another payload.")) {}

void IdempotencyCounters::count(IdempotencyState state) {
  if (state == IdempotencyState::kReplay) replays_.add();
  if (state == IdempotencyState::kConflict) conflicts_.add();
}

Result<std::int64_t> purge_idempotency_keys(db::Transaction& tx, UnixNanos now, std::int32_t rows_max) {
  return tx.execute(
      "DELETE FROM idempotency_keys WHERE (workspace, key_hash) IN (SELECT workspace, key_hash FROM idempotency_keys "
      "WHERE "
      "expires_at <= $1 ORDER BY expires_at LIMIT $2)",
      {now, rows_max});
}

}  // namespace fettle::ledger
