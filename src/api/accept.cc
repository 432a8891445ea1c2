#include "api/accept.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "access/authenticator.h"

namespace fettle::api {
namespace {

// Calls visit(name, weight) for each member of a list such as "gzip;q=0.5, br".
template <class Visit>
void each_member(std::string_view list, Visit&& visit) {
  while (!list.empty()) {
    const std::string_view member = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), member.size() + 1));
    double weight = 1;
    const std::size_t q = member.find("q=");
    if (q != std::string_view::npos && q > 0 && (member[q - 1] == ';' || member[q - 1] == ' ')) {
      if (std::from_chars(member.data() + q + 2, member.data() + member.size(), weight).ec != std::errc()) weight = 0;
    }
    visit(access::media_type_of(member), std::clamp(weight, 0.0, 1.0));
  }
}

}  // namespace

bool prefers_json(std::string_view accept) {
  double json = 0;
  double text = 0;
  bool is_json_first = true;
  each_member(accept, [&](const std::string& type, double weight) {
    if (type == "application/json") {
      json = std::max(json, weight);
    } else if (type == "text/plain" || type == "text/*" || type == "application/openmetrics-text") {
      if (json == 0) is_json_first = false;
      text = std::max(text, weight);
    }
  });
  return json > 0 && (json > text || (json == text && is_json_first));
}

}  // namespace fettle::api
