// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>

// The local API: how the CLI, and anything else on this machine, talks to simplond.
//
// Who connects   A client connects to RUN_DIR/api.sock (SOCK_STREAM), any number of them up to kApiMaxConnections;
//                who may only look has 16 of them at most, and all such users together 56.
// Framing        HTTP/1.1; bodies are JSON (application/json); that of a request has at most kApiMaxBody bytes, that of
//                a GET kApiMaxGetBody.
// Roles          By the peer's credentials (SO_PEERCRED, SO_PEERGROUPS): root, simplond's own user and members of the
//                admin group may do everything; everybody else may only GET (403 otherwise), but no export with history.
// Semantics      GET changes nothing. POST is a transaction: when it is refused, nothing was changed.
// Versions       Every reply has "api": kApiVersion. Fields are added without a new number; clients ignore what they
//                do not know.
// Refusals       {"api":1,"errors":[{"code","path","value","what","hint","line"}, ...]}, all of them at once. "code" is
//                to_string(ErrorCode); "path" is a place in the document ("vpcs[1].vni") or "".
//                  400 malformed HTTP or JSON        403 role             404 no such path     405 other method
//                  413 body too large                422 invalid-config   409 conflict         502 peer
//                  503 unavailable, or too many connections               507 exhausted        500 bug
//                A client that is too slow finds its connection closed.
// Reconnect      Clients keep no state: a request is complete by itself.
//
// Units: *_seconds, *_bytes as named; times are "2026-01-31T12:00:00Z". SPIs are 8 hexadecimal digits. A field that is
// not known (forwarder or charon away) is null or absent, never a made-up zero.
//
// Each reply has a JSON Schema in schemas/, which the labs hold real replies against.
//
// In the shapes below T? means T or null; "..." repeats. `config` objects have the keys of the YAML document.
//
// GET /v1/status
//   {"gateway": str, "software": str, "uptime_seconds": int,
//    "verdict": "ok" | "degraded" | "down",
//    "config": {"version": int, "pending": PENDING?},
//    "programs": [{"name": "simplon-forwarder" | "charon" | "frr/DOMAIN", "up": bool, "detail": str}, ...],
//    "programmed": {"generation_wanted": int, "generation_confirmed": int, "current": bool, "waiting_operations": int,
//                   "routes": int, "endpoints": int}?,
//    "accounting": ACCOUNTING?,
//    "uplinks": [{"interface": str, "up": bool, "mode": str, "queues": int, "error": str,
//                 "rx_packets": int, "rx_bytes": int, "tx_packets": int, "tx_bytes": int}, ...], "workers": [WORKER, ...],
//    "counts": {"tunnels": int, "tunnels_up": int, "bgp_neighbors": int, "bgp_established": int,
//               "vpcs": int, "endpoints": int, "domains": int, "circuits": int},
//    "problems": [{"object": "tunnel paris", "what": str, "hint": str}, ...]}
//   PENDING    {"version": int, "reverts_to": int, "deadline": time, "seconds_left": int, "window_seconds": int,
//               "confirm_required": bool, "gates": [{"gate": "bgp:prod/paris", "healthy": bool? (not looked at yet),
//               "problem": str, "held_seconds": int?, "needed_seconds": int?}, ...]}
//   ACCOUNTING {"received": int, "originated": int, "sent": int, "punted": int, "dropped": int,
//               "icmp_suppressed": int (ICMP errors not made, not of the sum)}; WORKER: schemas/status.schema.json
//
// GET /v1/config[?version=N]
//   {VERSION, "current": int, "document": str (YAML), "pending": PENDING?} With nothing ever applied: version 0 and document "".
//   VERSION    "version": int, "when": time?, "who": str, "uid": int?, "comment": str, "hash": str, "parent": int,
//              "outcome": "committed" | "unconfirmed" | "reverted", "outcome_reason": str
// GET /v1/config/history
//   {"current": int, "versions": [{VERSION}, ... newest first],
//    "pending": PENDING?}
// GET /v1/config/diff?from=N[&to=M]          to: current
//   {"from": int, "to": int, DIFF}
//   DIFF       "changes": [{"kind": "added" | "removed" | "changed", "object": "tunnel", "name": str, "field": str,
//                           "old": str, "new": str, "reconfigure": "in-place" | "narrows" |
//                           "restart-session" | "replace"}, ...],
//              "impact": [{"object": str, "name": str, "kind": str, "reconfigure": str, "words": str}, ...],
//              "summary": str
// POST /v1/config/check     {"document": str}
//   {"valid": true, "version": int (compared with), "warnings": [ERROR, ...], DIFF}     or 422 with all errors
// POST /v1/config/apply     {"document": str, "base_version": int?, "comment": str?, "confirm_seconds": int?,
//                            "gates": str? ("bgp:prod/paris tunnel:paris"), "gate_seconds": int?, "dry_run": bool?}
//   {"applied": bool (false: dry run), "version": int, "previous": int, "warnings": [...], "pending": PENDING?,
//    "timing": {"read_ms": float, "compare_ms", "stage_ms", "compile_ms", "program_ms", "commit_ms"}, DIFF}
//   With gates and without confirm_seconds the version stays as soon as all gates have held, and goes back after
//   gate_seconds (60; only with gates) otherwise: its "outcome" tells.
//   409 when base_version is not the current version ("what" says who changed it when), or while another change waits for its confirmation.
// POST /v1/config/confirm   {"version": int?}
//   {"confirmed": true, "version": int}     409 when no version is on probation, or another one.
// POST /v1/config/undo      {"to": int?}, and what apply has besides the document
//   As apply, and "restored": int (the version that is back; 0: the empty configuration). It ends a probation, and takes
//   no confirm_seconds and no gates then (409).
//
// GET /v1/config/export[?history=1]        with history: administrators
//   {"archive": str (gateway/config/archive.h, without secrets), "version": int, "secret_files": [path, ...]}
// POST /v1/config/import    {"archive": str (secrets open), and what apply has besides the document}
//   As apply, and "secrets": int (files written), "replaces_secrets": int (those that were there with another content).
// GET /v1/audit[?last=N]
//   {"sequence": int, "hash": str, "entries": [{...}, ... oldest first]}     entries: gateway/audit/audit_log.h
//
// GET /v1/tunnels
//   {"generation": int?, "tunnels": [{
//      "name": str, "id": int, "config": {...},
//      "observed": {"state": "up" | "ike-only" | "connecting" | "down" | "disabled", "ike_state": str, "ike_suite":
//      str,
//                   "local": str, "remote": str, "ike_age_seconds": int, "established_in_ms": int?,
//                   "children": [{"state": str, "spi_in": "c1a0f3e2", "spi_out": str, "suite": str, "encap": bool,
//                                 "bytes_in": int, "bytes_out": int, "age_seconds": int, "rekey_in_seconds": int},
//                                 ...],
//                   "problem": str, "hint": str},
//      "programmed": {"generation": int, "current": bool, "mtu": int, "host_port_up": bool,
//                     "rx_packets": int, "rx_bytes": int, "tx_packets": int, "tx_bytes": int, "punted": int, "dropped":
//                     int, "sas": [{"spi": str, "inbound": bool, "active": bool, "encap": bool, "esn": bool, "suite":
//                     str,
//                              "packets": int, "bytes": int, "sequence": int, "replayed": int, "failed": int,
//                              "age_seconds": int}, ...]}?}, ...]}
// POST /v1/tunnels/NAME/up | down | rekey    {"ike": bool?} (rekey: the IKE_SA instead of the CHILD_SA)
//   {"done": true}
//
// GET /v1/vpcs
//   {"generation": int?, "vpcs": [{
//      "name": str, "vni": int, "config": {... with "endpoints"},
//      "observed": {"vteps": [{"address": str, "interface": str, "mac": str, "resolved": bool, "mtu": int}, ...],
//                   "problem": str, "hint": str},
//      "programmed": {"generation", "current", "mtu", "host_port_up", "rx_packets", "rx_bytes", "tx_packets",
//      "tx_bytes",
//                     "punted", "dropped"}?}, ...]}
//
// GET /v1/circuits
//   {"generation": int?, "circuits": [{
//      "name": str, "id": int, "interface": str (its TAP in the namespace of the domain), "config": {...},
//      "observed": {"state": "up" | "no-neighbor" | "down" | "disabled",
//                   "neighbors": [{"address": str, "mac": str, "resolved": bool}, ...], "problem": str, "hint": str},
//      "programmed": {... as of a VPC}?}, ...]}
//
// GET /v1/routes[?domain=NAME&prefix=PREFIX&limit=N]
//   The first `limit` routes (kApiRoutes unless said, at most kApiMostRoutes; more than kApiRoutes: administrators), of a
//   prefix those inside it and those that cover it. An empty value is refused.
//   {"generation": int?, "current": bool, "total": int, "more": bool (not all of them are listed), "domains": [{
//      "name": str, "id": int, "synchronized": bool, "total": int,
//      "routes": [{"prefix": str, "origin": "local" | "inside" | "vpc" | "static" | "bgp",
//                  "action": "forward" | "local" | "unreachable", "distance": int,
//                  "nexthops": [{"kind": "tunnel" | "vpc" | "circuit" | "unresolved", "name": str, "gateway": str?, "weight": int,
//                                "problem": str (unresolved)}, ...],
//                  "resolved": bool, "selected": bool (the best one of its prefix),
//                  "backup": bool (the forwarder goes over to it when it cannot send by the selected one),
//                  "programmed": bool, "reason": str (why it is not in use)}, ...]}, ...]}
//
// GET /v1/bgp
//   {"domains": [{"name": str, "config": {"asn": int, "router-id": str},
//      "observed": {"running": bool, "fpm_connected": bool, "problem": str, "hint": str},
//      "neighbors": [{"name": str, "config": {...},
//         "observed": {"state": str, "uptime_seconds": int, "prefixes_received": int, "prefixes_accepted": int,
//                      "prefixes_sent": int, "bfd_state": str, "problem": str, "hint": str}}, ...]}, ...]}
//
// GET /v1/drops
//   {"accounting": ACCOUNTING, "drops": [{"name": str, "reference": str, "sentence": str, "packets": int}, ...]}
//   503 while the forwarder is away.
//
// GET /v1/trace?from=vpc:blue&source=A&destination=A[&protocol=tcp&source_port=N&destination_port=N&size=BYTES&df=1&ttl=N
//               &tos=N&flags=syn&vtep=A&from_kernel=1]
//   What would become of a packet; nothing comes of it.
//   {"from": {"kind": "vpc" | "tunnel", "name": str}, "packet": str, "live": bool, "generation": int?,
//    "verdict": "forwarded" | "to-kernel" | "dropped" | "waiting",
//    "drop": {"name": str, "reference": str, "sentence": str, "remedy": str}?,
//    "steps": [{"stage": str, "packet": "packet" | "icmp-error" | "fragment", "drop": str,
//               "facts": [{"name": str, "value": str}, ...]}, ...]}
//   422 for what is no packet; 503 while the forwarder is away.
// POST /v1/trace/live    {"from": str, "source": prefix?, "destination": prefix?, "host": prefix?, "protocol": str?,
//                         "source_port": int?, "destination_port": int?, "port": int?, "seconds": int? (10)}
//   The same of the next real packet; 503 if none came.
// POST /v1/capture       {"from": "vpc:NAME" | "tunnel:NAME" | "uplink:NAME"?, "before_crypto": bool?, "after_crypto": bool?,
//                         "kernel": bool?, "drops": bool?, "reason": str?, "snaplen": int?, "count": int?, "seconds": int?,
//                         filter as above}
//   200 with application/x-pcapng, chunked, until count or seconds are reached or the client goes away.
// GET /v1/acls        "packets" is null while the forwarder is away or the list is used by nobody
//   {"acls": [{"name": str, "default": "allow"|"deny", "used_by": [str, ...], "programmed": bool,
//      "rules": [{"name": str, "action": "allow"|"deny", "direction": "to"|"from", "rule": str, "packets": int?}, ...]}, ...]}
//
// GET /v1/nat
//   {"domains": [{"name": str, "programmed": bool,
//      "rules": [{"name": str, "type": str, "rule": str, "hits": int?}, ...]}, ...]}
//
// GET /v1/connections   at most 1,000 are listed
//   {"used": int, "most": int, "attachments": [{"name": str, "connections": int, "limit": int}, ...],
//    "connections": [{"domain": str, "protocol": str, "state": "opening"|"open"|"closing", "source": str, "source_port": int,
//      "destination": str, "destination_port": int, "translated_source": str, "translated_source_port": int,
//      "translated_destination": str, "translated_destination_port": int, "from": str, "to": str, "packets_out": int,
//      "packets_back": int, "bytes_out": int, "bytes_back": int, "age_seconds": int, "idle_seconds": int,
//      "expires_in_seconds": int}, ...]}
//   503 while the forwarder is away.

namespace simplon::ipc {

inline constexpr int kApiVersion = 1;
inline constexpr const char* kApiDefaultSocket = "/run/simplon/api.sock";
inline constexpr const char* kApiSocketName = "api.sock";
inline constexpr std::size_t kApiMaxBody = 20U << 20;  // a document of 16 MiB, JSON-escaped
inline constexpr std::size_t kApiMaxGetBody = 4096;    // it needs none
inline constexpr std::size_t kApiMaxHeader = 16U << 10;
inline constexpr std::size_t kApiMaxConnections = 64;
// Chosen by us: more than a person reads and a few megabytes at most; and what an administrator may wait for.
inline constexpr std::uint64_t kApiRoutes = 10'000;
inline constexpr std::uint64_t kApiMostRoutes = 100'000;

}  // namespace simplon::ipc
