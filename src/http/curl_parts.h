// What this room's two clients share of curl. Included by them alone.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace fettle::http::curl {

// Made once for the program, before the first handle.
struct Global {
  Global() { curl_global_init(CURL_GLOBAL_DEFAULT); }
};
inline void prepare_library() { static const Global global; }

// An easy handle with a multi handle of its own: the multi keeps the connection between two requests and, unlike
// curl_easy_perform(), can be woken from another thread.
struct Handle {
  Handle() : easy(curl_easy_init()), multi(curl_multi_init()) {}
  ~Handle() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    if (multi != nullptr) curl_multi_cleanup(multi);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  CURL* easy;
  CURLM* multi;
};

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListDeleter>;

inline void append(List& list, const std::string& line) {
  if (curl_slist* grown = curl_slist_append(list.get(), line.c_str()); grown != nullptr) {
    static_cast<void>(list.release());
    list.reset(grown);
  }
}

bool is_method(std::string_view text);
// Appends "name: value". kInvalidArgument for a field that could begin another field or request.
Result<void> append_field(List& list, const std::string& name, const std::string& value);
// One line of an answer's head, as curl hands them over.
void take_header_line(Response& response, std::string_view line);

// How long to sleep at most while curl waits for the network; a stop wakes the wait at once.
inline constexpr int kPollMillis = 1'000;

}  // namespace fettle::http::curl
