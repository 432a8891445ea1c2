// One request as protobuf: taken apart into resources and scopes, its items handed to the reader of their signal.
//
//   decode_protobuf_request<SpanReader>(body, limits, out);
//
// Private to the room.
#pragma once

#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "otlp/protobuf_values.h"

namespace fettle::otlp {

// The envelope that all signals share: resources, scopes in them, items in those. `Items` reads one item and knows how
// many were kept. Resources and scopes get their place before their items and their content after them, because on
// the wire it may come in any order.
template <class Items>
class ProtobufEnvelope {
 public:
  ProtobufEnvelope(ValueReader& values, Items& items) : values_(values), common_(values.common), items_(items) {}

  void request(std::string_view body) {
    Reader reader(body, "the request");
    while (reader.next()) {
      if (reader.tag() == tag(1, kLength)) {
        resource_items(reader.bytes());
      } else {
        reader.skip();
      }
    }
  }

 private:
  void resource_items(std::string_view bytes) {
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t kept = items_.size();
    const std::size_t scopes = common_.scopes.size();
    const std::size_t index = common_.resources.size();
    common_.resources.emplace_back();
    std::string_view resource;
    Reader reader(bytes, "a resource's items");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.merge(resource, reader.bytes()); break;
        case tag(2, kLength): scope_items(reader.bytes(), static_cast<std::uint32_t>(index)); break;
        case tag(3, kLength): common_.resources[index].schema_url = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    read_resource(resource, common_.resources[index]);
    if (items_.size() == kept) {
      common_.scopes.resize(scopes);
      common_.resources.pop_back();
      values_.assembler.rewind(mark);
    }
  }

  void scope_items(std::string_view bytes, std::uint32_t resource) {
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t kept = items_.size();
    const std::size_t index = common_.scopes.size();
    common_.scopes.emplace_back();
    std::string_view scope;
    Reader reader(bytes, "a scope's items");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.merge(scope, reader.bytes()); break;
        case tag(2, kLength): items_.read(reader.bytes(), resource, static_cast<std::uint32_t>(index)); break;
        case tag(3, kLength): common_.scopes[index].schema_url = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    read_scope(scope, common_.scopes[index]);
    if (items_.size() == kept) {
      common_.scopes.pop_back();
      values_.assembler.rewind(mark);
    }
  }

  void read_resource(std::string_view bytes, Resource& resource) {
    const std::size_t first = common_.attributes.size();
    const std::size_t first_ref = common_.entity_refs.size();
    std::uint32_t cut = 0;
    Reader reader(bytes, "Resource");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): values_.attribute(reader, first, cut); break;
        case tag(2, kVarint): resource.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(3, kLength): read_entity(reader.bytes()); break;
        default: reader.skip();
      }
    }
    resource.attributes = values_.close(first, cut, resource.dropped_attributes_count);
    resource.entity_refs = since(common_.entity_refs, first_ref);
  }

  void read_entity(std::string_view bytes) {
    values_.assembler.count_part();
    EntityRef& entity = common_.entity_refs.emplace_back();
    Reader reader(bytes, "EntityRef");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): entity.schema_url = values_.assembler.string(reader.bytes()); break;
        case tag(2, kLength): entity.type = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    entity.id_keys = read_entity_keys(bytes, tag(3, kLength));
    entity.description_keys = read_entity_keys(bytes, tag(4, kLength));
  }

  // A pass of its own, because both lists are parts of one vector and may come mixed.
  Range read_entity_keys(std::string_view bytes, std::uint32_t wanted) {
    const std::size_t first = common_.values.size();
    Reader reader(bytes, "EntityRef");
    while (reader.next()) {
      if (reader.tag() != wanted) {
        reader.skip();
        continue;
      }
      values_.assembler.check_size();
      common_.values.push_back(Value::of_string(values_.assembler.string(reader.bytes())));
    }
    return since(common_.values, first);
  }

  void read_scope(std::string_view bytes, Scope& scope) {
    const std::size_t first = common_.attributes.size();
    std::uint32_t cut = 0;
    Reader reader(bytes, "InstrumentationScope");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): scope.name = values_.assembler.string(reader.bytes()); break;
        case tag(2, kLength): scope.version = values_.assembler.string(reader.bytes()); break;
        case tag(3, kLength): values_.attribute(reader, first, cut); break;
        case tag(4, kVarint): scope.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
    scope.attributes = values_.close(first, cut, scope.dropped_attributes_count);
  }

  ValueReader& values_;
  Common& common_;
  Items& items_;
};

template <class Items, class Request>
Result<void> decode_protobuf_request(std::string_view body, const DecodeLimits& limits, Request& out) {
  // Sizes and offsets of the model are 32 bits.
  constexpr std::size_t kBodyBytesMax = 0xFFFFFFFF;
  clear(out);
  if (body.size() > kBodyBytesMax) return fail(ErrorCode::kTooLarge, "a request of more than 4 GiB");
  std::optional<Error> error;
  try {
    ValueReader values(out, limits);
    Items items(values, out);
    ProtobufEnvelope<Items>(values, items).request(body);
  } catch (const DecodeError& thrown) {
    error = error_of(thrown, body);
  } catch (const std::bad_alloc&) {
    error = Error(ErrorCode::kResourceExhausted, "no memory left to decode a request");
  }
  if (!error) return {};
  clear(out);
  return std::unexpected(*std::move(error));
}

}  // namespace fettle::otlp
