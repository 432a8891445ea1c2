// One request as JSON: parsed, taken apart into resources and scopes, its items handed to the reader of their signal.
//
//   decode_json_request<SpanReader>(body, limits, out);
//
// A reader of items names its members of the envelope (kResources, kScopes, kItems) and has size() and read().
// Private to the room.
#pragma once

#include <simdjson.h>

#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "otlp/json_parser.h"
#include "otlp/json_reader.h"

namespace fettle::otlp {

// The envelope that all signals share: resources, scopes in them, items in those.
template <class Items>
class JsonEnvelope {
 public:
  JsonEnvelope(JsonReader& json, Items& items) : json_(json), common_(json.common), items_(items) {}

  void request(dom::element element) {
    JsonReader::List resources;
    json_.members(element, "the request", [&](dom::element value) {
      if (json_.is(Items::kResources)) resources = json_.list(value);
    });
    if (!resources) return;
    for (const dom::element resource : *resources) resource_items(resource);
  }

 private:
  void resource_items(dom::element element) {
    const Assembler::Mark mark = json_.assembler.mark();
    const std::size_t kept = items_.size();
    const std::size_t scopes_before = common_.scopes.size();
    std::optional<dom::element> content;
    JsonReader::List scopes;
    Resource resource;
    json_.members(element, Items::kResources, [&](dom::element value) {
      if (json_.is("resource")) {
        content = value;
      } else if (json_.is(Items::kScopes)) {
        scopes = json_.list(value);
      } else if (json_.is("schemaUrl")) {
        resource.schema_url = json_.string(value);
      }
    });
    if (content) read_resource(*content, resource);
    const auto index = static_cast<std::uint32_t>(common_.resources.size());
    common_.resources.push_back(resource);
    if (scopes) {
      for (const dom::element scope : *scopes) scope_items(scope, index);
    }
    if (items_.size() == kept) {
      common_.scopes.resize(scopes_before);
      common_.resources.pop_back();
      json_.assembler.rewind(mark);
    }
  }

  void scope_items(dom::element element, std::uint32_t resource) {
    const Assembler::Mark mark = json_.assembler.mark();
    const std::size_t kept = items_.size();
    std::optional<dom::element> content;
    JsonReader::List items;
    Scope scope;
    json_.members(element, Items::kScopes, [&](dom::element value) {
      if (json_.is("scope")) {
        content = value;
      } else if (json_.is(Items::kItems)) {
        items = json_.list(value);
      } else if (json_.is("schemaUrl")) {
        scope.schema_url = json_.string(value);
      }
    });
    if (content) read_scope(*content, scope);
    const auto index = static_cast<std::uint32_t>(common_.scopes.size());
    common_.scopes.push_back(scope);
    if (items) {
      for (const dom::element item : *items) items_.read(item, resource, index);
    }
    if (items_.size() == kept) {
      common_.scopes.pop_back();
      json_.assembler.rewind(mark);
    }
  }

  void read_resource(dom::element element, Resource& resource) {
    JsonReader::List attributes;
    JsonReader::List entities;
    json_.members(element, "Resource", [&](dom::element value) {
      if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        resource.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("entityRefs")) {
        entities = json_.list(value);
      }
    });
    resource.attributes = json_.attributes(attributes, resource.dropped_attributes_count);
    const std::size_t first = common_.entity_refs.size();
    if (entities) {
      for (const dom::element entity : *entities) read_entity(entity);
    }
    resource.entity_refs = since(common_.entity_refs, first);
  }

  void read_entity(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List id_keys;
    JsonReader::List description_keys;
    EntityRef entity;
    json_.members(element, "EntityRef", [&](dom::element value) {
      if (json_.is("schemaUrl")) {
        entity.schema_url = json_.string(value);
      } else if (json_.is("type")) {
        entity.type = json_.string(value);
      } else if (json_.is("idKeys")) {
        id_keys = json_.list(value);
      } else if (json_.is("descriptionKeys")) {
        description_keys = json_.list(value);
      }
    });
    entity.id_keys = read_strings(id_keys);
    entity.description_keys = read_strings(description_keys);
    common_.entity_refs.push_back(entity);
  }

  Range read_strings(const JsonReader::List& strings) {
    const std::size_t first = common_.values.size();
    if (strings) {
      for (const dom::element text : *strings) {
        json_.assembler.check_size();
        common_.values.push_back(Value::of_string(json_.string(text)));
      }
    }
    return since(common_.values, first);
  }

  void read_scope(dom::element element, Scope& scope) {
    JsonReader::List attributes;
    json_.members(element, "InstrumentationScope", [&](dom::element value) {
      if (json_.is("name")) {
        scope.name = json_.string(value);
      } else if (json_.is("version")) {
        scope.version = json_.string(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        scope.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      }
    });
    scope.attributes = json_.attributes(attributes, scope.dropped_attributes_count);
  }

  JsonReader& json_;
  Common& common_;
  Items& items_;
};

template <class Items, class Request>
Result<void> decode_json_request(std::string_view body, const DecodeLimits& limits, Request& out) {
  clear(out);
  if (body.empty()) return fail(ErrorCode::kInvalidArgument, "in the request: expected JSON, found nothing");
  if (body.size() > simdjson::SIMDJSON_MAXSIZE_BYTES) return fail(ErrorCode::kTooLarge, "a request of 4 GiB or more");
  std::optional<Error> error;
  try {
    ParserLease parser;
    dom::element root;
    const simdjson::error_code code = parser.parse(body).get(root);
    if (code == simdjson::MEMALLOC) throw std::bad_alloc();
    if (code != simdjson::SUCCESS) {
      throw DecodeError{ErrorCode::kInvalidArgument, "the request", simdjson::error_message(code)};
    }
    JsonReader json(out, limits, body.size());
    Items items(json, out);
    JsonEnvelope<Items>(json, items).request(root);
  } catch (const DecodeError& thrown) {
    error = error_of(thrown, {});
  } catch (const std::bad_alloc&) {
    error = Error(ErrorCode::kResourceExhausted, "no memory left to decode a request");
  }
  if (!error) return {};
  clear(out);
  return std::unexpected(*std::move(error));
}

}  // namespace fettle::otlp
