// SPDX-License-Identifier: GPL-2.0-or-later
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>

#include "gateway/audit/audit_log.h"
#include "gateway/cli/src/change.h"
#include "gateway/cli/src/transaction_commands.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/silent_prompt.h"
#include "gateway/cli/src/table.h"
#include "gateway/cli/src/words.h"
#include "gateway/config/archive.h"
#include "gateway/config/json.h"
#include "gateway/ipc/api.h"
#include "platform/sys/file.h"

// Export and import of the whole box, and the audit log.
//
// simplond never hands out a secret: an export with secrets reads their files here, as whoever runs it, which has to be
// root. The passphrase stays here too; an import opens the archive before it is sent over the local socket.

namespace simplon::cli {
namespace {

using nlohmann::json;

// As large as a reply of simplond can be, so as any export.
constexpr std::size_t kMaxArchiveBytes = 512U << 20;
// Chosen by us: as a string of a request it becomes longer, up to twice.
constexpr std::size_t kMaxImportBytes = ipc::kApiMaxBody / 2;
constexpr const char* kInFile = "they stay readable in the file";
constexpr const char* kByItself = "the document in it can be applied by itself: simplon apply";

struct ArchiveOptions {
  std::string file, passphrase_file;
  bool with_secrets = false;
  bool with_history = false;
  bool without_secrets = false;
  ChangeOptions change;
};

Result<std::string> passphrase_of(const Session& session, const ArchiveOptions& options, bool twice) {
  if (!options.passphrase_file.empty()) return sys::read_secret_file(options.passphrase_file);
  const auto first = ask_silently(session.err(), "passphrase of the secrets: ");
  if (!first) {
    return fail(ErrorCode::kInvalidConfig, "there is no terminal to ask for the passphrase of the secrets",
                "--passphrase-file FILE (mode 0600)");
  }
  if (twice && ask_silently(session.err(), "again: ") != first) {
    return fail(ErrorCode::kInvalidConfig, "the two passphrases differ", "nothing was written");
  }
  if (first->empty()) return fail(ErrorCode::kInvalidConfig, "the passphrase is empty", "nothing was done");
  return *first;
}

/// The file that `file` names, through links, also when it is not there yet: it is replaced by a rename, which must not
/// hit a device, a pipe or a link. Errors: kInvalidConfig.
Result<std::string> replaceable(const std::string& file) {
  if (file == "-") return file;
  constexpr int kMostLinks = 40;  // as Linux: path_resolution(7)
  std::filesystem::path target = file;
  std::error_code error;
  const auto status = std::filesystem::status(target, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return fail(ErrorCode::kInvalidConfig, file + " is no regular file", "- prints it");
  }
  for (int links = 0; links < kMostLinks && std::filesystem::is_symlink(target, error); ++links) {
    target = target.parent_path() / std::filesystem::read_symlink(target, error);
  }
  if (std::filesystem::is_symlink(target, error)) return fail(ErrorCode::kInvalidConfig, file + ": too many links", "- prints it");
  return target.string();
}

Result<void> read_secrets(const json& paths, config::Archive& archive) {
  for (const auto& path : paths) {
    if (!path.is_string()) continue;
    auto content = sys::read_secret_file(path.get<std::string>());
    if (!content) {
      return fail(content.error().code, content.error().what,
                  content.error().hint.empty() ? "an export with secrets is for root" : content.error().hint);
    }
    archive.secrets.emplace(path.get<std::string>(), *content);
    sys::wipe(*content);
  }
  return {};
}

config::Issue warning(std::string what, std::string hint) {
  config::Issue issue;
  issue.severity = config::Severity::kWarning;
  issue.code = ErrorCode::kExhausted;
  issue.what = std::move(what);
  issue.hint = std::move(hint);
  return issue;
}

/// Of what an import sends to simplond.
std::size_t open_size(const config::Archive& archive) {
  std::string open = config::format_open_archive(archive);
  const std::size_t size = open.size();
  sys::wipe(open);
  return size;
}

std::string too_large(std::size_t size) {
  return "the archive has " + format_bytes(size) + ", simplond takes " + format_bytes(kMaxImportBytes);
}

/// Whether the file will be found too large when it is needed.
json export_warnings(const config::Archive& archive) {
  json warnings = json::array();
  const std::size_t size = open_size(archive);
  if (size <= kMaxImportBytes) return warnings;
  const bool history = !archive.history.empty();
  const std::string what = history ? "an import will leave the older versions out: " : "it cannot be imported: ";
  warnings.push_back(config::to_json(warning(what + too_large(size), history ? kInFile : kByItself)));
  return warnings;
}

int export_box(const Session& session, const ArchiveOptions& options) {
  const auto target = replaceable(options.file);
  if (!target) return session.report(target.error(), kExitUsage);
  const auto reply = session.get(std::string("/v1/config/export") + (options.with_history ? "?history=1" : ""));
  if (const auto code = session.failed(reply, "simplon")) return *code;
  auto archive = config::read_archive(text(*reply, "archive"));
  if (!archive) return session.report(archive.error(), kExitFailed);
  std::string passphrase;
  if (options.with_secrets) {
    if (auto read = read_secrets(list(*reply, "secret_files"), *archive); !read) {
      return session.report(read.error(), kExitFailed);
    }
    auto given = passphrase_of(session, options, true);
    if (!given) return session.report(given.error(), kExitUsage);
    passphrase = *std::move(given);
  }
  const auto formatted = config::format_archive(*archive, passphrase);
  sys::wipe(passphrase);
  if (!formatted) return session.report(formatted.error(), kExitFailed);
  const json warned = {{"warnings", export_warnings(*archive)}};
  if (options.file == "-") {
    session.out() << *formatted;
    session.err() << render_warnings(warned, {});
    return kExitDone;
  }
  if (auto written = sys::write_file_atomically(*target, *formatted, 0600); !written) {
    return session.report(written.error(), kExitFailed);
  }
  const auto secrets = list(*reply, "secret_files").size();
  std::string page = "version " + std::to_string(archive->version) + " of " + archive->gateway + " is in " + options.file;
  if (options.with_history) page += ", with " + plural(archive->history.size(), "older version");
  page += options.with_secrets ? ", with " + plural(archive->secrets.size(), "sealed secret") + "\n" : "\n";
  if (!options.with_secrets && secrets != 0) {
    page += paragraph("hint: " + plural(secrets, "secret is", "secrets are") + " not in it: --with-secrets seals them", 2, 8);
  }
  page += render_warnings(warned, session.style());
  const json said = {{"api", ipc::kApiVersion},
                     {"file", options.file},
                     {"version", archive->version},
                     {"history", archive->history.size()},
                     {"secrets", archive->secrets.size()},
                     {"warnings", warned["warnings"]}};
  return session.print(said, {page, false});
}

int import_box(const Session& session, const ArchiveOptions& options) {
  const auto content = options.file == "-" ? sys::read_all(STDIN_FILENO, "standard input", kMaxArchiveBytes)
                                           : sys::read_file(options.file, kMaxArchiveBytes);
  if (!content) return session.report(content.error(), kExitFailed);
  auto archive = config::read_archive(*content);
  if (!archive) return session.report(archive.error(), kExitFailed);
  if (options.without_secrets) archive->sealed.clear();
  if (!archive->sealed.empty()) {
    auto passphrase = passphrase_of(session, options, false);
    if (!passphrase) return session.report(passphrase.error(), kExitUsage);
    const auto opened = config::open_secrets(*archive, *passphrase);
    sys::wipe(*passphrase);
    if (!opened) return session.report(opened.error(), kExitFailed);
  }
  Change change;
  std::string open = config::format_open_archive(*archive);
  if (open.size() > kMaxImportBytes && !archive->history.empty()) {
    const std::string what = plural(archive->history.size(), "older version is", "older versions are");
    change.warnings.push_back(warning(what + " left out: " + too_large(open.size()), kInFile));
    archive->history.clear();
    sys::wipe(open);
    open = config::format_open_archive(*archive);
  }
  if (open.size() > kMaxImportBytes) {
    return session.report({ErrorCode::kExhausted, too_large(open.size()), kByItself}, kExitFailed);
  }
  change.request["archive"] = open;
  change.target = "/v1/config/import";
  sys::wipe(open);
  return apply_request(session, options.change, std::move(change));
}

Page render_audit(const json& reply, Style) {
  Page page;
  const json& entries = list(reply, "entries");
  page.text = "entry " + std::to_string(number(reply, "sequence")) + " is the last, hash " +
              text(reply, "hash").substr(0, 16) + "\n";
  Table table({"ENTRY", "WHEN", "WHO", "ACTION", "OUTCOME", "VERSION", "DETAIL"}, 2);
  for (const auto& entry : entries) {
    std::string who = text(entry, "who");
    if (has(entry, "uid")) who += " (" + std::to_string(number(entry, "uid")) + ")";
    std::string detail = text(entry, "subject");
    if (const std::string more = text(entry, "detail"); !more.empty()) detail += (detail.empty() ? "" : ": ") + more;
    table.add({std::to_string(number(entry, "seq")), text(entry, "when"), who, text(entry, "action"),
               text(entry, "outcome"), std::to_string(number(entry, "version")), detail});
  }
  if (!entries.empty()) page.text += table.render();
  return page;
}

int verify_audit(const Session& session, audit::VerifyOptions options) {
  auto told = std::chrono::steady_clock::now();
  options.on_line = [&](const std::string& file, std::uint64_t lines) {
    const auto now = std::chrono::steady_clock::now();
    if (now - told < std::chrono::seconds(1)) return;
    told = now;
    session.progress("checking " + file + ": " + plural(lines, "entry", "entries") + " so far");
  };
  const auto verdict = audit::verify(options);
  session.progress({});
  if (!verdict) return session.report(verdict.error(), kExitFailed);
  json faults = json::array();
  for (const auto& fault : verdict->faults) {
    faults.push_back({{"file", fault.file}, {"line", fault.line}, {"what", fault.what}});
  }
  const json reply = {{"api", ipc::kApiVersion},  {"sound", verdict->sound()}, {"lines", verdict->lines},
                      {"first", verdict->first}, {"last", verdict->last},     {"hash", verdict->last_hash},
                      {"faults", faults}};
  const std::string range = plural(verdict->lines, "entry", "entries") + ", " + std::to_string(verdict->first) + " to " +
                            std::to_string(verdict->last);
  std::string page;
  if (verdict->sound()) {
    page = colored("sound", Mood::kGood, session.style()) + ": " + range + "\n  hash " + verdict->last_hash + "\n";
    if (verdict->first > 1) page += "  older entries were rotated away, as the head says\n";
  } else {
    page = colored("NOT SOUND", Mood::kBad, session.style()) + ": " + plural(verdict->faults.size(), "fault") + " in " + range + "\n";
    std::size_t shown = 0;
    for (const auto& fault : verdict->faults) {
      if (++shown > 50) break;
      const std::string line = fault.line == 0 ? "" : " line " + std::to_string(fault.line);
      page += paragraph(fault.file + line + ": " + fault.what, 2, 6);
    }
    page += paragraph("hint: keep a copy of the files; the journal of simplond has number and hash of each entry", 2, 8);
  }
  const int code = session.print(reply, {page, false});
  return verdict->sound() ? code : kExitFailed;
}

}  // namespace

void declare_archive(Commands& commands, CLI::App& config) {
  Session& session = commands.session();
  const auto options = std::make_shared<ArchiveOptions>();
  CLI::App* out = commands.command(config, "export", "the whole box as one file: configuration, ids, on request more",
                                   "simplon config export box.json\n"
                                   "simplon config export box.json --with-history --with-secrets");
  commands.values(out->add_option("FILE", options->file, "written with mode 0600; - prints it")->required(), Values::kFiles);
  out->add_flag("--with-history", options->with_history, "also the older versions; for administrators");
  out->add_flag("--with-secrets", options->with_secrets, "also keys and passwords, sealed with a passphrase; for root");
  commands.values(out->add_option("--passphrase-file", options->passphrase_file, "mode 0600; default: ask")->type_name("PATH"),
                  Values::kFiles);
  commands.on(out, [&session, options] { return export_box(session, *options); });

  CLI::App* in = commands.command(config, "import", "make this gateway what an exported file says, as one transaction",
                                  "simplon config import box.json --dry-run\nsimplon config import box.json");
  commands.values(in->add_option("FILE", options->file, "of `simplon config export`; - reads standard input")->required(),
                  Values::kFiles);
  in->add_flag("--without-secrets", options->without_secrets, "leave the secret files of this machine as they are");
  commands.values(in->add_option("--passphrase-file", options->passphrase_file, "mode 0600; default: ask")->type_name("PATH"),
                  Values::kFiles);
  add_base_option(in, options->change, "what was shown, or any");
  add_change_options(commands, in, options->change);
  commands.on(in, [&session, options] { return import_box(session, *options); });
}

void declare_audit(Commands& commands) {
  Session& session = commands.session();
  struct Options {
    std::uint64_t last = 20;
    audit::VerifyOptions verify;
  };
  const auto options = std::make_shared<Options>();
  options->verify.log = "/var/lib/simplon/audit.log";
  const auto show_it = [&session, options] {
    return session.show("/v1/audit?last=" + std::to_string(options->last), render_audit);
  };
  CLI::App* noun = commands.noun("audit", "who changed what, signed and chained", "simplon audit show");
  commands.on(noun, show_it);
  CLI::App* show = commands.command(*noun, "show", "the last entries", "simplon audit show --last 100");
  show->add_option("--last", options->last, "so many")->type_name("COUNT")->check(CLI::Range(1, 10000));
  commands.on(show, show_it);
  CLI::App* check = commands.command(*noun, "verify", "checks every entry; needs no simplond",
                                     "simplon audit verify\n"
                                     "simplon audit verify --file copy/audit.log --key audit.pub");
  commands.values(check->add_option("--file", options->verify.log, "the newest file of the log")->type_name("PATH"), Values::kFiles);
  commands.values(check->add_option("--key", options->verify.key, "default: audit.pub beside it")->type_name("PATH"), Values::kFiles);
  commands.values(check->add_option("--head", options->verify.head, "default: audit.head beside it")->type_name("PATH"), Values::kFiles);
  commands.on(check, [&session, options] { return verify_audit(session, options->verify); });
}

}  // namespace simplon::cli
