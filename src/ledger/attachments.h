// Proof in the form of bytes (a screenshot, a signature, a PDF), stored by what it is: the SHA-256 of its content.
//
// Kept in the ledger's own table and not in a folder: it commits with the record that refers to it, replicas and
// backups see it without sharing a disk, and its size is bounded so that the store can bear it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "core/scope.h"

namespace fettle::db {
class Reader;
class Transaction;
}  // namespace fettle::db

namespace fettle::ledger {

constexpr std::size_t kAttachmentBytesMax = 4 << 20;

struct Attachment {
  std::string client_id;   // whose it is; empty: the workspace's
  std::string media_type;  // image/png
  std::string content;     // empty: it was erased, and its hash is what remains
  UnixNanos created_at = 0;
};

// Its reference, "sha256:<hex>", for the proof or evidence of a record. Storing the same content again changes nothing.
// kTooLarge over kAttachmentBytesMax, kInvalidArgument when empty or for a malformed media type, kPermissionDenied for
// a client outside `scope`. The content is stored as it is: nobody looks into an image for secrets.
Result<std::string> store_attachment(db::Transaction& tx, const Scope& scope, const Attachment& attachment);

// Nothing when there is none in this scope. kDataLoss when the stored bytes are not those of the reference,
// kInvalidArgument for a malformed one.
Result<std::optional<Attachment>> load_attachment(db::Reader& reader, const Scope& scope, std::string_view reference);

// Whether it is there, without reading it.
Result<bool> has_attachment(db::Reader& reader, const Scope& scope, std::string_view reference);

// Of a client: at most `rows_max` contents go, the hashes stay, so that records which refer to them still say that
// there was proof and which. How many. Storing the same content again brings it back. kPermissionDenied outside of
// scope.
Result<std::int64_t> erase_client_attachments(db::Transaction& tx, const Scope& scope, std::string_view client,
                                              std::int32_t rows_max);

// True when it was there. The records that refer to it stay as they are.
Result<bool> erase_attachment(db::Transaction& tx, const Scope& scope, std::string_view reference);

}  // namespace fettle::ledger
