// The benchmarks by name. Each reports its figures through report() and note().
#pragma once

#include <string_view>

namespace fettle::bench {

void run_ingest();   // sustained rates end to end against the engine's own limit
void run_burst();    // how fast a burst is acknowledged
void run_decode();   // decoding, identifiers and redaction alone, on one core
void run_latency();  // acknowledged and readable at 20,000 spans/s; memory while it goes on
void run_idle();     // CPU and memory when nothing happens, with an empty and with a full store
void run_size();     // bytes on disk for the demo's own traffic
void run_query();    // trace, journey and text search at 10 million rows
void run_start();    // start to ready with 10 million rows

struct Scenario {
  std::string_view name;
  void (*run)();
};
inline constexpr Scenario kScenarios[] = {
    {"ingest", run_ingest}, {"burst", run_burst}, {"decode", run_decode}, {"latency", run_latency},
    {"idle", run_idle},     {"size", run_size},   {"query", run_query},   {"start", run_start},
};

}  // namespace fettle::bench
