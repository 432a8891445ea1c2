// The verifier of audit bundles, in two modes chosen by the first byte:
//   0  any bytes as a bundle and as an entry: they are read without harm, and what is no bundle is not called good;
//   1  pairs of place and value that damage a good bundle: unless they left it as it was, it is found bad.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <tuple>

#include "ledger/bundle.h"
#include "ledger/entry.h"

namespace {

using namespace fettle;
using namespace fettle::ledger;

void require(bool holds) {
  if (!holds) std::abort();
}

VerifyReport verify(std::string_view bytes, const VerifyOptions& options) {
  BundleVerifier verifier(options);
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    if (!verifier.line(bytes.substr(0, end))) break;
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
  }
  return verifier.finish();
}

struct GoodBundle {
  std::string text;
  PublicKey key;
};

const GoodBundle& good_bundle() {
  static const GoodBundle bundle = [] {
    const WorkspaceId workspace{"agency"};
    const SigningKey key = SigningKey::derive(Secret(std::string(32, 'k'))).value();
    Chain chain(workspace);
    std::string covered =
        R"({"manifest":{"exported_at":"2026-09-21T14:13:20Z","format":"fettle-audit-bundle-1","from":1,)";
    covered += R"("hash":")" + to_hex(chain.hash()) + R"(","keys":[],"peaks":"","to":4,"workspace":"agency"}})" + "\n";
    GoodBundle made{.text = covered, .key = key.public_key()};
    for (std::uint64_t position = 1; position <= 4; ++position) {
      AuditRecord record;
      record.at = 1'790'000'000'000'000'000;
      record.action = "publish";
      record.payload_summary = position % 2 == 0 ? "text" : "";
      const std::string details = details_of(record);
      std::string entry;
      append_entry(entry, workspace, position, record.at, record,
                   details.empty() ? std::nullopt : std::optional(details_hash("salt", details)));
      chain.append(entry);
      made.text += "{\"record\":" + entry + ",\"hash\":\"" + to_hex(chain.hash()) + "\"}\n";
      if (!details.empty()) {
        made.text += "{\"details\":{\"position\":" + std::to_string(position) + ",\"salt\":\"" +
                     fettle::to_hex("salt") + "\",\"value\":" + details + "}}\n";
      }
    }
    const std::string checkpoint = "{\"checkpoint\":" +
                                   to_json(key.sign({.workspace = workspace,
                                                     .size = 4,
                                                     .at = 1'790'000'001'000'000'000,
                                                     .hash = chain.hash(),
                                                     .root = chain.root()})) +
                                   "}\n";
    covered += checkpoint;
    made.text += checkpoint + "{\"end\":{\"records\":4,\"sha256\":\"" + to_hex(sha256(covered)) + "\"}}\n";
    return made;
  }();
  return bundle;
}

void verify_damaged(std::string_view pairs) {
  const GoodBundle& good = good_bundle();
  const VerifyOptions options{.public_keys = {good.key}};
  require(!verify(good.text, options).bad.has_value());
  std::string bytes = good.text;
  for (; pairs.size() >= 3; pairs.remove_prefix(3)) {
    const std::size_t at =
        (static_cast<unsigned char>(pairs[0]) << 8 | static_cast<unsigned char>(pairs[1])) % bytes.size();
    bytes[at] = pairs[2];
  }
  const bool same = bytes == good.text;
  // The last line end may go: the line is still whole where lines are fed one by one.
  const bool same_lines = bytes.substr(0, bytes.size() - 1) == good.text.substr(0, good.text.size() - 1);
  const VerifyReport report = verify(bytes, options);
  if (same) require(!report.bad.has_value());
  if (!same_lines) require(report.bad.has_value());
  if (report.bad) require(report.bad->position <= 5);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 1) {
    verify_damaged(rest);
    return 0;
  }
  // Nobody finds a signature of this key by chance.
  require(verify(rest, {.public_keys = {good_bundle().key}}).bad.has_value() || rest == good_bundle().text);
  if (auto entry = read_entry(rest)) {
    std::string again;
    append_entry(again, entry->workspace, entry->position, entry->recorded_at, entry->record, entry->details_hash);
    std::ignore = read_entry(again);
  }
  return 0;
}
