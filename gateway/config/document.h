// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/model.h"
#include "platform/base/result.h"

// The YAML document: text <-> GatewayConfig. The published schema is simplon.schema.json in this folder.

namespace simplon::config {

enum class Severity : std::uint8_t { kError, kWarning };

/// One thing that is wrong with a document, at one place.
struct Issue {
  Severity severity = Severity::kError;
  ErrorCode code = ErrorCode::kInvalidConfig;
  /// Where: "vpcs[1].vni"; empty for the document as a whole.
  std::string path;
  /// The offending value as written; empty if it is absent. Never the contents of a secret.
  std::string value;
  std::string what;
  std::string hint;
  /// 1-based line of the document; 0 if unknown.
  int line = 0;

  /// "vpcs[1].vni: what (hint)"
  [[nodiscard]] std::string message() const;
  friend bool operator==(const Issue&, const Issue&) = default;
};

[[nodiscard]] bool has_errors(const std::vector<Issue>& issues) noexcept;
/// All errors folded into one Error ("3 errors; first: ..."), for callers that have room for one.
[[nodiscard]] Error to_error(const std::vector<Issue>& issues);

/// Largest document that is read.
inline constexpr std::size_t kMaxDocumentBytes = 16U << 20;
/// Deepest nesting that is read (the schema needs 6), and most nodes after expansion of aliases. Chosen by us against
/// documents built to exhaust the reader.
inline constexpr int kMaxDocumentDepth = 32;
inline constexpr std::size_t kMaxDocumentNodes = 2'000'000;
/// Values that aliases may stand for, in all. Small, because this is how a few bytes become much work.
inline constexpr std::size_t kMaxAliasNodes = 20'000;
/// Findings that are reported; a document with more of them is not read by anybody.
inline constexpr std::size_t kMaxIssues = 1000;

struct Document {
  /// As far as it could be read; only to be used if there are no errors.
  GatewayConfig config;
  std::vector<Issue> issues;

  [[nodiscard]] bool ok() const noexcept { return !has_errors(issues); }
};

/// Reads the text: syntax, known keys, types, required fields, ranges of single values. All problems are reported, not
/// the first one. Defaults are filled in (VPC MAC, proposals, prefix lengths of rules). References are not looked at.
/// Errors: as issues; nothing is ever thrown, whatever the bytes. Pure: reads no files.
[[nodiscard]] Document parse_document(std::string_view yaml);

struct ReadOptions {
  /// Look at PSK and password files on this machine (exists, regular, private, not empty).
  bool check_files = true;
};

/// `parse_document` and `validate` (validate.h) together: what a document has to pass before it is applied. Findings
/// that only follow from another one are left out.
[[nodiscard]] Document read_document(std::string_view yaml, const ReadOptions& options = {});

/// Reads a file, or standard input for "-", at most kMaxDocumentBytes; a byte-order mark is left out. Errors:
/// kInvalidConfig naming the path.
[[nodiscard]] Result<std::string> load_text(const std::string& path);

/// Canonical YAML: `parse_document(emit_document(c)).config == c` for each valid `c`. Defaults are not written.
[[nodiscard]] std::string emit_document(const GatewayConfig& config);

/// The keys that the parser accepts for each kind of object ("gateway", "tunnel", ...), in document order.
[[nodiscard]] const std::map<std::string, std::vector<std::string>>& known_keys();

/// Default gateway MAC of a VPC: 02:53:4c and the VNI.
[[nodiscard]] MacAddress default_gateway_mac(Vni vni) noexcept;

}  // namespace simplon::config
