// How commands show what the API answered: JSON for scripts with --json, tables and sentences for people.
//
// Each returns the exit code: 0, or 1 after it has said what went wrong on standard error.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/operator_commands.h"
#include "server/show.h"

namespace fettle::server {

// The first `limit` items of a list, page after page: one line of JSON each, or `row` of each in `table`. `none` is
// said where there are no items, `heading`, unless empty, above those that there are.
int print_list(const RemoteCommand& how, const std::string& target, std::size_t limit, Table table,
               const std::function<std::vector<Cell>(const boost::json::object& item)>& row, std::string_view none,
               std::string_view heading = {});

// What came of a change: its answer as JSON, or `said`.
int print_answer(const RemoteCommand& how, const Result<boost::json::value>& answer, std::string_view said);

}  // namespace fettle::server
