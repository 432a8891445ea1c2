#include "e2e/schemas.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

namespace fettle::e2e {
namespace {

// A name as it stands in a JSON pointer.
std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

}  // namespace

struct Schemas::Parsed {
  boost::json::value root;
  valijson::Schema schema;
};

Schemas::Schemas(std::string_view openapi)
    : document_(boost::json::parse(boost::json::string_view(openapi.data(), openapi.size()))) {}
Schemas::~Schemas() = default;

std::string Schemas::check(const std::string& reference, const boost::json::value& body) const {
  std::unique_ptr<Parsed>& parsed = parsed_[reference];
  if (parsed == nullptr) {
    parsed = std::make_unique<Parsed>();
    // The document itself is the root, so that the references inside its schemas are found.
    parsed->root = document_;
    parsed->root.as_object()["allOf"] = boost::json::array{boost::json::object{{"$ref", reference}}};
    valijson::SchemaParser parser;
    try {
      parser.populateSchema(valijson::adapters::BoostJsonAdapter(parsed->root), parsed->schema);
    } catch (const std::exception& error) {
      parsed.reset();
      return fmt::format("no schema at {}: {}", reference, error.what());
    }
  }
  valijson::Validator validator;
  valijson::ValidationResults results;
  if (validator.validate(parsed->schema, valijson::adapters::BoostJsonAdapter(body), &results)) return "";
  std::string what;
  valijson::ValidationResults::Error error;
  while (results.popError(error)) {
    for (const std::string& part : error.context) what += part;
    what += ": " + error.description + "\n";
  }
  return what;
}

std::string Schemas::errors_of(std::string_view path, std::string_view method, int status,
                               const boost::json::value& body) const {
  return check(
      fmt::format("#/paths/{}/{}/responses/{}/content/application~1json/schema", escaped(path), method, status), body);
}

std::string Schemas::problem_errors_of(const boost::json::value& body) const {
  return check("#/components/schemas/Problem", body);
}

}  // namespace fettle::e2e
