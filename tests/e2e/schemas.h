// The schemas of the OpenAPI document that the server serves, to hold its answers to. Not thread-safe.
#pragma once

#include <boost/json/value.hpp>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace fettle::e2e {

class Schemas {
 public:
  // `openapi` is the document as JSON text.
  explicit Schemas(std::string_view openapi);
  ~Schemas();

  // What is wrong with the JSON body of an answer, or empty.
  std::string errors_of(std::string_view path, std::string_view method, int status,
                        const boost::json::value& body) const;
  std::string problem_errors_of(const boost::json::value& body) const;

 private:
  struct Parsed;
  std::string check(const std::string& reference, const boost::json::value& body) const;

  boost::json::value document_;
  // By reference: reading a schema takes longer than using it.
  mutable std::map<std::string, std::unique_ptr<Parsed>> parsed_;
};

}  // namespace fettle::e2e
