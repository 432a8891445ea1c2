// Signatures by the Standard Webhooks scheme: HMAC-SHA256 over "<id>.<unix seconds>.<body>".
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/rng.h"
#include "core/secret.h"

namespace fettle::notify {

// 32 random bytes. `rng` must be fit for secrets.
Secret make_webhook_secret(Rng& rng);
// As it is handed out: "whsec_" and the bytes in base64.
std::string webhook_secret_text(const Secret& secret);

// The value of `webhook-signature`: "v1,<base64>" for each secret, separated by blanks; a receiver accepts any of them.
std::string sign_webhook(std::span<const Secret> secrets, std::string_view id, std::int64_t unix_seconds,
                         std::string_view body);

}  // namespace fettle::notify
