/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client end of the SA protocol (gateway/ipc/sa_protocol.h): one connection to simplon-forwarder, kept up by one
 * thread, used by any number of threads. Knows nothing of strongSwan, so that it is tested without charon.
 *
 * Restarts
 *   The forwarder comes back with the same instance: what was owed to it (sa_client_deliver) is sent before anything else.
 *   With another instance, it lost its SAs: hook `lost` is called once, and nothing is sent again.
 */
#ifndef SIMPLON_IPSEC_CHARON_PLUGIN_SA_CLIENT_H
#define SIMPLON_IPSEC_CHARON_PLUGIN_SA_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/ipc/sa_protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sa_client sa_client;

/* Called by the thread inside sa_client_run, never while a lock of the client is held. `user` is passed through. */
typedef struct sa_client_hooks {
  void* user;
  void (*log)(void* user, const char* message);
  void (*expire)(void* user, const struct simplon_sa_expire* event);
  void (*mapping)(void* user, const struct simplon_sa_mapping* event);
  /* Before any other thread can reach the new instance: what was installed until now is what was lost. */
  void (*lost)(void* user);
} sa_client_hooks;

/* Result of a call that got no answer; other results are enum simplon_sa_status. */
#define SA_CLIENT_UNAVAILABLE (-1)
/* For a connection, and for its greeting. */
#define SA_CLIENT_TIMEOUT_MS 1000
/* For an answer. A forwarder that is connected and late is busy, not away; to give up an SA that the peer has already agreed
 * to costs what the peer sends with it, while waiting costs nothing: the former SAs go on. */
#define SA_CLIENT_ANSWER_MS 5000

/* `path` is copied. Draws a random session. NULL when the system has no memory or descriptor left. */
sa_client* sa_client_create(const char* path, const sa_client_hooks* hooks);
/* The thread of sa_client_run must have returned. */
void sa_client_destroy(sa_client* client);

/* Connects, connects again, and dispatches what arrives until sa_client_stop; to be run by a thread of its own. */
void sa_client_run(sa_client* client);
void sa_client_stop(sa_client* client);

/*
 * Sends a request and waits for its answer, at most SA_CLIENT_ANSWER_MS; and at most SA_CLIENT_TIMEOUT_MS for a connection,
 * counted from when it was lost, so that listing a thousand SAs does not take a thousand seconds while the forwarder is
 * away. `body` may be NULL when `length` is 0. The client's copy of the body is wiped. Any thread.
 */
int sa_client_request(sa_client* client, uint16_t type, const void* body, size_t length, uint64_t* value);
int sa_client_query(sa_client* client, const struct simplon_sa_id* id, struct simplon_sa_usage* usage);
/* Like sa_client_request, for DELETE, DELETE_POLICY and ADD_POLICY, which are idempotent: an unanswered one is owed, in order. */
int sa_client_deliver(sa_client* client, uint16_t type, const void* body, size_t length);

#ifdef __cplusplus
}
#endif

#endif
