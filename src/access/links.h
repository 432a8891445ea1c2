// Links that work once: the first owner's, an invitation, a new password. Stored hashed, expiring.
//
//   NewLink made{.id = make_identifier("lnk_", rng), .credential = make_credential(CredentialKind::kLink, rng)};
//   invite(tx, change, made, "jon@acme.example", {.role = Role::kManager});
//   … tell them PUBLIC_URL + link_path(made.credential) …
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/change.h"
#include "access/credential.h"
#include "access/members.h"

namespace fettle::access {

enum class LinkPurpose : std::uint8_t { kFirstOwner = 1, kInvitation = 2, kPasswordReset = 3 };  // stored
std::string_view to_string(LinkPurpose purpose);

constexpr std::int64_t kOpenLinksMax = 1000;  // of a workspace

struct NewLink {
  std::string id;
  std::string credential;
  std::chrono::seconds lifetime = std::chrono::hours(24);
};

struct Link {
  WorkspaceId workspace;
  std::string id;
  LinkPurpose purpose = LinkPurpose::kInvitation;
  std::string email;    // of an invitation or a reset; empty for the first owner, who names one
  std::string user_id;  // of a reset
  Membership membership;
  std::string created_by;
  UnixNanos created_at = 0;
  UnixNanos expires_at = 0;
};

// For a workspace in which nobody is an owner yet, by the system alone; earlier ones stop working. kConflict when there
// is an owner.
Result<void> make_first_owner_link(db::Transaction& tx, const Change& change, const NewLink& made);
// Into the actor's workspace, with at most what the actor may give.
Result<void> invite(db::Transaction& tx, const Change& change, const NewLink& made, const std::string& email,
                    const Membership& membership);
// Whoever has the link takes over the account: so only for one that belongs to the actor's workspace and to no other,
// and only by who may give what its member has (a role not above the actor's, payloads that the actor sees); the system
// may for any.
Result<void> make_password_reset(db::Transaction& tx, const Change& change, const NewLink& made,
                                 const std::string& user_id);

// Open ones, newest first.
Result<std::vector<Link>> list_links(db::Reader& reader, const Scope& scope, UnixNanos now);
Result<void> revoke_link(db::Transaction& tx, const Change& change, const std::string& id);

// The open links that a person (or token) made in the actor's workspace, when their rights end or shrink: what they
// could give yesterday is not theirs to give. Each is audited with `reason`.
Result<void> revoke_links_made_by(db::Transaction& tx, const Change& change, const std::string& actor_id,
                                  std::string_view reason);
// Those that were made for a person who leaves: resets of their password, invitations to their address.
Result<void> revoke_links_made_for(db::Transaction& tx, const Change& change, const std::string& user_id,
                                   const std::string& email, std::string_view reason);
// Both, in every workspace: for an account that is closed everywhere.
Result<void> revoke_links_of_account(db::Transaction& tx, const Change& change, const std::string& user_id,
                                     const std::string& email, std::string_view reason);

// The rights that somebody outside of the ledger has now, by the name under which audits know them: the tokens of the
// configuration.
using GrantOutside = std::function<std::optional<Grant>(const WorkspaceId&, std::string_view actor_id)>;
// Whether who made the link could make it now: they are still here, and may still give what it gives. For a reset, what
// its member has by now counts. kNotFound, as if it had been revoked.
Result<void> check_maker(db::Reader& reader, const Link& link, UnixNanos now, const GrantOutside& outside);

// What a link is for, without using it. kNotFound for one that is unknown, used, revoked or expired.
Result<Link> find_link(db::Reader& reader, std::string_view credential, UnixNanos now);
// Uses it up: of many at once exactly one succeeds.
Result<Link> take_link(db::Transaction& tx, std::string_view credential, UnixNanos now);

// Behind the '#', which browsers do not send: it stays out of access logs and Referer headers.
std::string link_path(std::string_view credential);

}  // namespace fettle::access
