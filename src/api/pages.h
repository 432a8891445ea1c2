// How lists and identifier summaries look in answers, and how a page of one is asked for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/json_object.h"
#include "core/error.h"
#include "http/message.h"
#include "runs/page.h"
#include "telemetry/reader.h"

namespace fettle::api {

// Appends "<name>":[rows],"next_cursor":…,"partial":… (no braces).
void append_page(std::string& out, std::string_view name, const telemetry::Page& page);
// `limit` and `cursor` of a list of the work half.
Result<runs::PageRequest> page_of_list(const http::Query& query, std::uint32_t limit_usual = 200);
// {"items":[…],"next_cursor":…}: `append` is called for each item with the text to append to.
template <class T, class Append>
std::string list_text(const runs::PageOf<T>& page, Append append) {
  std::string out;
  ObjectText object(out);
  append_array(object.key("items"), page.items, append);
  object.text_or_null("next_cursor", page.next).end();
  return out;
}

// Appends [{"kind","traces","logs","first_ts","last_ts"},…].
void append_kinds(std::string& out, const std::vector<telemetry::KindSummary>& kinds);

}  // namespace fettle::api
