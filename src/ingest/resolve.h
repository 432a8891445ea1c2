// The canonical identifiers of each span, record and LLM call of a request, from its own attributes, then its scope's,
// then its resource's.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "ingest/attribute_keys.h"
#include "otlp/model.h"
#include "telemetry/identifiers.h"

namespace fettle::ingest {

// One thread at a time. Resolved values are views into the request or into this resolver, valid until the next begin().
class IdentifierResolver {
 public:
  // Resolves resources and scopes once for the request.
  void begin(otlp::Common& request, const std::vector<const KeyInfo*>& infos);
  // The identifiers of an item with these attributes.
  void resolve(otlp::Range attributes, std::uint32_t resource, std::uint32_t scope, telemetry::ResolvedIds& out);

 private:
  struct Layer {
    telemetry::ResolvedIds ids;
    std::array<std::uint8_t, telemetry::kIdentifierMax> ranks;
  };
  void add(otlp::Range attributes, Layer& layer);

  otlp::Common* request_ = nullptr;
  const std::vector<const KeyInfo*>* infos_ = nullptr;
  std::vector<Layer> resources_;
  std::vector<Layer> scopes_;
  Layer own_;
};

}  // namespace fettle::ingest
