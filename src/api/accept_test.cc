#include "api/accept.h"

#include <gtest/gtest.h>

namespace fettle::api {
namespace {

TEST(Accept, JsonIsGivenOnlyToWhoeverPrefersIt) {
  for (const char* json : {"application/json", "application/json, text/plain, */*",
                           "text/plain;q=0.5, application/json", "APPLICATION/JSON", "application/json;q=0.1"}) {
    EXPECT_TRUE(prefers_json(json)) << json;
  }
  for (const char* text :
       {"", "*/*", "text/html,application/xml;q=0.9,*/*;q=0.8", "text/plain, application/json",
        "application/json;q=0.4, text/plain;q=0.5", "application/json;q=0",
        "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}) {
    EXPECT_FALSE(prefers_json(text)) << text;
  }
}

}  // namespace
}  // namespace fettle::api
