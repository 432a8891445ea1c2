#include "server/print_answer.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <cstdio>

namespace fettle::server {

namespace json = boost::json;

int print_list(const RemoteCommand& how, const std::string& target, std::size_t limit, Table table,
               const std::function<std::vector<Cell>(const json::object& item)>& row, std::string_view none,
               std::string_view heading) {
  Remote remote(how.remote);
  auto done = remote.items(target, limit, [&](const json::object& item) {
    if (how.json) {
      fmt::print("{}\n", json::serialize(item));
    } else {
      table.row(row(item));
    }
    return true;
  });
  if (!done) return complain(done.error());
  if (how.json) return 0;
  if (table.empty()) {
    fmt::print("{}\n", none);
    return 0;
  }
  if (!heading.empty()) fmt::print("{}\n", heading);
  table.print();
  return 0;
}

int print_answer(const RemoteCommand& how, const Result<json::value>& answer, std::string_view said) {
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    fmt::print("{}\n", said);
  }
  return 0;
}

}  // namespace fettle::server
