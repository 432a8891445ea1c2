#include "ledger/bundle.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "ledger/ledger_for_test.h"

namespace fettle::ledger {
namespace {

class BundleTest : public LedgerTest {
 protected:
  std::filesystem::path file() const { return store.folder() / "bundle.jsonl"; }
  ExportReport export_all(const ExportOptions& options = {}) {
    auto report = export_bundle(*database, scope, options, file(), clock);
    EXPECT_TRUE(report) << report.error().message();
    return report ? *report : ExportReport();
  }
  std::string content() const {
    std::ifstream in(file(), std::ios::binary);
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }
  VerifyReport verify(const std::string& text, const VerifyOptions& options = {}) {
    const auto path = store.folder() / "tampered.jsonl";
    std::ofstream(path, std::ios::binary) << text;
    auto report = verify_bundle(path, options);
    EXPECT_TRUE(report);
    return report ? std::move(*report) : VerifyReport();
  }
  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line + '\n');
    return lines;
  }
  static std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line;
    return text;
  }
};
FETTLE_FOR_BOTH_STORES(BundleTest);

TEST_P(BundleTest, AnUntouchedBundleIsGood) {
  grow(40);
  ASSERT_TRUE(sequencer->checkpoint());
  grow(3);  // behind the checkpoint: not in the bundle
  const ExportReport exported = export_all();
  EXPECT_EQ(exported.to, 40U);
  EXPECT_EQ(exported.bytes, std::filesystem::file_size(file()));
  EXPECT_EQ(exported.sha256, sha256(content()));
  const auto report = verify_bundle(file(), {.public_keys = {key.public_key()}});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->bad) << report->bad->what;
  EXPECT_EQ(report->to, 40U);
  EXPECT_EQ(report->vouched, 40U);
  EXPECT_EQ(report->workspace, scope.workspace);
}

TEST_P(BundleTest, WithoutDetailsItIsAsGood) {
  grow(10);
  ASSERT_TRUE(sequencer->checkpoint());
  export_all({.with_details = false});
  EXPECT_FALSE(content().contains("hello"));
  EXPECT_FALSE(verify(content()).bad);
  export_all();
  EXPECT_TRUE(content().contains("hello"));
}

TEST_P(BundleTest, ItMayBeginAtASegment) {
  grow(kSegmentRecords + 50);
  ASSERT_TRUE(sequencer->checkpoint());
  const ExportReport exported = export_all({.from = kSegmentRecords + 1});
  EXPECT_EQ(exported.from, kSegmentRecords + 1);
  const VerifyReport report = verify(content());
  EXPECT_FALSE(report.bad) << report.bad->what;
  EXPECT_EQ(report.from, kSegmentRecords + 1);
  EXPECT_EQ(export_bundle(*database, scope, {.from = 2}, file(), clock).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(export_bundle(*database, scope, {.to = 7}, file(), clock).error().code(), ErrorCode::kNotFound);
}

TEST_P(BundleTest, WhoSeesSomeClientsGetsNone) {
  grow(1);
  const Scope limited{.workspace = scope.workspace, .clients = {{"acme"}}};
  EXPECT_EQ(export_bundle(*database, limited, {}, file(), clock).error().code(), ErrorCode::kPermissionDenied);
}

// Each byte of a bundle in turn: what is changed is found, and in a record's line at that record.
TEST_P(BundleTest, EveryFlippedByteIsFoundAtItsRecord) {
  grow(6);
  ASSERT_TRUE(sequencer->checkpoint());
  grow(6);
  ASSERT_TRUE(sequencer->checkpoint());
  export_all();
  const std::string good = content();
  ASSERT_FALSE(verify(good).bad);
  std::uint64_t position = 0;
  std::size_t begin = 0;
  for (const std::string& line : lines_of(good)) {
    const bool is_record = line.starts_with("{\"record\"");
    if (is_record) ++position;
    for (std::size_t i = 0; i < line.size(); ++i) {
      std::string bent = good;
      bent[begin + i] = static_cast<char>(bent[begin + i] ^ 0x01);
      BundleVerifier verifier(VerifyOptions{});
      std::istringstream in(bent);
      for (std::string one; std::getline(in, one);) {
        if (!verifier.line(one)) break;
      }
      const VerifyReport report = verifier.finish();
      ASSERT_TRUE(report.bad) << "byte " << i << " of " << line;
      if (is_record && i + 1 < line.size()) {
        EXPECT_EQ(report.bad->position, position) << "byte " << i << " of " << line;
      }
    }
    begin += line.size();
  }
}

TEST_P(BundleTest, ARemovedRecordIsNamed) {
  grow(10);
  ASSERT_TRUE(sequencer->checkpoint());
  export_all({.with_details = false});
  const std::vector<std::string> lines = lines_of(content());  // manifest, 10 records, checkpoint, end
  ASSERT_EQ(lines.size(), 13U);
  for (std::size_t i = 1; i <= 10; ++i) {
    std::vector<std::string> left = lines;
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
    const VerifyReport report = verify(joined(left));
    ASSERT_TRUE(report.bad);
    EXPECT_EQ(report.bad->position, i);
  }
}

TEST_P(BundleTest, ARemovedRecordIsNamedAlsoWhenItsDetailsStay) {
  grow(10);  // every other one has details
  ASSERT_TRUE(sequencer->checkpoint());
  export_all();
  std::vector<std::string> lines = lines_of(content());
  const auto details = std::ranges::find_if(
      lines, [](const std::string& line) { return line.starts_with("{\"details\":{\"position\":6,"); });
  ASSERT_NE(details, lines.end());
  lines.erase(details - 1);
  const VerifyReport report = verify(joined(lines));
  ASSERT_TRUE(report.bad);
  EXPECT_EQ(report.bad->position, 6U);
}

TEST_P(BundleTest, SwappedRecordsAreNamed) {
  grow(10);
  ASSERT_TRUE(sequencer->checkpoint());
  export_all({.with_details = false});
  std::vector<std::string> lines = lines_of(content());
  std::swap(lines[4], lines[7]);
  const VerifyReport report = verify(joined(lines));
  ASSERT_TRUE(report.bad);
  EXPECT_EQ(report.bad->position, 4U);
}

TEST_P(BundleTest, EveryCutIsFound) {
  grow(4);
  ASSERT_TRUE(sequencer->checkpoint());
  export_all();
  const std::string good = content();
  for (std::size_t size = 0; size < good.size(); ++size) {
    BundleVerifier verifier(VerifyOptions{});
    std::istringstream in(good.substr(0, size));
    for (std::string line; std::getline(in, line);) {
      if (!verifier.line(line)) break;
    }
    const VerifyReport report = verifier.finish();
    // A file without its last line end still says all.
    EXPECT_EQ(report.bad.has_value(), size + 1 != good.size()) << size;
  }
  const VerifyReport cut = verify(good.substr(0, good.size() - 1));
  EXPECT_TRUE(cut.bad);
}

TEST_P(BundleTest, ARewrittenBundleIsFoundByWhoHoldsACheckpointOrTheKey) {
  grow(10);
  ASSERT_TRUE(sequencer->checkpoint());
  FileWitness witness(store.folder() / "w");
  make_sequencer({&witness});
  ASSERT_TRUE(sequencer->checkpoint());
  const auto held = read_witness_file(store.folder() / "w").value();
  export_all({.with_details = false});
  // Somebody changes record 5, computes every hash again and signs with a key of their own.
  const SigningKey forger = SigningKey::derive(Secret(std::string(32, 'f'))).value();
  std::string text;
  Chain chain(scope.workspace);
  std::string covered;
  for (std::string line : lines_of(content())) {
    if (line.starts_with("{\"record\"")) {
      const std::size_t tail = line.rfind(",\"hash\"");
      std::string entry = line.substr(10, tail - 10);
      if (chain.size() == 4) entry.replace(entry.find("publish"), 7, "publisH");
      chain.append(entry);
      line = "{\"record\":" + entry + ",\"hash\":\"" + to_hex(chain.hash()) + "\"}\n";
    } else if (line.starts_with("{\"checkpoint\"")) {
      line = "{\"checkpoint\":" +
             to_json(forger.sign({.workspace = scope.workspace,
                                  .size = 10,
                                  .at = clock.now(),
                                  .hash = chain.hash(),
                                  .root = chain.root()})) +
             "}\n";
      covered += line;
    } else if (line.starts_with("{\"end\"")) {
      line = "{\"end\":{\"records\":10,\"sha256\":\"" + to_hex(sha256(covered)) + "\"}}\n";
    } else {
      covered += line;
    }
    text += line;
  }
  const VerifyReport trusting = verify(text);
  EXPECT_FALSE(trusting.bad) << trusting.bad->what;  // it says who signed, and that is not us
  EXPECT_EQ(trusting.keys, std::vector{forger.public_key()});
  EXPECT_TRUE(verify(text, {.public_keys = {key.public_key()}}).bad);
  EXPECT_TRUE(verify(text, {.witnessed = held}).bad);
}

TEST_P(BundleTest, WhatIsNoBundleIsSaidSo) {
  EXPECT_TRUE(verify("").bad);
  EXPECT_TRUE(verify("\n").bad);
  EXPECT_TRUE(verify("{\"manifest\":{}}\n").bad);
  EXPECT_TRUE(verify(std::string(kBundleLineBytesMax + 100, 'x')).bad);
  EXPECT_EQ(verify_bundle(store.folder() / "nowhere", {}).error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace fettle::ledger
