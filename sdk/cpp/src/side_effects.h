// Side effects through the ledger: see fettle/sdk/side_effect.h for the states.
#pragma once

#include <functional>
#include <string>

#include "caller.h"
#include "fettle/sdk/side_effect.h"

namespace fettle::sdk {

// The run on whose behalf it happens.
struct EffectOwner {
  std::string run_id;
  Json fence;
  std::stop_token stop;
  std::function<std::optional<Error>()> stop_reason;
};

// Used by many threads at once.
class SideEffects {
 public:
  explicit SideEffects(Caller& caller) : caller_(caller) {}
  Result<SideEffectResult> run(const SideEffect& effect, const Perform& perform, const Verify& verify,
                               const EffectOwner& owner);

 private:
  Result<SideEffectResult> perform(const std::string& id, const std::string& what, const Perform& perform,
                                   const Verify& verify);
  // The earlier try's fate: a result when it is visible, nothing when it is certainly absent.
  Result<std::optional<SideEffectResult>> settle_earlier(const std::string& what, const Json& reserved,
                                                         const Verify& verify);
  Result<Json> reserve(const SideEffect& effect, const EffectOwner& owner);
  Result<SideEffectResult> commit(const std::string& id, const Performed& performed);
  void release(const std::string& id, std::string_view reason);
  Result<Json> post(const std::string& id, std::string_view verb, const Json& body);

  Caller& caller_;
};

}  // namespace fettle::sdk
