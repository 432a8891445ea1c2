#include "ledger/attachments.h"

#include <fmt/format.h>

#include <algorithm>

#include "db/transaction.h"
#include "ledger/hash.h"

namespace fettle::ledger {
namespace {

constexpr std::string_view kScheme = "sha256:";
constexpr std::size_t kMediaTypeBytesMax = 128;

Result<std::string> digits_of(std::string_view reference) {
  if (!reference.starts_with(kScheme) || !digest_of_hex(reference.substr(kScheme.size()))) {
    return fail(ErrorCode::kInvalidArgument, "an attachment is named sha256: and 64 digits");
  }
  return std::string(reference.substr(kScheme.size()));
}

bool may_see(const Scope& scope, std::string_view client) {
  return scope.clients.empty() ||
         std::ranges::any_of(scope.clients, [&](const ClientId& id) { return id.value == client; });
}

// The clients under which the same content is kept and that the scope may see.
Result<std::vector<std::string>> owners(db::Reader& reader, const Scope& scope, const std::string& digits) {
  auto rows =
      reader.query("SELECT client_id FROM audit_attachments WHERE workspace = $1 AND sha256 = $2 ORDER BY client_id",
                   {scope.workspace, digits});
  if (!rows) return std::unexpected(rows.error());
  std::vector<std::string> clients;
  for (const db::Row row : *rows) {
    auto client = row.get<std::string>(0);
    if (!client) return std::unexpected(client.error());
    if (may_see(scope, *client)) clients.push_back(std::move(*client));
  }
  return clients;
}

}  // namespace

Result<std::string> store_attachment(db::Transaction& tx, const Scope& scope, const Attachment& attachment) {
  if (attachment.content.empty()) return fail(ErrorCode::kInvalidArgument, "an attachment is not empty");
  if (attachment.content.size() > kAttachmentBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("an attachment of {} bytes, at most {}", attachment.content.size(), kAttachmentBytesMax));
  }
  const bool is_type = attachment.media_type.size() <= kMediaTypeBytesMax && attachment.media_type.contains('/') &&
                       std::ranges::all_of(attachment.media_type, [](char c) { return c > ' ' && c < 0x7F; });
  if (!is_type) return fail(ErrorCode::kInvalidArgument, "an attachment has a media type such as image/png");
  if (!may_see(scope, attachment.client_id)) {
    return fail(ErrorCode::kPermissionDenied, "attachment: the client is outside the caller's");
  }
  const std::string digits = to_hex(sha256(attachment.content));
  auto stored = tx.execute(
      "INSERT INTO audit_attachments (workspace, sha256, client_id, media_type, created_at, content) VALUES ($1, $2, "
      "$3, $4, "
      "$5, $6) ON CONFLICT (workspace, sha256, client_id) DO UPDATE SET content = excluded.content, media_type = "
      "excluded.media_type WHERE length(audit_attachments.content) = 0",
      {scope.workspace, digits, attachment.client_id, attachment.media_type, attachment.created_at,
       db::BlobView{attachment.content}});
  if (!stored) return std::unexpected(std::move(stored).error().within("storing an attachment"));
  return std::string(kScheme) + digits;
}

Result<std::optional<Attachment>> load_attachment(db::Reader& reader, const Scope& scope, std::string_view reference) {
  auto digits = digits_of(reference);
  if (!digits) return std::unexpected(digits.error());
  auto clients = owners(reader, scope, *digits);
  if (!clients) return std::unexpected(clients.error());
  if (clients->empty()) return std::nullopt;
  Attachment attachment;
  db::Blob content;
  // One client's may be erased, and the same of another still be there.
  for (const std::string& client : *clients) {
    auto found = reader.fetch(
        "SELECT client_id, media_type, created_at, content FROM audit_attachments WHERE workspace = $1 AND sha256 = $2 "
        "AND "
        "client_id = $3",
        {scope.workspace, *digits, client}, attachment.client_id, attachment.media_type, attachment.created_at,
        content);
    if (!found) return std::unexpected(found.error());
    if (!content.bytes.empty()) break;
  }
  if (content.bytes.empty()) return attachment;
  if (to_hex(sha256(content.bytes)) != *digits) {
    return fail(ErrorCode::kDataLoss, fmt::format("the content of {} is not what its name says", reference));
  }
  attachment.content = std::move(content.bytes);
  return attachment;
}

Result<bool> has_attachment(db::Reader& reader, const Scope& scope, std::string_view reference) {
  auto digits = digits_of(reference);
  if (!digits) return std::unexpected(digits.error());
  auto clients = owners(reader, scope, *digits);
  if (!clients) return std::unexpected(clients.error());
  return !clients->empty();
}

Result<std::int64_t> erase_client_attachments(db::Transaction& tx, const Scope& scope, std::string_view client,
                                              std::int32_t rows_max) {
  if (!may_see(scope, client)) {
    return fail(ErrorCode::kPermissionDenied, "attachment: the client is outside the caller's");
  }
  auto erased = tx.execute(
      "UPDATE audit_attachments SET content = $4 WHERE workspace = $1 AND client_id = $2 AND sha256 IN (SELECT sha256 "
      "FROM audit_attachments WHERE workspace = $1 AND client_id = $2 AND length(content) > 0 LIMIT $3)",
      {scope.workspace, client, rows_max, db::BlobView{}});
  if (!erased) return std::unexpected(std::move(erased).error().within("erasing attachments"));
  return *erased;
}

Result<bool> erase_attachment(db::Transaction& tx, const Scope& scope, std::string_view reference) {
  auto digits = digits_of(reference);
  if (!digits) return std::unexpected(digits.error());
  auto clients = owners(tx, scope, *digits);
  if (!clients) return std::unexpected(clients.error());
  for (const std::string& client : *clients) {
    auto gone = tx.execute("DELETE FROM audit_attachments WHERE workspace = $1 AND sha256 = $2 AND client_id = $3",
                           {scope.workspace, *digits, client});
    if (!gone) return std::unexpected(gone.error());
  }
  return !clients->empty();
}

}  // namespace fettle::ledger
