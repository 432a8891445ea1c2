#include "telemetry/identifier_block.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "telemetry/columns.h"
#include "telemetry/day_blocks.h"
#include "telemetry/record_columns.h"

namespace fettle::telemetry {
namespace {

constexpr std::size_t kTraceBytes = 16;

struct IdentifierBlock {
  explicit IdentifierBlock(const IdentifierCatalogue& catalogue) : identifiers(&catalogue) {}

  struct Row {
    std::uint64_t hash = 0;
    std::uint32_t value_offset = 0;
    std::uint32_t value_size = 0;
    std::uint32_t first = 0;  // seconds
    std::uint32_t last = 0;
    std::uint32_t workspace = 0;
    IdentifierKind kind = 0;
    std::uint8_t signals = 0;
    std::array<char, kTraceBytes> trace{};
  };

  const IdentifierCatalogue* identifiers;
  std::size_t rows = 0;  // entries.size()
  std::vector<Row> entries;
  std::vector<std::uint32_t> slots;  // 1 + index into entries, or 0
  ByteBuffer values;
  StringTable workspaces;

  std::size_t byte_count() const { return values.size() + rows * 32; }

  void add(const Row& row, std::string_view value) {
    if (slots.size() < rows * 2 + 16) rehash();
    const std::size_t mask = slots.size() - 1;
    for (std::size_t slot = row.hash & mask;; slot = (slot + 1) & mask) {
      if (slots[slot] == 0) {
        Row added = row;
        added.value_offset = static_cast<std::uint32_t>(values.size());
        added.value_size = static_cast<std::uint32_t>(value.size());
        values.append(value);
        entries.push_back(added);
        slots[slot] = static_cast<std::uint32_t>(++rows);
        return;
      }
      Row& known = entries[slots[slot] - 1];
      if (known.hash == row.hash && known.kind == row.kind && known.workspace == row.workspace &&
          known.trace == row.trace && value_of(known) == value) {
        known.first = std::min(known.first, row.first);
        known.last = std::max(known.last, row.last);
        known.signals = static_cast<std::uint8_t>(known.signals | row.signals);
        return;
      }
    }
  }

  std::string_view value_of(const Row& row) const { return {values.data() + row.value_offset, row.value_size}; }

  void rehash() {
    slots.assign(std::max<std::size_t>(slots.size() * 2, 1024), 0);
    for (std::size_t i = 0; i < rows; ++i) {
      std::size_t slot = entries[i].hash & (slots.size() - 1);
      while (slots[slot] != 0) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = static_cast<std::uint32_t>(i + 1);
    }
  }

  void render(std::int32_t day, ByteBuffer& out, std::uint32_t& columns) {
    LowCardinalityColumn workspace, kind;
    FixedColumn<std::uint16_t> date;
    FixedColumn<std::uint64_t> value;
    FixedColumn<std::uint32_t> first, last;
    FixedColumn<std::uint8_t> signals;
    for (std::size_t i = 0; i < rows; ++i) {
      const Row& row = entries[i];
      workspace.set(i, workspaces.at(row.workspace));
      kind.set(i, identifiers->by_kind(row.kind)->name);
      date.set(i, static_cast<std::uint16_t>(std::clamp(day, 0, 0xffff)));
      value.set(i, identifier_hash(value_of(row)));
      first.set(i, row.first);
      last.set(i, row.last);
      signals.set(i, row.signals);
    }
    render_column("workspace", "LowCardinality(String)", workspace, rows, out, columns);
    render_column("day", "Date", date, rows, out, columns);
    render_column("value_hash", "UInt64", value, rows, out, columns);
    render_column("kind", "LowCardinality(String)", kind, rows, out, columns);
    out.append_string("trace");
    out.append_string("FixedString(16)");
    for (const Row& row : entries) out.append({row.trace.data(), row.trace.size()});
    ++columns;
    render_column("first_ts", "DateTime", first, rows, out, columns);
    render_column("last_ts", "DateTime", last, rows, out, columns);
    render_column("signals", "UInt8", signals, rows, out, columns);
  }

  void clear() {
    rows = 0;
    entries.clear();
    std::fill(slots.begin(), slots.end(), 0);
    values.clear();
    workspaces.clear();
  }
};

}  // namespace

std::uint64_t identifier_hash(std::string_view value) {
  // SipHash-2-4 with a key of zeros, as the engine's sipHash64() computes it.
  std::uint64_t v0 = 0x736f6d6570736575, v1 = 0x646f72616e646f6d, v2 = 0x6c7967656e657261, v3 = 0x7465646279746573;
  const auto round = [&] {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  };
  const auto absorb = [&](std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  };
  std::size_t at = 0;
  for (; at + 8 <= value.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, value.data() + at, sizeof word);
    absorb(word);
  }
  std::uint64_t tail = 0;
  std::memcpy(&tail, value.data() + at, value.size() - at);
  absorb(tail | (std::uint64_t{value.size() & 0xff} << 56));
  v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

struct IdentifierBlockBuilder::Impl {
  explicit Impl(const IdentifierCatalogue& identifiers) : catalogue(identifiers), blocks(Table::kIdentifiers) {
    for (const IdentifierDefinition& definition : catalogue.all()) {
      const std::uint64_t bit = std::uint64_t{1} << definition.kind;
      if (definition.index != IdentifierIndex::kNone) indexed |= bit;
      if (definition.index == IdentifierIndex::kTrace) by_trace |= bit;
    }
  }

  const IdentifierCatalogue& catalogue;
  std::uint64_t indexed = 0;
  std::uint64_t by_trace = 0;
  DayBlocks<IdentifierBlock> blocks;

  void append(std::string_view workspace, const ResolvedIds& ids, std::string_view trace_id, UnixNanos ts,
              Signal signal) {
    if ((ids.present() & indexed) == 0) return;
    IdentifierBlock& block = blocks.of_day(day_of(ts), [&] { return std::make_unique<IdentifierBlock>(catalogue); });
    IdentifierBlock::Row row;
    row.workspace = block.workspaces.intern(workspace);
    row.first = row.last = to_seconds(ts);
    row.signals = static_cast<std::uint8_t>(signal);
    std::array<char, kTraceBytes> trace{};
    if (trace_id.size() == kTraceBytes) std::memcpy(trace.data(), trace_id.data(), kTraceBytes);
    const std::uint64_t trace_hash = hash_text({trace.data(), trace.size()});
    ids.for_each([&](IdentifierKind kind, std::string_view value) {
      const std::uint64_t bit = std::uint64_t{1} << kind;
      if ((indexed & bit) == 0) return;
      const bool names_trace = (by_trace & bit) != 0;
      row.kind = kind;
      row.trace = names_trace ? trace : std::array<char, kTraceBytes>{};
      row.hash = hash_text(value) ^ (names_trace ? trace_hash : 0) ^ (std::uint64_t{kind} * 0x9e3779b97f4a7c15);
      block.add(row, value);
    });
  }
};

IdentifierBlockBuilder::IdentifierBlockBuilder(const IdentifierCatalogue& catalogue)
    : impl_(std::make_unique<Impl>(catalogue)) {}
IdentifierBlockBuilder::~IdentifierBlockBuilder() = default;
IdentifierBlockBuilder::IdentifierBlockBuilder(IdentifierBlockBuilder&&) noexcept = default;
IdentifierBlockBuilder& IdentifierBlockBuilder::operator=(IdentifierBlockBuilder&&) noexcept = default;

void IdentifierBlockBuilder::append(std::string_view workspace, const ResolvedIds& ids, std::string_view trace_id,
                                    UnixNanos ts, Signal signal) {
  impl_->append(workspace, ids, trace_id, ts, signal);
}
std::size_t IdentifierBlockBuilder::rows() const { return impl_->blocks.rows(); }
std::size_t IdentifierBlockBuilder::bytes() const { return impl_->blocks.bytes(); }
std::vector<TableBlock> IdentifierBlockBuilder::take() { return impl_->blocks.take(); }

}  // namespace fettle::telemetry
