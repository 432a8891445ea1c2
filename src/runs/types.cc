#include "runs/types.h"

#include <fmt/format.h>

#include <array>

namespace fettle::runs {
namespace {

constexpr std::array<std::string_view, 9> kRunStates = {"ready",  "waiting", "held",      "running",  "succeeded",
                                                        "failed", "dead",    "cancelled", "discarded"};
constexpr std::array<std::string_view, 7> kWaits = {"none", "scheduled", "backoff", "sleep", "signal", "approval"};
constexpr std::array<std::string_view, 4> kStepStates = {"running", "completed", "failed", "waiting"};
constexpr std::array<std::string_view, 7> kEnds = {"failed",    "lease_expired", "revoked",  "parked",
                                                   "cancelled", "returned",      "timed_out"};
constexpr std::array<std::string_view, 3> kApplied = {"applied", "late", "unknown"};

// Without i, l, o and u: nothing that is read aloud wrongly. In the order of ASCII, so that text sorts as numbers do.
constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kNumberDigits = 13;

}  // namespace

std::string_view to_string(RunState state) { return kRunStates.at(static_cast<std::size_t>(state)); }
std::string_view to_string(WaitKind wait) { return kWaits.at(static_cast<std::size_t>(wait)); }
std::string_view to_string(StepState state) { return kStepStates.at(static_cast<std::size_t>(state)); }
std::string_view to_string(AttemptEnd end) { return kEnds.at(static_cast<std::size_t>(end)); }
std::string_view to_string(Applied applied) { return kApplied.at(static_cast<std::size_t>(applied)); }

std::optional<RunState> run_state_named(std::string_view name) {
  for (std::size_t i = 0; i < kRunStates.size(); ++i) {
    if (kRunStates[i] == name) return static_cast<RunState>(i);
  }
  return std::nullopt;
}

Result<void> check_size(std::string_view field, std::string_view value, std::size_t bytes_max) {
  if (value.size() <= bytes_max) return {};
  return fail(ErrorCode::kTooLarge, fmt::format("{} has {} bytes, at most {} fit", field, value.size(), bytes_max));
}

Result<void> check_name(std::string_view field, std::string_view value, const SizeLimits& limits) {
  if (value.empty()) return fail(ErrorCode::kInvalidArgument, fmt::format("{} is missing", field));
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < 0x20) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("{} holds a control character", field));
    }
  }
  return check_size(field, value, limits.name_bytes_max);
}

Result<void> check_count(std::string_view field, std::size_t count, std::size_t count_max) {
  if (count <= count_max) return {};
  return fail(ErrorCode::kTooLarge, fmt::format("{} has {} items, at most {} fit", field, count, count_max));
}

std::string format_number(std::string_view prefix, std::int64_t number) {
  std::string out(prefix.size() + kNumberDigits, '0');
  prefix.copy(out.data(), prefix.size());
  auto rest = static_cast<std::uint64_t>(number);
  for (std::size_t i = out.size(); i > prefix.size(); --i) {
    out[i - 1] = kDigits[rest & 31U];
    rest >>= 5U;
  }
  return out;
}

std::optional<std::int64_t> parse_number(std::string_view prefix, std::string_view text) {
  if (text.size() != prefix.size() + kNumberDigits || !text.starts_with(prefix)) return std::nullopt;
  std::uint64_t number = 0;
  for (const char c : text.substr(prefix.size())) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos || (number >> 58U) != 0) return std::nullopt;
    number = (number << 5U) | digit;
  }
  return static_cast<std::int64_t>(number);
}

std::string format_run_number(std::int64_t number) { return format_number("run_", number); }
std::optional<std::int64_t> parse_run_number(std::string_view text) { return parse_number("run_", text); }

}  // namespace fettle::runs
