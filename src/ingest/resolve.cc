#include "ingest/resolve.h"

#include <fmt/format.h>

#include <algorithm>

namespace fettle::ingest {
namespace {

constexpr std::size_t kIdentifierBytesMax = 512;  // longer values are attributes of a strange name, not identifiers

}  // namespace

void IdentifierResolver::begin(otlp::Common& request, const std::vector<const KeyInfo*>& infos) {
  request_ = &request;
  infos_ = &infos;
  resources_.resize(request.resources.size());
  scopes_.resize(request.scopes.size());
  for (std::size_t i = 0; i < resources_.size(); ++i) {
    resources_[i].ids.clear();
    add(request.resources[i].attributes, resources_[i]);
  }
  for (std::size_t i = 0; i < scopes_.size(); ++i) {
    scopes_[i].ids.clear();
    add(request.scopes[i].attributes, scopes_[i]);
  }
}

void IdentifierResolver::add(otlp::Range attributes, Layer& layer) {
  for (std::uint32_t i = attributes.first; i < attributes.first + attributes.count; ++i) {
    const telemetry::IdentifierAlias* alias = (*infos_)[i]->identifier;
    if (alias == nullptr) continue;
    if (layer.ids.has(alias->kind) && layer.ranks[alias->kind] <= alias->rank) continue;
    const otlp::Value& value = request_->attributes[i].value;
    std::string_view text;
    switch (value.type) {
      case otlp::ValueType::kString: text = value.text(); break;
      case otlp::ValueType::kInt: text = request_->keep(fmt::to_string(value.integer)); break;
      case otlp::ValueType::kBool: text = value.boolean ? "true" : "false"; break;
      case otlp::ValueType::kDouble: text = request_->keep(fmt::format("{}", value.number)); break;
      case otlp::ValueType::kEmpty:
      case otlp::ValueType::kBytes:
      case otlp::ValueType::kArray:
      case otlp::ValueType::kMap: break;
    }
    if (text.empty() || text.size() > kIdentifierBytesMax) continue;
    layer.ids.set(alias->kind, text);
    layer.ranks[alias->kind] = alias->rank;
  }
}

void IdentifierResolver::resolve(otlp::Range attributes, std::uint32_t resource, std::uint32_t scope,
                                 telemetry::ResolvedIds& out) {
  own_.ids.clear();
  add(attributes, own_);
  out.clear();
  if (resource < resources_.size()) {
    resources_[resource].ids.for_each([&](auto kind, std::string_view value) { out.set(kind, value); });
  }
  if (scope < scopes_.size()) {
    scopes_[scope].ids.for_each([&](auto kind, std::string_view value) { out.set(kind, value); });
  }
  own_.ids.for_each([&](auto kind, std::string_view value) { out.set(kind, value); });
}

}  // namespace fettle::ingest
