#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "ledger/bundle.h"
#include "ledger/bundle_file.h"
#include "ledger/entry.h"

namespace fettle::ledger {
namespace {

constexpr std::string_view kRecord = "{\"record\":";
constexpr std::string_view kHash = ",\"hash\":\"";
constexpr std::string_view kDetails = "{\"details\":{\"position\":";
constexpr std::string_view kSalt = ",\"salt\":\"";
constexpr std::string_view kValue = "\",\"value\":";
constexpr std::string_view kCheckpoint = "{\"checkpoint\":";
constexpr std::string_view kManifest = "{\"manifest\":";
constexpr std::string_view kEnd = "{\"end\":";

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// What stands between a prefix and the last `tail` characters of a line.
std::string_view inside(std::string_view line, std::string_view prefix, std::size_t tail) {
  if (line.size() < prefix.size() + tail) return {};
  return line.substr(prefix.size(), line.size() - prefix.size() - tail);
}

// h[position] as text of 64 digits; its digits are compared as they are, which is quicker than reading them.
std::optional<std::string_view> member(std::string_view object, std::string_view wanted) {
  std::optional<std::string_view> found;
  const bool good = for_each_member(object, [&](std::string_view name, std::string_view value) {
    if (name == wanted) found = value;
    return true;
  });
  return good ? found : std::nullopt;
}

}  // namespace

struct BundleVerifier::Impl {
  explicit Impl(const VerifyOptions& given) : options(given) {}

  bool bad(std::string what) {
    if (log) return log->mark_bad(log->size() + 1, std::move(what));
    if (!early) early = FirstBad{0, std::move(what)};
    return false;
  }

  bool manifest(std::string_view line) {
    const std::string_view object = inside(line, kManifest, 1);
    const auto text = [&](std::string_view name) -> std::string {
      const auto value = member(object, name);
      return value ? unquote(*value).value_or("") : "";
    };
    const auto number = [&](std::string_view name) {
      const auto value = member(object, name);
      return value ? number_of(*value) : std::nullopt;
    };
    const auto from = number("from");
    const auto until = number("to");
    const auto hash = digest_of_hex(text("hash"));
    const auto peaks = text("peaks").empty() ? std::optional<std::string>("") : from_hex(text("peaks"));
    if (line.back() != '}' || text("format") != "fettle-audit-bundle-1" || !from || *from == 0 || !until ||
        *until < *from || !hash || !peaks) {
      return bad("the manifest is not one of an audit bundle");
    }
    const WorkspaceId workspace{text("workspace")};
    auto tree = MerkleTree::resume(*from - 1, *peaks);
    if (!tree) return bad("the manifest's peaks do not fit where it begins");
    if (*from == 1 && *hash != first_link(workspace))
      return bad("the chain does not begin as that of its workspace does");
    first = *from;
    to = *until;
    log.emplace(workspace, Chain(*hash, std::move(*tree)), options);
    return true;
  }

  bool record(std::string_view line) {
    // …<entry>,"hash":"<64 digits>"}
    const std::size_t tail = kHash.size() + 64 + 2;
    if (line.size() < kRecord.size() + tail || !line.ends_with("\"}") ||
        line.substr(line.size() - tail, kHash.size()) != kHash) {
      return bad("the line is not a record");
    }
    const auto stated = digest_of_hex(line.substr(line.size() - 66, 64));
    if (!stated) return bad("its hash is not one");
    const std::string_view entry = inside(line, kRecord, tail);
    if (!log->record(entry, *stated)) return false;
    // Only where details follow is it looked at again; lines are views, so what is needed is kept.
    last_entry.assign(entry);
    return true;
  }

  bool details(std::string_view line) {
    const std::string_view rest = inside(line, kDetails, 2);
    const std::size_t salt_at = rest.find(kSalt);
    const std::size_t value_at = salt_at == std::string_view::npos ? salt_at : rest.find(kValue, salt_at);
    if (value_at == std::string_view::npos || !line.ends_with("}}"))
      return bad_details("the line is not the details of a record");
    const auto salt = from_hex(rest.substr(salt_at + kSalt.size(), value_at - salt_at - kSalt.size()));
    const auto stated = member(last_entry, "details_hash");
    const auto position = number_of(rest.substr(0, salt_at));
    if (position == log->size() + 1) return log->mark_bad(*position, "the record is missing, and its details are here");
    if (position != log->size() || !salt || !stated ||
        unquote(*stated) != to_hex(details_hash(*salt, rest.substr(value_at + kValue.size())))) {
      return bad_details("its details are not those that were recorded");
    }
    return true;
  }
  bool bad_details(std::string what) { return log->mark_bad(log->size(), std::move(what)); }

  bool end(std::string_view line) {
    const std::string_view object = inside(line, kEnd, 1);
    const auto count = member(object, "records");
    const auto sha256 = member(object, "sha256");
    if (line.back() != '}' || !count || !sha256 || number_of(*count) != to - first + 1 ||
        unquote(*sha256) != to_hex(others.digest())) {
      return bad("manifest, checkpoints or end are not as they were written");
    }
    is_ended = true;
    return true;
  }

  void cover(std::string_view line) {
    others.add(line);
    others.add("\n");
  }

  bool take(std::string_view line) {
    if (early || (log && log->is_bad())) return false;
    if (line.empty()) return bad("an empty line");
    if (is_ended) return bad("something follows the end");
    if (!log) {
      if (!line.starts_with(kManifest)) return bad("the file does not begin with a manifest");
      cover(line);
      return manifest(line);
    }
    if (line.starts_with(kRecord)) return record(line);
    if (line.starts_with(kDetails)) return details(line);
    if (line.starts_with(kCheckpoint)) {
      cover(line);
      auto checkpoint = parse_checkpoint(inside(line, kCheckpoint, 1));
      if (!checkpoint || line.back() != '}') return bad("a checkpoint is damaged");
      return log->checkpoint(*checkpoint);
    }
    if (line.starts_with(kEnd)) return end(line);
    return bad("the line is no part of a bundle");
  }

  const VerifyOptions options;
  std::optional<LogVerifier> log;
  std::optional<FirstBad> early;  // before there was a log
  std::uint64_t first = 0;
  std::uint64_t to = 0;
  std::string last_entry;
  RunningSha256 others;
  bool is_ended = false;
};

BundleVerifier::BundleVerifier(const VerifyOptions& options) : impl_(std::make_unique<Impl>(options)) {}
BundleVerifier::~BundleVerifier() = default;

bool BundleVerifier::line(std::string_view line) { return impl_->take(line); }

VerifyReport BundleVerifier::finish() {
  if (!impl_->log) {
    VerifyReport report;
    report.bad = impl_->early ? std::move(impl_->early) : FirstBad{0, "the file is empty"};
    return report;
  }
  const std::uint64_t size = impl_->log->size();
  VerifyReport report = impl_->log->finish(impl_->to);
  if (!report.bad && !impl_->is_ended) report.bad = FirstBad{size + 1, "the end of the bundle is missing"};
  if (!report.bad && report.vouched != size) {
    report.bad = FirstBad{report.vouched + 1, "no checkpoint covers what follows"};
  }
  return report;
}

Result<VerifyReport> verify_bundle(const std::filesystem::path& file, const VerifyOptions& options) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return fail(ErrorCode::kNotFound, fmt::format("'{}' cannot be read: {}", file.string(), std::strerror(errno)));
  }
  BundleVerifier verifier(options);
  constexpr std::size_t kReadBytes = 1 << 20;
  std::string buffer(2 * kReadBytes, '\0');
  std::size_t held = 0;
  bool good = true;
  ssize_t got = 0;
  while (good) {
    if (buffer.size() - held < kReadBytes) buffer.resize(buffer.size() * 2);
    got = ::read(fd, buffer.data() + held, kReadBytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    const std::size_t end = held + static_cast<std::size_t>(got);
    std::size_t begin = 0;
    // A line that began earlier has no end in what was looked at already.
    std::size_t look = held;
    while (good) {
      const void* newline = std::memchr(buffer.data() + look, '\n', end - look);
      if (newline == nullptr) break;
      const auto at = static_cast<std::size_t>(static_cast<const char*>(newline) - buffer.data());
      good = verifier.line(std::string_view(buffer).substr(begin, at - begin));
      begin = look = at + 1;
    }
    held = end - begin;
    if (held > kBundleLineBytesMax) good = verifier.line("a line without an end");
    std::memmove(buffer.data(), buffer.data() + begin, held);
  }
  const int error = errno;
  ::close(fd);
  if (got < 0)
    return fail(ErrorCode::kUnavailable, fmt::format("reading '{}': {}", file.string(), std::strerror(error)));
  // What stands behind the last line end is a line that was cut.
  if (good && held > 0) verifier.line("a line without an end");
  return verifier.finish();
}

}  // namespace fettle::ledger
